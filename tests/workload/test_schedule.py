"""Schedules: the same by the same seed in any process, lengths and arrivals as asked, texts shared as recorded."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rackrate.errors import WorkloadError
from rackrate.measurement.plan import Step, SweepPlan
from rackrate.workload.distributions import parse_distribution
from rackrate.workload.patterns import parse_pattern
from rackrate.workload.prompts import Ask, PromptLength, prompt, prompt_text
from rackrate.workload.rows import PAGE, Rows
from rackrate.workload.schedule import draw
from rackrate.workload.synthetic import Conversations, SharedPrefix, SyntheticWorkload
from rackrate.workload.trace_units import MOONCAKE_BLOCK as BLOCK_TOKENS
from rackrate.workload.traces import Trace

LENGTHS = parse_distribution("lognormal:mean=200,cv=1", "input_tokens")
TALK = Conversations(
    parse_distribution("geometric:mean=3", "turns"),
    parse_distribution("exponential:mean=2", "think_time", whole=False, least=0.0),
)


def trace_of(rows: int, seed: int = 0, hashes: list[list[int]] | None = None) -> Trace:
    generator = np.random.default_rng(seed)
    times = np.cumsum(generator.exponential(0.5, rows))
    inputs = generator.integers(1, 4000, rows).astype(np.int32)
    if hashes is not None:
        inputs = np.array([BLOCK_TOKENS * len(hash_) - 100 for hash_ in hashes], dtype=np.int32)
    return Trace(
        "recorded.csv",
        times - times[0],
        inputs,
        (inputs // 3 + generator.integers(0, 9, rows)).astype(np.int32),  # answers as long as their questions
        block_ids=None if hashes is None else np.array([cell for row in hashes for cell in row], dtype=np.int32),
        block_start=None if hashes is None else np.cumsum([0, *map(len, hashes)]),
    )


def workloads() -> dict[str, SyntheticWorkload]:
    plain = SyntheticWorkload(64, 32, seed=7)
    return {
        "fixed": plain,
        "lognormal": SyntheticWorkload(200, 32, seed=7, inputs=LENGTHS, prefix=SharedPrefix(50, 0.5)),
        "trace": SyntheticWorkload(1, 1, seed=7, trace=trace_of(300)),
        "blocks": SyntheticWorkload(1, 1, seed=7, trace=trace_of(3, hashes=[[1, 2], [1, 3], [1, 2, 4]])),
        "conversations": SyntheticWorkload(64, 32, seed=7, inputs=LENGTHS, conversations=TALK),
    }


DIGESTS = """
import sys
sys.path[:0] = sys.argv[1:]
from test_schedule import PATTERNS, workloads
from rackrate.workload.schedule import draw
for name, work in workloads().items():
    for pattern in PATTERNS:
        print(name, pattern, draw(pattern, 20.0, 500, work, level=2).digest())
"""
PATTERNS = ("poisson", "gamma:2", "steps:5@10,20@10", "ramp:1-20@20")


def test_a_seed_gives_the_same_bytes_in_any_process() -> None:
    # another hash seed: nothing may depend on the order of sets
    environment = os.environ | {"PYTHONHASHSEED": "4711"}
    ran = subprocess.run(
        [sys.executable, "-c", DIGESTS, str(Path(__file__).parent)],
        capture_output=True, text=True, check=True, timeout=60, env=environment,
    )  # fmt: skip
    here = [
        f"{name} {pattern} {draw(pattern, 20.0, 500, work, level=2).digest()}"
        for name, work in workloads().items()
        for pattern in PATTERNS
    ]
    assert ran.stdout.splitlines() == here
    digests = {line.split()[-1] for line in here}
    assert len(digests) == len(here)


@pytest.mark.parametrize("name", list(workloads()))
def test_another_seed_or_level_gives_another_schedule(name: str) -> None:
    work = workloads()[name]
    other = SyntheticWorkload(
        work.input_tokens, work.output_tokens, seed=8, inputs=work.inputs, prefix=work.prefix, trace=work.trace,
        conversations=work.conversations,
    )  # fmt: skip
    item = draw("poisson", 20, 100, work).digest()
    assert item == draw("poisson", 20, 100, work).digest()
    assert item != draw("poisson", 20, 100, other).digest()
    assert item != draw("poisson", 20, 100, work, level=1).digest()


@settings(max_examples=30)
@given(name=st.sampled_from(list(workloads())), positions=st.lists(st.integers(0, 3 * PAGE), min_size=1, max_size=8))
def test_a_request_is_the_same_whoever_asks_and_in_any_order(name: str, positions: list[int]) -> None:
    work = workloads()[name]
    inputs, outputs = Rows(work).lengths(3 * PAGE + 1)
    asked, sent = Rows(work), pickle.loads(pickle.dumps(Rows(work)))  # noqa: S301 - our own bytes
    for position in positions:
        ask = asked.ask(position)
        assert ask == sent.ask(position)
        assert (ask.input_tokens, ask.output_tokens) == (inputs[position], outputs[position])


def test_a_schedule_of_many_requests_is_arrays_and_no_objects() -> None:
    schedule = draw("poisson", 1000, 300_000, SyntheticWorkload(200, 32, inputs=LENGTHS))
    assert sum(item.nbytes for item in (schedule.due_s, schedule.input_tokens, schedule.output_tokens)) == 16 * 300_000
    assert len(pickle.dumps(schedule)) < 16 * 300_000 + 300_000  # and the few pages that were drawn last
    assert len(pickle.dumps(schedule.ask(1000))) < 200


def test_closed_and_open_loops_ask_for_the_same_lengths() -> None:
    work = workloads()["lognormal"]
    schedule = draw("constant", 5, 50, work, level=3)
    assert [Rows(work, 3).ask(position) for position in range(50)] == [schedule.ask(position) for position in range(50)]


def test_rows_of_a_trace_stay_together_when_its_arrivals_are_others() -> None:
    trace = trace_of(300)
    recorded = set(zip(trace.input_tokens.tolist(), np.maximum(trace.output_tokens, 1).tolist(), strict=True))
    schedule = draw("poisson", 5, 20_000, SyntheticWorkload(1, 1, trace=trace))
    drawn = list(zip(schedule.input_tokens.tolist(), schedule.output_tokens.tolist(), strict=True))
    assert set(drawn) <= recorded
    assert len(set(drawn)) > 250  # with replacement: most rows, none in its place
    assert drawn[:300] != list(zip(trace.input_tokens.tolist(), trace.output_tokens.tolist(), strict=True))
    assert schedule.input_tokens.mean() == pytest.approx(trace.input_tokens.mean(), rel=0.03)
    assert np.corrcoef(schedule.input_tokens, schedule.output_tokens)[0, 1] > 0.99


def test_a_trace_is_sent_when_it_was_recorded_and_begins_anew_at_its_end() -> None:
    trace = trace_of(50)
    work = SyntheticWorkload(1, 1, trace=trace)
    asis = draw("trace", trace.mean_rate, 50, work)
    assert asis.due_s == pytest.approx(trace.arrival_s)
    assert asis.input_tokens.tolist() == trace.input_tokens.tolist()
    fast = draw("trace", 4 * trace.mean_rate, 120, work)
    assert fast.due_s[:50] == pytest.approx(trace.arrival_s / 4)
    assert (np.diff(fast.due_s) >= 0).all()
    assert fast.due_s[50:100] - fast.due_s[50] == pytest.approx(trace.arrival_s / 4)
    assert fast.input_tokens[50:100].tolist() == trace.input_tokens.tolist()
    assert fast.name == "trace:recorded.csv"
    with pytest.raises(WorkloadError, match="trace FILE"):
        draw("trace", 1.0, 5, SyntheticWorkload(1, 1))


def test_a_part_of_a_trace_has_the_rate_that_was_asked_for() -> None:
    slow_then_fast = np.concatenate([np.arange(100) * 5.0, 500 + np.arange(900) * 0.1]).astype(np.float64)
    ones = np.ones(1000, dtype=np.int32)
    work = SyntheticWorkload(1, 1, trace=Trace("t", slow_then_fast, ones, ones))
    for count in (2, 100, 150, 1000):
        due_s = draw("trace", 8.0, count, work).due_s
        assert (count - 1) / due_s[-1] == pytest.approx(8.0)
        assert due_s / due_s[-1] == pytest.approx(slow_then_fast[:count] / slow_then_fast[count - 1])  # the pattern
    assert draw("trace", 8.0, 1, work).due_s.tolist() == [0.0]
    at_once = Trace("t", np.array([0.0, 0.0, 0.0, 3.0]), ones[:4], ones[:4])
    assert draw("trace", 1.0, 3, SyntheticWorkload(1, 1, trace=at_once)).due_s.tolist() == [0.0, 0.0, 0.0]


def test_a_trace_at_a_rate_is_a_level_of_stated_length() -> None:
    plan = SweepPlan(rates=(8.0,), arrivals="trace", precision=0.05, least_s=15, most_s=60)
    limits = plan.limits(Step("open", rate=8.0))
    assert (limits.requests, limits.exact, limits.precision) == (120, True, None)
    assert not SweepPlan(rates=(8.0,), precision=0.05).limits(Step("open", rate=8.0)).exact


def test_a_row_without_tokens_asks_for_one() -> None:
    nothing = Trace("t", np.array([0.0, 1.0]), np.zeros(2, dtype=np.int32), np.zeros(2, dtype=np.int32))
    assert Rows(SyntheticWorkload(1, 1, trace=nothing)).ask(1) == Ask(1, 1)


def test_steps_and_ramps_bring_what_their_rates_say() -> None:
    work = SyntheticWorkload(8, 8, seed=1)
    steps = draw("steps:100@20,0@5,400@20", 1.0, 10**6, work)
    assert ((steps.due_s < 20).sum()) == pytest.approx(2000, rel=0.08)
    assert not ((steps.due_s >= 20) & (steps.due_s < 25)).any()
    assert (steps.due_s >= 25).sum() == pytest.approx(8000, rel=0.04)
    ramp = draw("ramp:0-100@60", 1.0, 10**6, work)
    assert len(ramp) == pytest.approx(3000, rel=0.06)
    assert (ramp.due_s < 30).mean() == pytest.approx(0.25, abs=0.03)
    assert len(draw("steps:100@20", 1.0, 70, work)) == 70
    assert parse_pattern("steps:100@20,0@5,400@20").mean_rate == pytest.approx(10_000 / 45)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("steps", "such as steps:5@30,20@30"),
        ("steps:5", "such as steps:5@30,20@30"),
        ("steps:5@x", "such as steps:5@30,20@30"),
        ("steps:0@5", "one of them above"),
        ("steps:5@0", "seconds above 0"),
        ("ramp:5@60", "such as ramp:1-20@60"),
        ("ramp:1-@60", "such as ramp:1-20@60"),
        ("ramp:0-0@60", "one of them above"),
        ("ramp:1-2@-5", "seconds above 0"),
        ("trace:x", "arrivals is poisson"),
    ],
)
def test_a_pattern_that_is_none_is_said(text: str, said: str) -> None:
    with pytest.raises(WorkloadError, match=said):
        parse_pattern(text)


def test_conversations_have_exactly_so_many_requests_and_the_turns_of_their_distribution() -> None:
    work = workloads()["conversations"]
    schedule = draw("poisson", 5, 10_001, work)
    assert schedule.turns is not None
    assert int(schedule.turns.sum()) == len(schedule) == 10_001
    assert len(schedule.due_s) == len(schedule.turns)
    assert schedule.turns.mean() == pytest.approx(3, rel=0.05)
    rows, at = Rows(work), 0
    for number in range(len(schedule.turns) - 1):
        assert rows.conversation(number) == (at, schedule.turns[number])
        at += int(schedule.turns[number])
    thought = np.array([rows.think_s(position) for position in range(2000)])
    assert thought.mean() == pytest.approx(2, rel=0.1)
    assert schedule.longest_thought_s > 10


EXACT = PromptLength(fixed=0.0, per_word=1.0)


def common_words(text: str, other: str) -> int:
    pairs = zip(text.split(), other.split(), strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(text.split()), len(other.split())))


@given(words=st.integers(1, 700), more=st.integers(0, 300), seed=st.integers(0, 5), index=st.integers(-3, 10**7))
def test_a_prompt_has_its_words_and_begins_as_a_shorter_one(words: int, more: int, seed: int, index: int) -> None:
    longer = prompt(words + more, seed, index).split(" ")
    assert len(longer) == words + more
    assert longer[:words] == prompt(words, seed, index).split(" ")


@given(
    fixed=st.floats(0, 60), per_word=st.floats(0.5, 2.5), tokens=st.integers(1, 5000),
    parts=st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(1, 900)), max_size=4),
)  # fmt: skip
def test_a_prompt_is_as_long_as_asked_whatever_it_begins_with(
    fixed: float, per_word: float, tokens: int, parts: list[tuple[str, int]]
) -> None:
    length = PromptLength(fixed, per_word)
    text = prompt_text(Ask(tokens, 1, tuple(parts)), 0, 5, length)
    assert len(text.split(" ")) == length.words_near(tokens)
    counted = fixed + per_word * len(text.split(" "))
    assert abs(counted - tokens) <= per_word / 2 + 1e-6 or len(text.split(" ")) == 1


@settings(max_examples=30)
@given(
    hashes=st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4), min_size=2, max_size=5),
    fixed=st.integers(0, 80),
    per_word=st.sampled_from([1.0, 1.31]),
)
def test_prompts_share_exactly_the_blocks_that_their_hashes_share(
    hashes: list[list[int]], fixed: int, per_word: float
) -> None:
    length = PromptLength(fixed, per_word)
    rows = Rows(SyntheticWorkload(1, 1, trace=trace_of(len(hashes), hashes=hashes)))
    texts = [prompt_text(rows.ask(n), 0, n, length) for n in range(len(hashes))]
    for n, hash_ in enumerate(hashes):
        for m, other in enumerate(hashes[:n]):
            alike = next((k for k, (a, b) in enumerate(zip(hash_, other, strict=False)) if a != b), None)
            shared = common_words(texts[n], texts[m])
            if alike is None:  # one is the beginning of the other
                assert shared == min(len(texts[n].split()), len(texts[m].split()))
            else:
                assert 0 <= shared - round(alike * BLOCK_TOKENS / per_word) < 8  # two texts may begin with one word


def test_hashes_are_a_levels_and_a_passs_own() -> None:
    work = SyntheticWorkload(1, 1, trace=trace_of(2, hashes=[[1, 2], [1, 3]]))
    first, again, next_level = (
        prompt_text(Rows(work, level).ask(position), 0, 0, EXACT) for level, position in ((0, 0), (0, 2), (1, 0))
    )
    assert common_words(first, again) < 8
    assert common_words(first, next_level) < 8


def test_a_system_prompt_is_shared_by_its_share_and_at_all_levels() -> None:
    work = SyntheticWorkload(300, 8, prefix=SharedPrefix(200, 0.25))
    asks = [Rows(work).ask(position) for position in range(4000)]
    having = [ask for ask in asks if ask.parts]
    assert len(having) / len(asks) == pytest.approx(0.25, abs=0.03)
    other = next(ask for ask in (Rows(work, 1).ask(n) for n in range(100)) if ask.parts)
    texts = [prompt_text(having[0], 0, 1, EXACT), prompt_text(other, 0, 2, EXACT)]
    assert 200 <= common_words(*texts) < 208
    assert len(texts[0].split()) == 300


def test_a_recorded_conversations_prompts_grow() -> None:
    sessions = np.array([0, 1, 0, -1], dtype=np.int32)
    lengths = np.array([100, 100, 250, 100], dtype=np.int32)
    trace = Trace("t", np.arange(4.0), lengths, lengths, session=sessions)
    rows = Rows(SyntheticWorkload(1, 1, trace=trace))
    texts = [prompt_text(rows.ask(n), 0, n, EXACT) for n in range(4)]
    assert common_words(texts[0], texts[2]) == 100
    assert all(common_words(texts[a], texts[b]) < 8 for a, b in ((0, 1), (0, 3), (1, 3)))


def test_a_prefix_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(WorkloadError, match="leaves nothing of prompts of at most 100 tokens"):
        SyntheticWorkload(100, 8, prefix=SharedPrefix(100))
    with pytest.raises(WorkloadError, match=r"such as 256:0\.8"):
        SharedPrefix(10, 1.5)
