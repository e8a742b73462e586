"""A plan as plain JSON-able values, and one of its rows explained from FLOPs to dollars. docs/json.md describes it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rackrate.planner.bounds import least_busy_s
from rackrate.planner.plan import Demand, Lost, Plan, Row
from rackrate.simulate.capacity import Point
from rackrate.simulate.simulator import Latencies
from rackrate.units import GIB, SECONDS_PER_HOUR

SCHEMA = "rackrate.plan/1"

Json = dict[str, Any]


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
            for api, same, bill in sorted(plan.apis, key=lambda one: (not one[1], one[2]))
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


def _row_view(row: Row, demand: Demand) -> Json:
    outcome = row.sized.point.outcome
    kind, deployment = row.candidate.kind, row.replica.deployment
    return {
        "offer": row.candidate.offer.id,
        "cost_name": row.candidate.cost.name,
        "accelerator": kind.accelerator,
        "accelerators": row.candidate.offer.accelerator_count,
        "engine": deployment.era.id,
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
        "distance": deployment.distance if deployment.era.id in deployment.coefficients.eras else "engine",
        "price_source": row.candidate.cost.source,
        "price_date": row.candidate.cost.date,
        "break_even": {name: asdict(even) for name, even in row.break_evens},
    }


def _point_view(point: Point, row: Row, demand: Demand) -> Json:
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


def _lost_view(lost: tuple[Lost, ...]) -> list[Json]:
    return [
        {
            "offer": one.candidate.offer.id, "cost_name": one.candidate.cost.name,
            "weights": one.candidate.kind.weights,
            "tensor_parallel": one.candidate.kind.tp, "pipeline_parallel": one.candidate.kind.pp,
            "engine": one.candidate.kind.engine, "reason": one.reason,
            "detail": one.detail, "usd_month_at_least": one.usd_month_at_least,
        }
        for one in lost
    ]  # fmt: skip


def explained(row: Row, demand: Demand) -> list[Json]:
    """One row from FLOPs to dollars: what, value, unit, and how it follows."""
    replica, candidate, fit = row.replica, row.candidate, row.replica.fit
    step, limits, draw = replica.step, replica.limits, demand.draw
    outcome = row.sized.point.outcome
    inputs, outputs = float(draw.input_tokens.mean()), float(draw.output_tokens.mean())
    steps: list[Json] = []

    def add(what: str, value: float | None, unit: str, how: str) -> None:
        steps.append({"what": what, "value": value, "unit": unit, "how": how})

    add(
        "weights",
        fit.total_weights_bytes / GIB,
        "GiB",
        f"{demand.read.architecture.parameters.total:,} parameters in {fit.weights_format}",
    )
    add("weights on one accelerator", fit.weights_bytes / GIB, "GiB", f"split over {fit.accelerators}")
    add(
        "left for the KV cache", fit.kv_bytes / GIB, "GiB",
        f"{fit.usable_bytes / GIB:.2f} GiB usable - weights - "
        f"{(fit.activation_bytes + fit.overhead_bytes) / GIB:.2f} GiB",
    )  # fmt: skip
    add("KV cache of a replica", fit.kv_tokens, "token", f"{fit.kv_bytes_per_token:,.0f} bytes a token and accelerator")
    add("read the weights once", step.weights_s * 1e3, "ms/step", "bytes / (bandwidth x fitted share)")
    add("arithmetic of a token", step.token_compute_s * 1e6, "us/token", "2 FLOP a weight / (peak x fitted share)")
    add("read a token of context", step.context_s * 1e9, "ns/token", "its KV bytes / (bandwidth x fitted share)")
    if step.crowded_context > 1:
        add(
            "the same in large batches", step.context_s * step.crowded_context * 1e9, "ns/token",
            f"with more than {step.crowd:.0f} sequences the engine takes another kernel",
        )  # fmt: skip
    add("host, launches, all-reduces", step.step_s * 1e3, "ms/step", "fitted")
    add("per sequence", step.sequence_s * 1e6, "us/sequence", "fitted, and the output layer")
    alone = step.step_time_s(1, inputs)
    add("a token alone", alone * 1e3, "ms", "a step with one sequence")
    busy = least_busy_s(draw, step, limits)
    add(
        "busy for a request, at least", busy, "s",
        f"{inputs:,.0f} tokens in, {outputs:,.0f} out on average, in the fullest batches that memory and "
        f"max_num_seqs ({limits.max_num_seqs}) allow",
    )  # fmt: skip
    add("no replica serves more than", 1 / busy, "request/s", "1 / the above")
    add("capacity of a replica", row.capacity, "request/s", f"simulated: the largest rate within {demand.slo}")
    add("asked for at the peak", demand.peak, "request/s", demand.origin)
    add(
        "replicas of a machine",
        candidate.replicas,
        "",
        f"{candidate.offer.accelerator_count} accelerators / {fit.accelerators}",
    )
    add("machines", row.machines, "", "the fewest whose replicas, given equal shares, stay within the SLO (simulated)")
    share = row.sized.point.rate
    add("load of a replica", share, "request/s", "peak / replicas")
    tpot, ttft = outcome.tpot.quantile_s(0.95), outcome.ttft.quantile_s(0.95)
    add("p95 TTFT there", None if ttft is None else ttft * 1e3, "ms", "simulated")
    add("p95 TPOT there", None if tpot is None else tpot * 1e3, "ms", "simulated")
    if demand.spares:
        add("spares", demand.spares, "", "asked for")
    usd_h = candidate.cost.usd_h(1.0)
    add("a machine-hour", usd_h, "USD/h", f"{candidate.cost.source}, {candidate.cost.date}")
    add("a month", row.usd_month, "USD", f"{row.machines + demand.spares} x {usd_h:g} x {demand.hours_per_month:g} h")
    add(
        "tokens of a month", demand.tokens_month, "token",
        f"{demand.rate:g}/s x {demand.tokens_per_request:,.0f} x {demand.hours_per_month:g} h x {SECONDS_PER_HOUR}",
    )  # fmt: skip
    add("per 1M tokens", row.usd_per_1m, "USD", "the month over its tokens")
    return steps
