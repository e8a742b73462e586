"""The requests of a simulation or a plan: what is said of lengths and arrivals, as values that the simulator takes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from rackrate.simulation.settings import Autoscaler, Requests
    from rackrate.workload.synthetic import SyntheticWorkload
    from rackrate.workload.traces import Trace


def workload_of(
    input_tokens: str | None, output_tokens: str | None, recorded: Path | Trace | None, longest: int | None, seed: int
) -> SyntheticWorkload:
    """Lengths by distribution or from recorded requests. Raises UserError where they are malformed."""
    from rackrate.errors import WorkloadError
    from rackrate.workload.distributions import DEFAULT_TOKENS, parse_distribution
    from rackrate.workload.synthetic import SyntheticWorkload
    from rackrate.workload.traces import read_trace

    trace: Trace | None = None
    if recorded is not None:
        trace = read_trace(recorded) if isinstance(recorded, Path) else recorded
        if longest is not None:
            trace = trace.no_longer_than(longest)
    elif longest is not None:
        raise WorkloadError("{longest} leaves out recorded requests: it goes with {trace}", fields=("longest", "trace"))
    given = [input_tokens, output_tokens]
    if trace is None:
        given = [text or DEFAULT_TOKENS for text in given]
    inputs, outputs = (
        None if text is None else parse_distribution(text, field)
        for text, field in zip(given, ("input_tokens", "output_tokens"), strict=True)
    )
    mean_in = inputs.mean if inputs is not None else float(trace.input_tokens.mean()) if trace is not None else 1.0
    mean_out = outputs.mean if outputs is not None else float(trace.output_tokens.mean()) if trace is not None else 1.0
    return SyntheticWorkload(
        input_tokens=max(1, round(mean_in)),
        output_tokens=max(1, round(mean_out)),
        seed=seed,
        inputs=inputs,
        outputs=outputs,
        trace=trace,
    )


def requests_of(
    workload: SyntheticWorkload,
    count: int,
    *,
    pattern: str | None,
    rate: float,
    level: int,
    cached_share: float,
    prefix_cache: bool,
) -> tuple[Requests, str]:
    """Requests of one level, and how their arrivals are called; without a pattern, of a closed loop."""
    import numpy as np

    from rackrate.simulation.settings import Requests
    from rackrate.workload.rows import Rows
    from rackrate.workload.schedule import draw

    if pattern is None:
        inputs, outputs = Rows(workload, level).lengths(count)
        due: npt.NDArray[np.float64] = np.zeros(count)
        name = "closed"
    else:
        schedule = draw(pattern, rate, count, workload, level)
        due, inputs, outputs, name = schedule.due_s, schedule.input_tokens, schedule.output_tokens, schedule.name
    number = len(inputs)
    trace = workload.trace
    start = hashes = group = None
    if prefix_cache and trace is not None and trace.block_ids is not None and trace.block_start is not None:
        rows = np.arange(number) % len(trace)  # a trace that records what prompts share is sent in its order
        parts = [trace.block_ids[trace.block_start[row] : trace.block_start[row + 1]] for row in rows]
        start = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
        hashes = np.concatenate(parts) if parts else np.zeros(0)
        group = np.array([int(part[0]) % (1 << 30) if len(part) else -1 for part in parts])
    cached = (inputs * cached_share).astype(np.int32) if cached_share else None
    return (
        Requests(
            due,
            inputs,
            outputs,
            cached,
            group,
            start,
            hashes,
            trace.block_tokens if trace is not None and start is not None else 0,
        ),
        name,
    )


def own_rate(pattern: str, arrivals: str | None, *, given: bool, searches: bool) -> tuple[float, int] | None:
    """The mean rate of arrivals that have rates of their own, and how many requests are surely enough; else None.

    Raises:
        WorkloadError: other loads are given too, or there is no such pattern.
    """
    from rackrate.errors import WorkloadError
    from rackrate.workload.patterns import parse_pattern

    parsed = parse_pattern(pattern)
    if parsed.mean_rate is None or parsed.duration_s is None:
        return None
    if given or searches:
        raise WorkloadError(
            f"{{arrivals}} {arrivals} has rates of its own; leave out {{rates}}, {{levels}} and {{slo}} without loads",
            fields=("arrivals", "rates", "levels", "slo"),
        )
    expected = parsed.mean_rate * parsed.duration_s
    return parsed.mean_rate, round(expected + 10 * expected**0.5 + 10)  # ten standard deviations of a Poisson number


def autoscaler_of(text: str, cold_start_s: float) -> Autoscaler:
    """`LEAST:MOST:IN_FLIGHT`, such as 1:8:32. Raises UserError where it is not."""
    from rackrate.errors import WorkloadError
    from rackrate.simulation.settings import Autoscaler

    found = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", text)
    if found is None:
        raise WorkloadError(
            "{autoscale} is LEAST:MOST:IN_FLIGHT (replicas, replicas, requests per replica), such as 1:8:32, "
            f"not {text!r}",
            field="autoscale",
        )
    return Autoscaler(int(found[1]), int(found[2]), float(found[3]), cold_start_s=cold_start_s)
