"""A simulated load as a level of a run: the same records that a measurement writes, so that the same metrics apply."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rackrate.runs.records import Level, RequestRecord
from rackrate.runs.statuses import OK
from rackrate.simulation.settings import EngineLimits, Fleet, Requests
from rackrate.simulation.simulator import Outcome, simulate
from rackrate.simulation.step import StepTime
from rackrate.simulation.trace import token_times


def simulate_level(
    level: Level,
    requests: Requests,
    step: StepTime,
    limits: EngineLimits,
    fleet: Fleet | None = None,
    first_index: int = 0,
) -> tuple[Outcome, list[RequestRecord]]:
    """Simulates a level, fills in when it stopped, and gives its requests in the order in which they were done.

    Args:
        level: closed (or prefill) with its concurrency, or open; `started_s` is when it begins within the run.
        requests: what is sent. In a closed loop the first of each worker are marked as staggered.
        step: seconds of a step.
        limits: what bounds a batch.
        fleet: replicas and router.
        first_index: number of the level's first request within the run.
    """
    users = level.concurrency or 0 if level.kind != "open" else 0
    sent = requests
    if users:  # the next request of a worker reaches the scheduler once it has been through HTTP
        sent = Requests(
            np.full(len(requests), limits.request_s), requests.input_tokens, requests.output_tokens,
            requests.cached_tokens, requests.group, requests.hash_start, requests.hashes, requests.hash_tokens,
        )  # fmt: skip
    outcome = simulate(sent, step, limits, fleet, users=users, per_request=True, trace=True)
    records = list(_records(level, requests, outcome, limits.request_s, users, first_index))
    level.stopped_s = max((record.sent_s for record in records), default=level.started_s)
    level.ended_s = max((record.done_s for record in records), default=level.started_s)
    level.ended_because = "requests"
    return outcome, sorted(records, key=lambda item: item.done_s)


def _records(
    level: Level, requests: Requests, outcome: Outcome, request_s: float, users: int, first_index: int
) -> Iterator[RequestRecord]:
    assert outcome.each is not None and outcome.trace is not None  # noqa: S101, PT018 - asked for above
    times = token_times(outcome.trace, len(requests))
    input_tokens = np.asarray(requests.input_tokens)
    output_tokens = np.asarray(requests.output_tokens)
    # an open loop's requests are due when the schedule says; all that the engine does comes request_s later
    delay = 0.0 if users else request_s
    for number, moments in enumerate(times):
        arrived = level.started_s + float(outcome.each.due_s[number])
        due = max(level.started_s, arrived - request_s) if users else arrived
        chunks = tuple((level.started_s + delay + moments).tolist())
        tokens = int(output_tokens[number])
        yield RequestRecord(
            index=first_index + number, level=level.index, due_s=due, sent_s=due, first_byte_s=chunks[0],
            first_token_s=chunks[0], done_s=chunks[-1], status=OK, http_status=200, detail=None,
            asked_input_tokens=int(input_tokens[number]), asked_output_tokens=tokens,
            input_tokens=int(input_tokens[number]), cached_tokens=int(outcome.each.cached_tokens[number]),
            output_tokens=tokens, finish_reason="length", stagger=number < users, chunk_s=chunks,
        )  # fmt: skip
