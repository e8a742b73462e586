"""Words of a plan's rows that terminal and page share."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def split(row: Json) -> str:
    """How a replica is split over accelerators, in a word.

    >>> split({"tensor_parallel": 4, "pipeline_parallel": 1}), split({"tensor_parallel": 1, "pipeline_parallel": 2})
    ('tp4', 'pp2')
    """
    return f"pp{row['pipeline_parallel']}" if row["pipeline_parallel"] > 1 else f"tp{row['tensor_parallel']}"
