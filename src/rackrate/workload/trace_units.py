"""What the numbers of a trace count where its columns do not say: milliseconds or seconds, and tokens a prefix block.

Mooncake's traces count milliseconds and blocks of 512 tokens [1]_; Alibaba's Qwen-Bailian traces have the same keys,
and count seconds and blocks of 16 [2]_; others choose what they like. A file may state it in its first line
(`time_unit`, `block_tokens`). Else what the file is like decides; where that allows two readings it is refused, and
the sentence has both.

.. [1] kvcache-ai/Mooncake, FAST25-release/traces (2025); all 12,031 rows of its conversation trace have
   ceil(input_length / 512) hash ids
.. [2] alibaba-edu/qwen-bailian-usagetraces-anon, README: "timestamp: 61.114 // Seconds", "16 tokens per block"
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rackrate.errors import WorkloadError

MOONCAKE_BLOCK, BAILIAN_BLOCK = 512, 16
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
"""Units of time as a first line states them: how many make a second."""
_CANDIDATES = tuple(2**power for power in range(3, 14))
_FITTING = 0.99
"""Share of the requests whose ids must go with their tokens."""
_FAST, _SLOW = 1000.0, 1.0
"""Requests a second above which a reading in milliseconds is not believed, and below which none in seconds: between
them both are possible."""
_FEW = 20
"""Of fewer requests a rate says nothing."""
_EPOCH = (946_684_800.0, 4_102_444_800.0)
"""Seconds since 1970 of the years 2000 and 2100."""


@dataclass(frozen=True)
class StatedUnits:
    """What the first line of a file, or whose file it is, says."""

    per_second: int | None = None
    block_tokens: int | None = None
    bailian: bool = False
    """It has Qwen-Bailian's keys."""


NOTHING_STATED = StatedUnits()


def stated_units(path: Path, first: dict[str, Any]) -> StatedUnits:
    """What a first line states. Raises WorkloadError where a unit is none."""
    unit, block = first.get("time_unit"), first.get("block_tokens")
    if unit is not None and unit not in PER_SECOND:
        raise WorkloadError(f"{path}:1: column time_unit: {unit!r} is none of {', '.join(PER_SECOND)}")
    if block is not None and (not isinstance(block, int) or isinstance(block, bool) or not 1 <= block <= 1 << 20):
        raise WorkloadError(
            f"{path}:1: column block_tokens: {block!r} is no whole number of tokens from 1 to 1,048,576"
        )
    return StatedUnits(
        None if unit is None else PER_SECOND[unit], block, "chat_id" in first and "parent_chat_id" in first
    )


def per_second_since_1970(value: float) -> int | None:
    """How many units of a moment's number make a second: of a date since 2000, the years tell; else None.

    >>> [per_second_since_1970(value) for value in (1.7e9, 1.7e12, 1.7e15, 1.7e18, 3600.0)]
    [1, 1000, 1000000, 1000000000, None]
    """
    return next((per for per in PER_SECOND.values() if _EPOCH[0] * per <= value < _EPOCH[1] * per), None)


def block_size(
    path: Path, stated: StatedUnits, input_tokens: npt.NDArray[np.int32], numbers: npt.NDArray[np.int32]
) -> int:
    """Tokens of a prefix block, from how many ids each request has for its tokens.

    n ids stand for more than (n - 1) b and, where all of the prompt has ids, at most n b tokens.

    Raises:
        WorkloadError: the ids go with no size of blocks, or not with the stated one.
    """
    rows = np.flatnonzero(numbers > 0)
    number, tokens = numbers[rows].astype(np.int64), input_tokens[rows].astype(np.int64)
    usual = BAILIAN_BLOCK if stated.bailian else MOONCAKE_BLOCK
    if not len(rows):
        return stated.block_tokens or usual

    def too_many(size: int) -> npt.NDArray[np.bool_]:
        return (number - 1) * size >= np.maximum(tokens, 1)

    def fits(size: int) -> bool:
        return float((np.abs(number * size - tokens) < size).mean()) >= _FITTING

    wanted = stated.block_tokens or usual
    if stated.block_tokens is None:
        found = next((size for size in (usual, *_CANDIDATES) if fits(size)), None)
        if found is not None:
            return found
    if too_many(wanted).mean() <= 1 - _FITTING:
        return wanted  # fewer ids than tokens: only the beginnings of prompts are recorded
    row = int(np.flatnonzero(too_many(wanted))[0])
    ids, of = int(number[row]), int(tokens[row])
    raise WorkloadError(
        f"{path}: request {int(rows[row]) + 1:,} has {ids:,} hash ids for {of:,} tokens: blocks of {wanted} would be "
        f"{-(-of // wanted):,} (Mooncake's have {MOONCAKE_BLOCK} tokens, Qwen-Bailian's {BAILIAN_BLOCK}, which would "
        f'be {-(-of // BAILIAN_BLOCK):,}); say in its first line how many tokens a block has: "block_tokens": 16'
    )


def units_per_second(path: Path, stated: StatedUnits, times: npt.NDArray[np.float64], block_tokens: int | None) -> int:
    """How many units of the recorded times make a second.

    Args:
        path: for the refusal.
        stated: what the file itself says.
        times: as recorded, sorted, the first at 0.
        block_tokens: of the hash ids, where they prove it; else None.

    Raises:
        WorkloadError: seconds and milliseconds are both possible.
    """
    if stated.per_second is not None:
        return stated.per_second
    if stated.bailian:
        return 1
    span = float(times[-1])
    if not span > 0:
        return 1000
    as_seconds = (len(times) - 1) / span
    whole = bool((times == np.floor(times)).all())
    fast = as_seconds * 1000 > _FAST and len(times) >= _FEW
    if block_tokens == BAILIAN_BLOCK and not whole:
        return 1
    if not fast and (block_tokens == MOONCAKE_BLOCK or (whole and block_tokens is None)):
        return 1000
    if fast and not whole and as_seconds <= _FAST:
        return 1
    if as_seconds * 1000 < _SLOW:
        return 1000
    raise WorkloadError(
        f"{path}: whether its times are seconds or milliseconds cannot be told: {len(times):,} requests are "
        f"{as_seconds:.3g} a second, or {as_seconds * 1000:.3g}; say it in its first line: "
        '"time_unit": "s" (or "ms", "us", "ns")'
    )


_WORDS = {1: "seconds", 10**3: "milliseconds", 10**6: "microseconds", 10**9: "nanoseconds"}


def units_in_words(
    is_json: bool, per_second: int | None, counts: npt.NDArray[np.int32] | None, block: int
) -> str | None:
    """What the numbers of a file were taken to count; None where its columns say it.

    >>> units_in_words(True, 1, np.array([40], dtype=np.int32), 16), units_in_words(False, 1000, None, 512)
    ('times in seconds, prefix blocks of 16 tokens', 'times in milliseconds')
    >>> units_in_words(False, None, None, 512) is None
    True
    """
    if per_second is None or (per_second == 1 and not is_json):
        return None
    blocks = f", prefix blocks of {block:,} tokens" if counts is not None and bool(counts.any()) else ""
    return f"times in {_WORDS[per_second]}{blocks}"
