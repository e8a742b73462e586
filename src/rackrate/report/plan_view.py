"""A plan as what its outputs are made of. docs/json.md describes it."""

from __future__ import annotations

from rackrate.app.planning import Planned
from rackrate.planner.plan import Demand, Plan, RankedDeployment, Rejection
from rackrate.report.api_view import api_facts
from rackrate.schemas import predictions as views
from rackrate.schemas.root import made
from rackrate.simulation.capacity import Point
from rackrate.simulation.simulator import Latencies
from rackrate.steptime.accelerator_errors import accelerator_errors
from rackrate.units import SECONDS_PER_HOUR


def planned_view(planned: Planned) -> views.PlanView:
    """A plan, how it was corrected, and the row that was asked for from FLOPs to dollars."""
    plan, demand = planned.plan, planned.plan.demand
    explained = None if planned.explained is None else views.Explained(planned.explained, planned.explanation)
    return made(
        views.PlanView,
        plan,
        model=demand.name,
        model_origin=demand.read.architecture.origin,
        model_notes=demand.read.notes,
        demand=made(
            views.DemandView,
            demand,
            request_s=demand.rate,
            peak_request_s=demand.peak,
            mean_input_tokens=demand.mean.inputs,
            mean_output_tokens=demand.mean.outputs,
            mean_cached_tokens=demand.mean.cached,
            slo=str(demand.slo),
        ),
        rows=[_row_view(row, demand) for row in plan.rows],
        mixed=_mixed_view(plan),
        apis=[
            made(
                views.PlanApi,
                api,
                same_model=same,
                usd_month=bill,
                usd_per_1m=bill / demand.tokens_month * 1e6,
                **api_facts(api),
            )
            for api, same, bill in sorted(plan.apis, key=lambda item: (not item[1], item[2]))
        ],
        curve=[_point_view(point, plan.rows[0], demand) for point in plan.curve],
        lost=[_lost_view(rejection) for rejection in plan.lost],
        deployments=plan.kinds,
        origin=origin(plan),
        corrected=planned.corrected,
        explained=explained,
    )


def origin(plan: Plan) -> str:
    """Where the figures come from, in a sentence."""
    if not plan.rows:
        return "predicted"
    deployment = plan.rows[0].replica.deployment
    requests = len(plan.demand.draw.unit_due_s)
    return f"predicted: step times from {deployment.source}; simulated with at least {requests:,} requests"


def _mixed_view(plan: Plan) -> views.MixedFleet | None:
    if plan.mixed is None:
        return None
    usd_month = plan.mixed.usd_h * plan.demand.hours_per_month
    machines = [views.MixedMachines(name, number) for name, number in plan.mixed.machines]
    return views.MixedFleet(machines, usd_month, usd_month / plan.demand.tokens_month * 1e6)


def _row_view(row: RankedDeployment, demand: Demand) -> views.DeploymentRow:
    outcome, candidate, deployment = row.sized.point.outcome, row.candidate, row.replica.deployment
    sustained = row.capacity * row.sized.replicas if row.capacity else None
    distance = deployment.distance if deployment.release.id in deployment.coefficients.releases else "engine"
    return made(
        views.DeploymentRow,
        row,
        candidate.kind,
        offer=candidate.offer.id,
        cost_name=candidate.cost.name,
        accelerators=candidate.offer.accelerator_count,
        engine=deployment.release.id,
        tensor_parallel=candidate.kind.tp,
        pipeline_parallel=candidate.kind.pp,
        spares=demand.spares,
        replicas=row.sized.replicas,
        capacity_request_s=row.capacity,
        utilisation=demand.peak / sustained if sustained else None,
        mean_utilisation=demand.rate / sustained if sustained else None,
        attainment=outcome.attainment,
        ttft=_times(outcome.ttft),
        tpot=_times(outcome.tpot),
        e2e=_times(outcome.e2e),
        usd_h=candidate.cost.usd_h(1.0) * (row.machines + demand.spares),
        usd_per_1m_interval=row.interval,
        distance=distance,
        card_errors=accelerator_errors().get(candidate.kind.accelerator) if distance == "measured" else None,
        price_source=candidate.cost.source,
        price_date=candidate.cost.date,
        break_even=dict(row.break_evens),
    )


def _point_view(point: Point, row: RankedDeployment, demand: Demand) -> views.LoadPoint:
    """Latency and cost of a replica at a load."""
    tokens_h = point.rate * demand.tokens_per_request * SECONDS_PER_HOUR * row.candidate.replicas
    return views.LoadPoint(
        request_s=point.rate,
        share_of_capacity=point.rate / row.capacity if row.capacity else None,
        sustained=point.sustained,
        attainment=point.outcome.attainment,
        ttft=_times(point.outcome.ttft),
        tpot=_times(point.outcome.tpot),
        usd_per_1m=row.candidate.cost.usd_h(1.0) / tokens_h * 1e6,
    )


def _times(latencies: Latencies) -> views.Times | None:
    p50, p95, p99 = (latencies.quantile_s(share) for share in (0.5, 0.95, 0.99))
    return None if p50 is None or p95 is None or p99 is None else views.Times(p50, p95, p99)


def _lost_view(rejection: Rejection) -> views.LostRow:
    candidate = rejection.candidate
    return made(
        views.LostRow, rejection, candidate.kind, offer=candidate.offer.id, cost_name=candidate.cost.name,
        tensor_parallel=candidate.kind.tp, pipeline_parallel=candidate.kind.pp,
    )  # fmt: skip
