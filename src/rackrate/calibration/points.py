"""The loads of a measured run as the step-time model replays them, and whether they can be trusted."""

from __future__ import annotations

from collections.abc import Sequence

from rackrate.calibration.replay import recorded
from rackrate.metrics.summary import CAVEATS, LevelSummary
from rackrate.runs.records import Run
from rackrate.steptime.load import Load, Observed

FEWEST_LEVELS = 3
HARMLESS = frozenset({"batch-1", "finite-burst"})
"""Names of CAVEATS that do not spoil a calibration: one request at a time is a load like any other."""

Point = tuple[LevelSummary, Load, Observed]
"""A level, the load that it was, and what was observed."""


def refusal(levels: Sequence[LevelSummary]) -> str | None:
    """Why a run cannot be calibrated with, with the fields `force` and `levels` in braces; None where it can."""
    loads = [level for level in levels if level.output_tok_s]
    sound = [level for level in loads if set(level.caveats) <= HARMLESS]
    if len(sound) >= FEWEST_LEVELS:
        return None
    names = sorted({name for level in loads for name in level.caveats if name not in HARMLESS})
    if not loads:
        return "no level of the run was served"
    if names:
        named = "; ".join(f"{name}: {CAVEATS[name]}" for name in names)
        return (
            f"{len(sound)} of its {len(loads)} loads can be trusted and at least {FEWEST_LEVELS} are needed ({named}); "
            "measure again, or {force} it"
        )
    return (
        f"it has {len(loads)} loads and at least {FEWEST_LEVELS} are needed; "
        "measure 6 to 10, such as {levels} 1,2,4,8,16,32"
    )


def points_of(levels: Sequence[LevelSummary], run: Run | None = None, *, force: bool = False) -> list[Point]:
    """The loads of a run as the model replays them, with what was measured: its own requests where they are at hand."""
    by_index = {} if run is None else {level.index: level for level in run.header.levels}
    points: list[Point] = []
    for level in levels:
        if not level.output_tok_s or not level.mean_input_tokens or not level.mean_output_tokens:
            continue
        if not force and not set(level.caveats) <= HARMLESS:
            continue
        prompt = level.mean_input_tokens - (level.mean_cached_tokens or 0.0)
        load = _load(level, max(prompt, 1.0))
        if load is None:
            continue
        if run is not None and level.index in by_index:
            load = recorded(load, by_index[level.index], level, run.requests)
        short = level.mean_output_tokens < 1.5
        tpot = None if short or level.tpot is None else level.tpot.p50
        ttft = None if level.ttft is None else level.ttft.p50
        points.append((level, load, Observed(level.output_tok_s, tpot, ttft)))
    return points


def _load(level: LevelSummary, prompt: float) -> Load | None:
    output = level.mean_output_tokens or 1.0
    if level.kind in {"closed", "prefill"} and level.concurrency is not None:
        streams = level.concurrency
        return Load("closed", streams, max(8 * streams, 24), prompt, output, whole=False, staggered=True)
    if level.kind == "open" and level.rate is not None and level.window_start_s is not None:
        length = (level.window_end_s or 0.0) - level.window_start_s
        count = max(round(level.rate * length), 20)
        return Load("poisson", level.rate, count, prompt, output)
    return None


def label(level: LevelSummary) -> str:
    """A load in a few words."""
    lengths = f"{level.mean_input_tokens or 0:.0f} in, {level.mean_output_tokens or 0:.0f} out"
    if level.kind == "open":
        return f"{level.rate:g}/s, {lengths}"
    return f"{level.concurrency} in flight, {lengths}" + (" (prefill)" if level.kind == "prefill" else "")
