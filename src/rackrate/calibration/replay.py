"""A measured load sent again, request by request, to a deployment whose step time is predicted.

What a run measured depends on which requests it sent and when: equal lengths march in waves, a Poisson sequence has its
own bursts, a short window holds what it happens to hold. So the same requests are replayed, with the lengths that the
server counted, and looked at through the same window. llama.cpp's server has the simulator's scheduling of slots; other
engines that of simulate/finite_run.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rackrate.metrics.steady import soft_rate
from rackrate.metrics.summary import LevelSummary
from rackrate.runs.records import Level, RequestRecord
from rackrate.simulation.finite_run import finite_run
from rackrate.simulation.settings import EngineLimits, Requests
from rackrate.simulation.simulator import simulate
from rackrate.steptime.deployment import Deployment
from rackrate.steptime.load import Load
from rackrate.steptime.replay import Predicted

Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]

MORE = 0.5
"""Share by which a closed loop's requests are repeated, so that a faster prediction does not run out of them."""
SIMILAR = 0.1
"""Share of a prompt in common with an earlier one above which llama.cpp's server looks for the slot that has it
(slot_prompt_similarity, common/common.h)."""


@dataclass(frozen=True, eq=False)
class RecordedLoad(Load):
    """A load with the requests of which it was made, in the order in which they were sent."""

    due_s: Floats | None = None
    """Of an open loop, from the start of the level; None in a closed one."""
    prompts: Whole | None = None
    """Input tokens, cached ones included."""
    cached: Whole | None = None
    outputs: Whole | None = None
    first: int = 0
    """Requests at the beginning whose latency does not count."""
    window_s: tuple[float, float] = (0.0, 0.0)
    """What was measured, from the start of the level."""


def recorded(load: Load, level: Level, summary: LevelSummary, requests: Iterable[RequestRecord]) -> Load:
    """A load with the requests of a level; as it is where a run has none, or not what is needed of them."""
    sent = sorted(
        (request for request in requests if request.level == level.index and request.ok),
        key=lambda item: (item.sent_s, item.index),
    )
    counted = [sending for sending in sent if sending.input_tokens and sending.output_tokens]
    if summary.window_start_s is None or summary.window_end_s is None or len(counted) < max(2, 0.99 * len(sent)):
        return load
    return RecordedLoad(
        load.kind, load.value, load.requests, load.prompt_tokens, load.output_tokens, whole=load.whole,
        staggered=load.staggered,
        due_s=None if load.kind == "closed" else np.array([entry.due_s - level.started_s for entry in counted]),
        prompts=np.array([entry.input_tokens for entry in counted], dtype=np.int64),
        cached=np.array([entry.cached_tokens or 0 for entry in counted], dtype=np.int64),
        outputs=np.array([entry.output_tokens for entry in counted], dtype=np.int64),
        first=sum(entry.stagger for entry in counted),
        window_s=(summary.window_start_s - level.started_s, summary.window_end_s - level.started_s),
    )  # fmt: skip


def slot_limits(deployment: Deployment, settings: Mapping[str, object]) -> EngineLimits | None:
    """How a llama.cpp server with these settings schedules; None for other engines."""
    scheduler = deployment.scheduler
    if not scheduler.micro_batch:
        return None

    def of(name: str, default: int) -> int:
        value = settings.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else default

    slots = of("slots", scheduler.slots)
    return EngineLimits(
        kv_tokens=slots * of("context_per_slot", 1 << 20),
        max_num_seqs=slots,
        max_num_batched_tokens=max(of("batch_tokens", scheduler.budget), slots),
        scheduling="llama.cpp",
        micro_batch_tokens=max(of("micro_batch_tokens", scheduler.micro_batch), slots),
        unified_cache=bool(settings.get("kv_unified", False)),
    )


def replay(deployment: Deployment, load: Load, limits: EngineLimits | None = None) -> Predicted:
    """What the load gives: its own requests where they are recorded, else ones like them."""
    if not isinstance(load, RecordedLoad) or load.prompts is None or load.cached is None or load.outputs is None:
        return deployment.replay(load)
    prompts, cached, outputs = load.prompts, load.cached, load.outputs
    streams = int(load.value) if load.kind == "closed" else 0
    if streams:
        again = np.arange(len(prompts) + int(MORE * len(prompts)) + streams)
        again = np.where(again < len(prompts), again, load.first + again % max(len(prompts) - load.first, 1))
        again = np.minimum(again, len(prompts) - 1)
        prompts, cached, outputs = prompts[again], cached[again], outputs[again]
    due = load.due_s if load.due_s is not None else np.zeros(len(prompts))
    if limits is not None:
        sent, first, done = _in_slots(deployment, limits, due, prompts, cached, outputs, streams)
    else:
        started, first, done = finite_run(
            deployment.step, due, np.maximum(prompts - cached, 1), outputs, streams=streams,
            slots=max(deployment.scheduler.slots, streams), mixed=deployment.scheduler.mixed,
            budget=max(deployment.scheduler.budget, 0 if deployment.scheduler.mixed else int(prompts.max())),
            kv_capacity=deployment.kv_capacity_tokens, reserve_fraction=deployment.scheduler.reserve_fraction,
        )  # fmt: skip
        sent, first, done = started, first + deployment.request_s, done + deployment.request_s
    return _figures(load, sent, first, done, outputs)


def _in_slots(
    deployment: Deployment, limits: EngineLimits, due: Floats, prompts: Whole, cached: Whole, outputs: Whole,
    streams: int,
) -> tuple[Floats, Floats, Floats]:  # fmt: skip
    """When each was sent, had its first token and was done, on llama.cpp's server. [s]"""
    from dataclasses import replace

    pause = deployment.request_s
    limits = replace(limits, similar_prompts=bool(cached.sum() > SIMILAR * prompts.sum()))
    outcome = simulate(
        Requests(np.full(len(prompts), pause) if streams else due + pause, prompts, outputs, cached),
        deployment.step.at_mean_context(float((prompts + outputs / 2).mean())),
        replace(limits, block_tokens=1),
        users=streams,
        per_request=True,
    )
    assert outcome.each is not None  # noqa: S101 - asked for above
    each = outcome.each
    sent = np.maximum(each.due_s - pause, 0.0) if streams else due
    return sent, each.first_token_s, each.done_s


def _figures(load: RecordedLoad, sent: Floats, first: Floats, done: Floats, outputs: Whole) -> Predicted:
    """Throughput, TPOT and TTFT as metrics.py defines them, through the window that was measured."""
    start, end = load.window_s
    counts = (sent >= start) & (sent <= end) & ~np.isnan(done)
    counts[: load.first] = False
    if not counts.any():
        counts = ~np.isnan(done)
    many = counts & (outputs > 1)
    tpots = (done[many] - first[many]) / (outputs[many] - 1)
    share = (np.arange(int(outputs.sum())) - np.repeat(np.cumsum(outputs) - outputs, outputs)) / np.repeat(
        np.maximum(outputs - 1, 1), outputs
    )
    times = np.repeat(first, outputs) + share * np.repeat(done - first, outputs)
    typical = float(np.median((done - sent)[counts]))
    rate = soft_rate(times, np.ones(len(times)), start, end, typical)
    return Predicted(
        max(rate, 1e-9),
        float(np.median(tpots)) if len(tpots) else None,
        float(np.median((first - sent)[counts])),
        saturated=False,
        in_flight=float(np.nansum(done - sent)) / float(np.nanmax(done)),
    )
