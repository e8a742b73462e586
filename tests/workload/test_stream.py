"""A schedule in blocks is the schedule drawn whole, wherever that can be; Poisson arrivals are Poisson all the same."""

from __future__ import annotations

import numpy as np
import pytest

from rackrate.errors import WorkloadError
from rackrate.workload.distributions import parse_distribution
from rackrate.workload.rows import PAGE
from rackrate.workload.schedule import draw
from rackrate.workload.stream import stream
from rackrate.workload.synthetic import Conversations, SyntheticWorkload
from rackrate.workload.traces import Trace

COUNT = 3 * PAGE + 17
VARIED = SyntheticWorkload(
    100, 20, seed=5, inputs=parse_distribution("lognormal:mean=100,cv=1", "in"),
    outputs=parse_distribution("lognormal:mean=20,cv=1", "out"),
)  # fmt: skip


def recorded_work() -> SyntheticWorkload:
    generator = np.random.default_rng(0)
    rows = 1000
    trace = Trace(
        "t", np.sort(generator.uniform(0, 50, rows)), generator.integers(1, 900, rows).astype(np.int32),
        generator.integers(0, 90, rows).astype(np.int32),
    )  # fmt: skip
    return SyntheticWorkload(300, 40, seed=5, trace=trace)


def whole(pattern: str, rate: float, work: SyntheticWorkload) -> list[np.ndarray[tuple[int], np.dtype[np.float64]]]:
    parts = list(stream(pattern, rate, COUNT, work, level=2, block=PAGE))
    assert [len(due) for due, _, _ in parts] == [PAGE, PAGE, PAGE, 17]
    return [np.concatenate([part[n] for part in parts]).astype(np.float64) for n in range(3)]


@pytest.mark.parametrize("pattern", ["constant", "poisson", "gamma:2", "trace"])
def test_lengths_are_those_of_the_schedule(pattern: str) -> None:
    for work in (VARIED, recorded_work()):
        if pattern == "trace" and work.trace is None:
            continue
        _, inputs, outputs = whole(pattern, 3.0, work)
        schedule = draw(pattern, 3.0, COUNT, work, level=2)
        assert inputs.tolist() == schedule.input_tokens.tolist()
        assert outputs.tolist() == schedule.output_tokens.tolist()


@pytest.mark.parametrize("pattern", ["constant", "trace"])
def test_arrivals_without_chance_are_those_of_the_schedule(pattern: str) -> None:
    work = recorded_work()
    assert whole(pattern, 3.0, work)[0] == pytest.approx(draw(pattern, 3.0, COUNT, work, level=2).due_s, rel=1e-12)


@pytest.mark.parametrize(("pattern", "cv"), [("poisson", 1.0), ("gamma:2", 2.0)])
def test_gaps_have_the_mean_and_spread_asked_for(pattern: str, cv: float) -> None:
    due = whole(pattern, 3.0, VARIED)[0]
    gaps = np.diff(due)
    assert (gaps >= 0).all()
    assert gaps.mean() == pytest.approx(1 / 3, rel=4 * cv / COUNT**0.5)
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.1)


@pytest.mark.parametrize(
    ("pattern", "rate", "work", "words"),
    [
        ("steps:5@30", 1.0, VARIED, "ends by itself"),
        ("trace", 1.0, VARIED, "trace FILE"),
        ("poisson", 0.0, VARIED, "above 0"),
        (
            "poisson", 1.0,
            SyntheticWorkload(8, 4, conversations=Conversations(parse_distribution("3", "n"),
                                                                parse_distribution("1", "s"))),
            "conversations",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_streamed_is_refused(pattern: str, rate: float, work: SyntheticWorkload, words: str) -> None:
    with pytest.raises(WorkloadError, match=words):
        stream(pattern, rate, 10, work)
