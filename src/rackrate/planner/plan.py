"""The plan: every candidate bounded, the promising ones simulated, the rest told why not."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from rackrate.catalog.api_use import ANY_USE, ApiUse
from rackrate.catalog.apis import ApiPrice
from rackrate.catalog.load import Catalog
from rackrate.economics.breakeven import BreakEven, break_even
from rackrate.economics.hourly import PriceKind
from rackrate.errors import WorkloadError
from rackrate.models.read_model import ReadModel
from rackrate.planner.bounds import idle_words, loosened, missed_when_idle, ms_text, when_idle
from rackrate.planner.candidates import Candidate, Replica, ReplicaSpec, candidates, replica_of
from rackrate.planner.mixed import Mixed, MixShare, cheapest_mix
from rackrate.planner.sizing import Sized, Sizer, fewest_machines
from rackrate.simulation.capacity import Draw, Point, curve
from rackrate.steptime.deployment import Deployment
from rackrate.units import PER_MILLION, SECONDS_PER_HOUR
from rackrate.workload.slo import Objective, Slo


@dataclass(frozen=True)
class Tokens:
    """Mean tokens of a request."""

    inputs: float
    """Cached ones included."""
    outputs: float
    cached: float = 0.0
    written: float = 0.0
    """Of the input: what an API's cache was seen to be written, for minutes."""
    written_1h: float = 0.0
    """For an hour."""


@dataclass(frozen=True)
class Demand:
    """What is asked for."""

    read: ReadModel
    draw: Draw
    rate: float
    """Mean requests per second: what is billed."""
    peak: float
    """Requests per second that must be served within the SLO."""
    slo: Slo
    origin: str
    hours_per_month: float
    spares: int = 0
    """Machines beyond those needed."""
    tokens: Tokens | None = None
    """Of all that was recorded, for the bills; None: those of the draw."""
    longest: int | None = None
    """Input and output tokens of the longest request that was recorded; None: of the draw."""
    notes: tuple[str, ...] = ()
    """Sentences that belong to the traffic."""
    use: ApiUse = ANY_USE
    """What prices of APIs are weighed by."""

    @property
    def name(self) -> str:
        """Of the model."""
        return self.read.architecture.name

    @property
    def mean(self) -> Tokens:
        """Tokens of a request, on average: what is billed."""
        draw = self.draw
        return self.tokens or Tokens(
            float(draw.input_tokens.mean()), float(draw.output_tokens.mean()), float(draw.cached_tokens.mean())
        )

    @property
    def tokens_per_request(self) -> float:
        """Input and output tokens of a request, on average."""
        return self.mean.inputs + self.mean.outputs

    @property
    def tokens_month(self) -> float:
        """Input and output tokens of a month."""
        return self.rate * self.tokens_per_request * self.hours_per_month * SECONDS_PER_HOUR


@dataclass(frozen=True)
class RankedDeployment:
    """One way that meets the SLO, priced."""

    candidate: Candidate
    replica: Replica
    sized: Sized
    usd_month: float
    usd_per_1m: float
    capacity: float | None = None
    """Of one replica. [request/s]"""
    interval: tuple[float, float] | None = None
    """80 % of USD per 1M, from what predictions of throughput were off by on machines never seen."""
    p_more_machines: float | None = None
    """How probable it is, by the same errors, that more machines are needed. None: they are not known."""
    break_evens: tuple[tuple[str, BreakEven], ...] = ()

    @property
    def machines(self) -> int:
        """Those that the load needs; spares are not among them."""
        return self.sized.machines


@dataclass(frozen=True)
class Rejection:
    """Why a candidate is not in the table."""

    candidate: Candidate
    reason: str
    """`does not fit`, `misses the SLO`, `dearer`."""
    detail: str
    usd_month_at_least: float | None = None
    memory_gib: float | None = None
    """Of one accelerator, where it does not fit."""


def largest(lost: Sequence[Rejection]) -> Rejection | None:
    """Of those that lost, the replica with the most memory: what a model that fits nowhere comes nearest to fitting."""

    def memory(item: Rejection) -> float:
        return item.candidate.kind.accelerators * (item.memory_gib or 0.0)

    return max(lost, key=memory, default=None)


@dataclass(frozen=True)
class Plan:
    """The ranked answer."""

    demand: Demand
    rows: tuple[RankedDeployment, ...]
    """The cheapest deployment of each offer and kind of price, cheapest first."""
    mixed: Mixed | None
    """A fleet of several offers, where it is cheaper than any one."""
    apis: tuple[tuple[ApiPrice, bool, float], ...]
    """Price, whether of the very model, and USD per month."""
    lost: tuple[Rejection, ...]
    candidates: int
    kinds: int
    simulations: int
    curve: tuple[Point, ...] = ()
    """Of a replica of the first row: latencies at shares of its capacity."""
    closest: str | None = None
    """Where nothing meets the SLO: what comes nearest."""
    reasons: dict[str, int] = field(default_factory=dict[str, int])


def plan(
    demand: Demand,
    catalog: Catalog,
    apis: Sequence[tuple[ApiPrice, bool]] = (),
    *,
    kinds: Sequence[PriceKind] = ("on-demand",),
    engines: Sequence[str] = ("vllm",),
    weights: Sequence[str] = (),
    offers: Sequence[str] = (),
    rows: int = 12,
    prune: bool = True,
    correct: Callable[[Deployment], Deployment] | None = None,
    on_progress: Callable[[int, int], None] = lambda done, of: None,
) -> Plan:
    """Ranks every candidate by USD per month for a demand.

    Args:
        demand: traffic, objectives, model.
        catalog: offers and accelerators.
        apis: prices, each with whether it is of the very model.
        kinds: price kinds to consider.
        engines: engines to consider.
        weights: weight formats; none given: as published, fp8 and 4 bits where they run.
        offers: only these; none given: all.
        rows: offers that are priced exactly; candidates that cannot be among them are not simulated.
        prune: use the bounds. Without, everything that fits is simulated, and the winner is the same.
        correct: puts an anchor's correction on a predicted deployment.
        on_progress: is handed how many candidates are done, of how many.

    Raises:
        WorkloadError: requests longer than the model's context, or nothing to choose from.
    """
    longest = _longest(demand)
    everything = list(candidates(demand.read, catalog, kinds=kinds, engines=engines, weights=weights, offers=offers))
    if not everything:
        raise WorkloadError("no offer in the catalogue has an accelerator and such a price")
    ranking = _Ranking(demand, catalog, everything, longest, correct)
    bounded = ranking.bounded()
    for done, (least_usd_h, _, item, replica) in enumerate(bounded):
        on_progress(done, len(bounded))
        ranking.consider(item, replica, least_usd_h, ranking.cutoff(item, rows) if prune else math.inf)
    ranked = sorted(ranking.best.values(), key=lambda row: (row.usd_month, row.sized.machines, row.candidate.name))
    lost = [
        *ranking.lost,
        *(Rejection(row.candidate, "dearer", "than those shown", row.usd_month) for row in ranked[rows:]),
    ]
    shown = [_finished(row, demand, ranking.sizer, apis) for row in ranked[:rows]]
    nearest = ranking.nearest
    return Plan(
        demand=demand,
        rows=tuple(shown),
        mixed=_mixed(shown, demand),
        apis=tuple((api, same, _bill(api, demand)) for api, same in apis),
        lost=tuple(lost),
        curve=_curve(shown[0], demand) if shown else (),
        candidates=len(everything),
        kinds=len(ranking.replicas),
        simulations=ranking.sizer.simulations,
        closest=_closest(*nearest[1:], demand) if nearest is not None and not shown else None,
        reasons=dict(Counter(rejection.reason for rejection in lost)),
    )


def _longest(demand: Demand) -> int:
    """Input and output tokens of the longest request. WorkloadError where the model's context is shorter."""
    draw, context = demand.draw, demand.read.architecture.context_tokens
    longest = demand.longest or int((draw.input_tokens.astype(np.int64) + draw.output_tokens).max())
    if longest > context:
        over = float(((draw.input_tokens.astype(np.int64) + draw.output_tokens) > context).mean())
        raise WorkloadError(
            f"the longest request has {longest:,} tokens in and out, {over:.1%} of them more than the "
            f"{context:,} of {demand.name}'s context; shorten the lengths, or leave recorded "
            f"requests out with {{longest}} {context}",
            field="longest",
        )
    return longest


MOST_MACHINES = 4096
"""That share a load, at most."""


class _Ranking:
    """The best deployment of each offer as candidates are looked at, and why the others lost."""

    def __init__(
        self, demand: Demand, catalog: Catalog, everything: Sequence[Candidate], longest: int,
        correct: Callable[[Deployment], Deployment] | None,
    ) -> None:  # fmt: skip
        self.demand, self.catalog, self.everything, self.longest = demand, catalog, everything, longest
        self.correct = correct
        draw = demand.draw
        # context that a decode step reads, on average over steps
        decodes = np.maximum(draw.output_tokens - 1, 0).astype(np.float64)
        reads = decodes * (draw.input_tokens + draw.output_tokens / 2)
        self.mean_context = float(reads.sum() / max(1.0, decodes.sum()))
        self.sizer = Sizer(draw, demand.peak, demand.slo)
        self.replicas: dict[ReplicaSpec, Replica | str] = {}
        self.lost: list[Rejection] = []
        self.nearest: tuple[float, Candidate, Replica] | None = None
        """Of those that miss the SLO, what is off least, by how much, and how it is."""
        self.best: dict[str, RankedDeployment] = {}
        """By the name of the cost: an offer and a kind of price."""
        # the published format comes first
        self.rank = {item.kind: -order for order, item in enumerate(reversed(everything))}

    def _replica(self, kind: ReplicaSpec) -> Replica | str:
        if kind not in self.replicas:
            accelerator = self.catalog.accelerators[kind.accelerator]
            found = replica_of(kind, self.demand.read, accelerator, self.longest, self.mean_context)
            if self.correct is not None and not isinstance(found, str):
                found = _corrected(found, self.correct, self.mean_context)
            self.replicas[kind] = found
        return self.replicas[kind]

    def bounded(self) -> list[tuple[float, int, Candidate, Replica]]:
        """Candidates that may do, each with the least that it can cost and its place in the list. [USD/h]"""
        demand = self.demand
        idle: dict[ReplicaSpec, tuple[tuple[Objective, float], ...]] = {}
        # the objectives that a kind misses even when idle, and what it reaches
        bounded: list[tuple[float, int, Candidate, Replica]] = []
        for order, item in enumerate(self.everything):
            kind, replica = item.kind, self._replica(item.kind)
            if isinstance(replica, str):
                memory = self.catalog.accelerators[kind.accelerator].memory_gib
                self.lost.append(Rejection(item, "does not fit", replica, memory_gib=memory))
                continue
            if kind not in idle:
                idle[kind] = missed_when_idle(demand.draw, demand.slo, replica.step, replica.limits)
            if idle[kind]:
                self.lost.append(Rejection(item, "misses the SLO", _missed_words(idle[kind])))
                self._note_near(max(best / missed.limit_s for missed, best in idle[kind]), item, replica)
                continue
            machines = fewest_machines(demand.peak, item.replicas, self.sizer.busy_s(replica))
            bounded.append(((machines + demand.spares) * item.cost.usd_h(1.0), order, item, replica))
        return sorted(bounded, key=lambda entry: entry[:2])

    def _note_near(self, off: float, item: Candidate, replica: Replica) -> None:
        if self.nearest is None or off < self.nearest[0]:
            self.nearest = (off, item, replica)

    def cutoff(self, item: Candidate, rows: int) -> float:
        """What a candidate may cost to be among the `rows` cheapest offers, and the best of its own. [USD/h]"""
        hours = self.demand.hours_per_month
        costs = sorted(row.usd_month / hours for row in self.best.values())
        most = costs[rows - 1] if len(costs) >= rows else math.inf
        known = self.best.get(item.cost.name)
        return most if known is None else min(most, known.usd_month / hours)

    def consider(self, item: Candidate, replica: Replica, least_usd_h: float, cutoff_usd_h: float) -> None:
        """Sizes and prices a candidate, unless it costs more than `cutoff_usd_h` whatever the simulation says."""
        demand, usd_h = self.demand, item.cost.usd_h(1.0)
        least_usd_month = least_usd_h * demand.hours_per_month
        if least_usd_h > cutoff_usd_h * (1 + 1e-9):  # what costs the same is looked at, whatever rounding makes of it
            self.lost.append(Rejection(item, "dearer", "by its bound", least_usd_month))
            return
        most = MOST_MACHINES
        if cutoff_usd_h != math.inf and usd_h > 0:
            most = min(max(1, math.floor(cutoff_usd_h / usd_h + 1e-9) - demand.spares), MOST_MACHINES)
        sized = self.sizer.size(replica, item.replicas, most)
        if sized is None:
            if most == MOST_MACHINES:
                self._note_near(1.0, item, replica)
            reason = "misses the SLO" if most == MOST_MACHINES else "dearer"
            self.lost.append(Rejection(item, reason, f"more than {most} machines", least_usd_month))
            return
        usd_month = (sized.machines + demand.spares) * usd_h * demand.hours_per_month
        row = RankedDeployment(item, replica, sized, usd_month, usd_month / demand.tokens_month * PER_MILLION)
        known = self.best.get(item.cost.name)
        if known is None or _better(row, known, self.rank):
            self.best[item.cost.name] = row
            if known is None:
                return
            row = known
        other = "than another deployment on the same offer"
        self.lost.append(Rejection(row.candidate, "dearer", other, row.usd_month))


def _corrected(replica: Replica, correct: Callable[[Deployment], Deployment], seen: float) -> Replica:
    from dataclasses import replace

    deployment = correct(replica.deployment)
    return replace(replica, deployment=deployment, step=deployment.step.at_mean_context(seen))


def _missed_words(missed: Sequence[tuple[Objective, float]]) -> str:
    """What a kind misses, so that those that miss it alike read alike."""
    return ", ".join(
        f"p{objective.percentile:g} {objective.metric} is {ms_text(best)} ms even when idle"
        for objective, best in missed
    )


def _closest(candidate: Candidate, replica: Replica, demand: Demand) -> str:
    """What comes nearest to the objectives, what it reaches, and the objectives that it would take."""
    found = when_idle(demand.draw, demand.slo, replica.step, replica.limits)
    if not idle_words(found):
        return f"{candidate.name}: within it when idle, but not with 4,096 machines that share the load"
    return f"{candidate.name}: {idle_words(found)}; it takes {loosened(found)}"


def _better(row: RankedDeployment, other: RankedDeployment, rank: Mapping[ReplicaSpec, int]) -> bool:
    """Cheaper; or as cheap with more replicas; else what is listed first, the published format before others."""
    return (row.usd_month, -row.sized.replicas, rank[row.candidate.kind]) < (
        other.usd_month, -other.sized.replicas, rank[other.candidate.kind]
    )  # fmt: skip


def _finished(
    row: RankedDeployment, demand: Demand, sizer: Sizer, apis: Sequence[tuple[ApiPrice, bool]]
) -> RankedDeployment:
    """With capacity, interval and break-evens."""
    from dataclasses import replace

    capacity = sizer.capacity(row.replica, row.sized).rate or None
    interval, p_more = None, None
    spread = row.replica.deployment.throughput_spread
    usd_h = row.candidate.cost.usd_h(1.0)
    on_machine = row.candidate.replicas
    if capacity is not None and spread is not None:

        def at(factor: float) -> float:
            machines = max(1, math.ceil(demand.peak / (capacity * factor * on_machine) - 1e-9)) + demand.spares
            return machines * usd_h * demand.hours_per_month / demand.tokens_month * PER_MILLION

        # ln(predicted/observed) is between low and high: what is observed is the prediction over that
        interval = (min(at(math.exp(-spread.low)), row.usd_per_1m), max(at(math.exp(-spread.high)), row.usd_per_1m))
        # whole machines have room: one more is needed where the prediction is too high by more than that
        p_more = spread.p_above(math.log(capacity * on_machine * row.machines / demand.peak))
    evens: list[tuple[str, BreakEven]] = []
    if capacity is not None:
        month = usd_h * demand.hours_per_month
        # what a machine serves in a month where its peak is within the SLO
        served = capacity * on_machine * demand.rate / demand.peak * demand.tokens_per_request
        served *= demand.hours_per_month * SECONDS_PER_HOUR
        evens = [
            (api.ref, break_even(month, 0.0, served, _bill(api, demand) / demand.tokens_month, demand.spares))
            for api, _ in apis
        ]
    return replace(row, capacity=capacity, interval=interval, p_more_machines=p_more, break_evens=tuple(evens))


CURVE = (0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25)
"""Shares of capacity at which latency and cost are shown against load."""


def _curve(row: RankedDeployment, demand: Demand) -> tuple[Point, ...]:
    if not row.capacity:
        return ()
    rates = [row.capacity * share for share in CURVE]
    return tuple(curve(demand.draw, rates, demand.slo, row.replica.step, row.replica.limits))


def _bill(api: ApiPrice, demand: Demand) -> float:
    """What an API asks for the month. [USD/month]"""
    requests = demand.rate * demand.hours_per_month * SECONDS_PER_HOUR
    mean = demand.mean
    each = (mean.inputs, mean.outputs, mean.cached, mean.written, mean.written_1h)
    return api.bill_usd(*(requests * tokens for tokens in each))


def _mixed(rows: Sequence[RankedDeployment], demand: Demand) -> Mixed | None:
    """The cheapest mix of the shown offers, if it beats the best of them."""
    parts = [
        MixShare(row.candidate.name, row.capacity * row.candidate.replicas, row.candidate.cost.usd_h(1.0))
        for row in rows
        if row.capacity
    ]
    if len(parts) < 2 or demand.spares:
        return None
    found = cheapest_mix(demand.peak, parts)
    if found is None or found.usd_h * demand.hours_per_month > rows[0].usd_month * (1 - 1e-6):
        return None
    return found
