"""Traffic and fleets as plain JSON-able values: SI units, USD, None for no data. docs/json.md describes them."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rackrate.economics.fleet_card import CostItem, FleetCard
from rackrate.economics.fleet_day import DayPoint, busiest_day, mean_day
from rackrate.economics.fleet_types import ApiBill, FleetPricing, FleetShape, OfferUse
from rackrate.units import PER_MILLION, SECONDS_PER_HOUR
from rackrate.workload.traffic_summary import TrafficSummary, summarised

if TYPE_CHECKING:
    from rackrate.app.fleets import PricedFleet

SCHEMA_TRAFFIC = "rackrate.traffic/1"
SCHEMA_FLEET = "rackrate.fleet/2"

Json = dict[str, Any]


def traffic_view(summary: TrafficSummary) -> Json:
    """What traffic is like."""
    return {"schema": SCHEMA_TRAFFIC, **asdict(summary), "requests_per_month": summary.requests_per_month}


def fleet_view(found: PricedFleet) -> Json:
    """All shapes, best first, the days of the best, and APIs' bills. Money is USD; `currency` is for printing."""
    pricing = found.pricing
    plan = pricing.plan
    best = pricing.best
    traffic = traffic_view(summarised(pricing.traffic))
    del traffic["schema"]
    return {
        "schema": SCHEMA_FLEET,
        "models": [
            {
                "name": model.name,
                "slots": model.slots,
                "replica": {**asdict(model.replica), "caveats": list(model.replica.caveats)},
                "traffic": model.traffic.origin,
            }
            for model in pricing.models
        ],
        "traffic": traffic,
        "policy": asdict(plan.policy),
        "plan": {
            "late_limit": plan.late_limit,
            "raise_headroom": plan.raise_headroom,
            "labour_usd_month": plan.labour_usd_month,
            "hours_per_month": plan.hours_per_month,
        },
        "currency": asdict(found.currency),
        "mean_load_replicas": float(pricing.load.mean()),
        "peak_load_replicas": float(pricing.load.max()),
        "shapes": [_shape_view(shape) for shape in pricing.shapes],
        "apis": [_bill_view(bill, pricing) for bill in found.bills],
        "mean_day": [_point_view(item) for item in mean_day(pricing, best)],
        "busiest_day": None if (day := busiest_day(pricing, best)) is None else [_point_view(item) for item in day],
        "notes": [*found.notes, *pricing.traffic.notes, *pricing.notes],
    }


def _bill_view(bill: ApiBill, pricing: FleetPricing) -> Json:
    months = pricing.traffic.duration_s / SECONDS_PER_HOUR / pricing.plan.hours_per_month
    best = pricing.best
    tokens = best.card.tokens.all
    return {
        "api": bill.api.ref,
        "name": bill.api.name,
        "same_model": bill.same_model,
        "usd_month": bill.usd / months,
        "usd_per_1m": bill.usd / tokens * PER_MILLION if tokens else None,
        "over_best": bill.usd / months / best.usd_month if best.usd_month else None,
        "source": bill.api.source,
        "date": bill.api.date,
        "note": bill.api.note,
    }


def _shape_view(shape: FleetShape) -> Json:
    return {
        "kind": shape.kind,
        "name": shape.name,
        "headroom": shape.headroom,
        "usd_month": shape.usd_month,
        "usd_month_interval": list(shape.usd_month_interval) if shape.usd_month_interval else None,
        "by_month_usd": list(shape.by_month_usd),
        "card": _card_view(shape.card),
        "uses": [_use_view(use) for use in shape.uses],
        "utilisation": shape.utilisation,
        "mean_replicas": shape.mean_replicas,
        "peak_replicas": shape.peak_replicas,
        "peak_machines": shape.peak_machines,
        "models": [{**asdict(model), "usd": str(model.usd)} for model in shape.models],
        "late_requests": shape.late_requests,
        "late_share": shape.late_share,
        "longest_wait_s": shape.longest_wait_s if math.isfinite(shape.longest_wait_s) else None,
        "unserved_share": shape.unserved_share,
        "within_limit": shape.within_limit,
    }


def _use_view(use: OfferUse) -> Json:
    offer = use.offer
    return {
        "name": offer.cost.name,
        "kind": offer.cost.kind,
        "committed": offer.committed,
        "replicas_per_machine": offer.replicas,
        "fixed_usd_h": offer.cost.fixed_usd_h,
        "busy_usd_h": offer.cost.busy_usd_h,
        "parts": dict(offer.cost.parts),
        "machine_hours": use.machine_hours,
        "busy_machine_hours": use.busy_machine_hours,
        "mean_machines": use.mean_machines,
        "peak_machines": use.peak_machines,
        "usd": float(use.usd),
        "source": offer.cost.source,
        "date": offer.cost.date,
    }


def _card_view(card: FleetCard) -> Json:
    return {
        "bill_usd": str(card.bill_usd),
        "busy_usd": str(card.busy_usd),
        "idle_usd": str(card.idle_usd),
        "labour_usd": str(card.labour_usd),
        "utilisation_tax": card.utilisation_tax,
        "tokens": {**asdict(card.tokens), "all": card.tokens.all},
        "blended_usd_per_1m": card.blended_usd_per_1m,
        "marginal_usd_per_1m": card.marginal_usd_per_1m,
        "usd_per_1k_requests": card.usd_per_1k_requests,
        "input": _part_view(card.input),
        "cached": _part_view(card.cached),
        "output": _part_view(card.output),
    }


def _part_view(part: CostItem | None) -> Json | None:
    if part is None:
        return None
    return {**asdict(part), "usd": str(part.usd), "busy_usd": str(part.busy_usd)}


def _point_view(point: DayPoint) -> Json:
    return {**asdict(point), "by_offer": list(point.by_offer)}
