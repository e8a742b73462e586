"""A plan as plain JSON-able values. docs/json.md describes it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rackrate.app.planning import Planned
from rackrate.planner.plan import Demand, Plan, RankedDeployment, Rejection
from rackrate.simulation.capacity import Point
from rackrate.simulation.simulator import Latencies
from rackrate.units import SECONDS_PER_HOUR

SCHEMA = "rackrate.plan/1"

Json = dict[str, Any]


def planned_view(planned: Planned) -> Json:
    """A plan, how it was corrected, and the row that was asked for from FLOPs to dollars."""
    view = plan_view(planned.plan)
    view["corrected"] = planned.corrected
    if planned.explained is not None:
        view["explained"] = {"offer": planned.explained, "steps": list(planned.explanation)}
    return view


def plan_view(plan: Plan) -> Json:
    """All of a plan."""
    demand = plan.demand
    return {
        "schema": SCHEMA,
        "model": demand.name,
        "model_origin": demand.read.architecture.origin,
        "model_notes": list(demand.read.notes),
        "demand": {
            "origin": demand.origin,
            "request_s": demand.rate,
            "peak_request_s": demand.peak,
            "mean_input_tokens": demand.mean.inputs,
            "mean_output_tokens": demand.mean.outputs,
            "mean_cached_tokens": demand.mean.cached,
            "slo": str(demand.slo),
            "hours_per_month": demand.hours_per_month,
            "spares": demand.spares,
            "tokens_month": demand.tokens_month,
            "notes": list(demand.notes),
        },
        "rows": [_row_view(row, demand) for row in plan.rows],
        "mixed": None
        if plan.mixed is None
        else {
            "machines": [{"name": name, "machines": number} for name, number in plan.mixed.machines],
            "usd_month": plan.mixed.usd_h * demand.hours_per_month,
            "usd_per_1m": plan.mixed.usd_h * demand.hours_per_month / demand.tokens_month * 1e6,
        },
        "apis": [
            {
                "api": api.ref, "same_model": same, "usd_month": bill, "usd_per_1m": bill / demand.tokens_month * 1e6,
                "source": api.source, "date": api.date,
            }
            for api, same, bill in sorted(plan.apis, key=lambda item: (not item[1], item[2]))
        ],
        "curve": [_point_view(point, plan.rows[0], demand) for point in plan.curve],
        "lost": _lost_view(plan.lost),
        "reasons": plan.reasons,
        "closest": plan.closest,
        "candidates": plan.candidates,
        "deployments": plan.kinds,
        "simulations": plan.simulations,
        "origin": origin(plan),
    }  # fmt: skip


def origin(plan: Plan) -> str:
    """Where the figures come from, in a sentence."""
    if not plan.rows:
        return "predicted"
    deployment = plan.rows[0].replica.deployment
    requests = len(plan.demand.draw.unit_due_s)
    return f"predicted: step times from {deployment.source}; simulated with at least {requests:,} requests"


def _row_view(row: RankedDeployment, demand: Demand) -> Json:
    outcome = row.sized.point.outcome
    kind, deployment = row.candidate.kind, row.replica.deployment
    return {
        "offer": row.candidate.offer.id,
        "cost_name": row.candidate.cost.name,
        "accelerator": kind.accelerator,
        "accelerators": row.candidate.offer.accelerator_count,
        "engine": deployment.release.id,
        "weights": kind.weights,
        "tensor_parallel": kind.tp,
        "pipeline_parallel": kind.pp,
        "machines": row.machines,
        "spares": demand.spares,
        "replicas": row.sized.replicas,
        "capacity_request_s": row.capacity,
        "utilisation": demand.peak / (row.capacity * row.sized.replicas) if row.capacity else None,
        "mean_utilisation": demand.rate / (row.capacity * row.sized.replicas) if row.capacity else None,
        "attainment": outcome.attainment,
        "ttft": _quantiles(outcome.ttft),
        "tpot": _quantiles(outcome.tpot),
        "e2e": _quantiles(outcome.e2e),
        "usd_h": row.candidate.cost.usd_h(1.0) * (row.machines + demand.spares),
        "usd_month": row.usd_month,
        "usd_per_1m": row.usd_per_1m,
        "usd_per_1m_interval": row.interval,
        "distance": deployment.distance if deployment.release.id in deployment.coefficients.releases else "engine",
        "price_source": row.candidate.cost.source,
        "price_date": row.candidate.cost.date,
        "break_even": {name: asdict(even) for name, even in row.break_evens},
    }


def _point_view(point: Point, row: RankedDeployment, demand: Demand) -> Json:
    """Latency and cost of a replica at a load."""
    tokens_h = point.rate * demand.tokens_per_request * SECONDS_PER_HOUR * row.candidate.replicas
    return {
        "request_s": point.rate,
        "share_of_capacity": point.rate / row.capacity if row.capacity else None,
        "sustained": point.sustained,
        "attainment": point.outcome.attainment,
        "ttft": _quantiles(point.outcome.ttft),
        "tpot": _quantiles(point.outcome.tpot),
        "usd_per_1m": row.candidate.cost.usd_h(1.0) / tokens_h * 1e6,
    }


def _quantiles(latencies: Latencies) -> Json | None:
    if not latencies.count:
        return None
    return {"p50": latencies.quantile_s(0.5), "p95": latencies.quantile_s(0.95), "p99": latencies.quantile_s(0.99)}


def _lost_view(lost: tuple[Rejection, ...]) -> list[Json]:
    return [
        {
            "offer": rejection.candidate.offer.id, "cost_name": rejection.candidate.cost.name,
            "weights": rejection.candidate.kind.weights,
            "tensor_parallel": rejection.candidate.kind.tp, "pipeline_parallel": rejection.candidate.kind.pp,
            "engine": rejection.candidate.kind.engine, "reason": rejection.reason,
            "detail": rejection.detail, "usd_month_at_least": rejection.usd_month_at_least,
        }
        for rejection in lost
    ]  # fmt: skip
