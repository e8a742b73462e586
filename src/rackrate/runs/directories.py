"""Where runs go that nobody named a place for."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path


def fresh_directory(model: str, now: datetime) -> Path:
    """A directory named by the model and the time, in UTC.

    >>> from datetime import UTC
    >>> str(fresh_directory("meta-llama/Llama 3", datetime(2026, 12, 1, 8, 30, tzinfo=UTC)))
    'runs/meta-llama-Llama-3-20261201-083000'
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(model).stem if model.endswith(".gguf") else model).strip("-")
    return Path("runs") / f"{name}-{now:%Y%m%d-%H%M%S}"
