"""The simulator against queueing theory, where theory knows the answer: M/D/1, M/M/1, processor sharing."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from rackrate.simulation.settings import EngineLimits, Fleet, Requests
from rackrate.simulation.simulator import Outcome, simulate
from rackrate.simulation.step import StepTime

STEP_S = 0.01
COUNT = 20_000


def arrivals(rate: float, count: int = COUNT, seed: int = 1) -> npt.NDArray[np.float64]:
    return np.cumsum(np.random.default_rng(seed).exponential(1 / rate, count))


def mean_e2e_s(outcome: Outcome) -> float:
    assert outcome.each is not None
    return float((outcome.each.done_s - outcome.each.due_s).mean())


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_one_at_a_time_with_equal_lengths_is_m_d_1(load: float) -> None:
    """Pollaczek and Khinchine: the mean wait is load x service / (2 (1 - load)).

    Prompts begin at step boundaries only, but with one sequence and an idle engine that is at once.
    """
    step = StepTime(weights_s=STEP_S, token_compute_s=0.0, context_s=0.0, step_s=0.0)
    service = 10 * STEP_S  # a prompt's step, then nine decode steps
    requests = Requests(arrivals(load / service), np.full(COUNT, 8), np.full(COUNT, 10))
    outcome = simulate(requests, step, EngineLimits(kv_tokens=4096, max_num_seqs=1), per_request=True)
    assert mean_e2e_s(outcome) == pytest.approx(service + load * service / (2 * (1 - load)), rel=0.05)
    assert outcome.busy_s == pytest.approx(COUNT * service)


def test_one_at_a_time_with_geometric_lengths_is_nearly_m_m_1() -> None:
    """Geometric numbers of steps are exponential times in the limit: the mean time in the system is s / (1 - load)."""
    load, mean = 0.7, 60
    step = StepTime(weights_s=STEP_S, token_compute_s=0.0, context_s=0.0, step_s=0.0)
    outputs = np.random.default_rng(3).geometric(1 / mean, COUNT)
    service = float(outputs.mean()) * STEP_S
    requests = Requests(arrivals(load / service, seed=4), np.full(COUNT, 4), outputs)
    outcome = simulate(requests, step, EngineLimits(kv_tokens=1 << 16, max_num_seqs=1), per_request=True)
    squared = float((outputs.astype(float) ** 2).mean()) * STEP_S**2
    exact = service + load / service * squared / (2 * (1 - load))
    assert mean_e2e_s(outcome) == pytest.approx(service / (1 - load), rel=0.12)
    assert mean_e2e_s(outcome) == pytest.approx(exact, rel=0.06)


def test_a_step_in_proportion_to_its_sequences_is_processor_sharing() -> None:
    """n sequences share the engine equally: M/G/1-PS, a mean time of s / (1 - load) whatever the lengths.

    Many short steps, so that the discreteness is small beside a request.
    """
    load, each = 0.6, 1e-4
    step = StepTime(weights_s=0.0, token_compute_s=0.0, context_s=0.0, step_s=1e-9, sequence_s=each)
    outputs = np.random.default_rng(5).choice([100, 400], COUNT)
    service = float(outputs.mean()) * each
    requests = Requests(arrivals(load / service, seed=6), np.full(COUNT, 1), outputs)
    limits = EngineLimits(kv_tokens=1 << 24, max_num_seqs=4096, max_num_batched_tokens=1 << 20)
    outcome = simulate(requests, step, limits, per_request=True)
    assert mean_e2e_s(outcome) == pytest.approx(service / (1 - load), rel=0.05)
    assert outcome.each is not None
    spent = outcome.each.done_s - outcome.each.due_s
    # in processor sharing the mean time is in proportion to the length
    assert spent[outputs == 400].mean() / spent[outputs == 100].mean() == pytest.approx(4.0, rel=0.05)


def test_little() -> None:
    """Mean in flight = rate x mean time, as Poisson arrivals see it."""
    step = StepTime(weights_s=0.01, token_compute_s=1e-4, context_s=1e-7, step_s=0.002)
    rate = 8.0
    requests = Requests(arrivals(rate), np.full(COUNT, 200), np.full(COUNT, 50))
    outcome = simulate(requests, step, EngineLimits(kv_tokens=100_000), per_request=True)
    assert outcome.mean_in_flight == pytest.approx(rate * mean_e2e_s(outcome), rel=0.03)


def test_a_closed_loop_keeps_as_many_in_flight_as_users() -> None:
    """With one token out and a full batch, each step serves every user: users / step."""
    step = StepTime(weights_s=STEP_S, token_compute_s=0.0, context_s=0.0, step_s=0.0)
    requests = Requests(np.zeros(1000), np.full(1000, 4), np.full(1000, 1))
    outcome = simulate(requests, step, EngineLimits(kv_tokens=4096), users=10, per_request=True)
    assert outcome.end_s == pytest.approx(1000 / 10 * STEP_S)


def test_least_loaded_waits_less_than_round_robin() -> None:
    step = StepTime(weights_s=STEP_S, token_compute_s=0.0, context_s=0.0, step_s=0.0)
    outputs = np.random.default_rng(7).geometric(1 / 30, COUNT)
    requests = Requests(arrivals(4 * 0.8 / (30 * STEP_S)), np.full(COUNT, 4), outputs)
    limits = EngineLimits(kv_tokens=1 << 16, max_num_seqs=1)
    waits = {
        router: mean_e2e_s(simulate(requests, step, limits, Fleet(4, router), per_request=True))
        for router in ("round-robin", "least-loaded")
    }
    assert waits["least-loaded"] < 0.8 * waits["round-robin"]
