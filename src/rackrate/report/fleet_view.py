"""Fleets as what their outputs are made of: SI units, USD, None for no data. docs/json.md describes them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rackrate.economics.fleet_card import FleetCard
from rackrate.economics.fleet_day import busiest_day, mean_day
from rackrate.economics.fleet_types import ApiBill, FleetPricing, FleetShape, OfferUse
from rackrate.report.api_view import api_facts
from rackrate.schemas import costs as views
from rackrate.schemas.root import made
from rackrate.units import PER_MILLION, SECONDS_PER_HOUR
from rackrate.workload.traffic_summary import summarised

if TYPE_CHECKING:
    from rackrate.app.fleets import PricedFleet


def fleet_view(found: PricedFleet) -> views.FleetView:
    """All shapes, best first, the days of the best, and APIs' bills. Money is USD; `currency` is for printing."""
    pricing = found.pricing
    best = pricing.best
    return made(
        views.FleetView,
        found,
        models=[made(views.ServedByFleet, model, traffic=model.traffic.origin) for model in pricing.models],
        traffic=made(views.FleetTraffic, summarised(pricing.traffic)),
        policy=pricing.plan.policy,
        plan=made(views.FleetQuestion, pricing.plan),
        mean_load_replicas=float(pricing.load.mean()),
        peak_load_replicas=float(pricing.load.max()),
        shapes=[_shape_view(shape) for shape in pricing.shapes],
        apis=[_bill_view(bill, pricing) for bill in found.bills],
        mean_day=mean_day(pricing, best),
        busiest_day=busiest_day(pricing, best),
        notes=[*found.notes, *pricing.traffic.notes, *pricing.notes],
    )


def _bill_view(bill: ApiBill, pricing: FleetPricing) -> views.FleetApi:
    months = pricing.traffic.duration_s / SECONDS_PER_HOUR / pricing.plan.hours_per_month
    best = pricing.best
    tokens = best.card.tokens.all
    return made(
        views.FleetApi,
        bill,
        bill.api,
        **api_facts(bill.api),
        usd_month=bill.usd / months,
        usd_per_1m=bill.usd / tokens * PER_MILLION if tokens else None,
        over_best=bill.usd / months / best.usd_month if best.usd_month else None,
    )


def _shape_view(shape: FleetShape) -> views.ShapeView:
    return made(
        views.ShapeView,
        shape,
        card=_card_view(shape.card),
        uses=[_use_view(use) for use in shape.uses],
        longest_wait_s=shape.longest_wait_s if math.isfinite(shape.longest_wait_s) else None,
    )


def _use_view(use: OfferUse) -> views.OfferUseView:
    offer = use.offer
    return made(
        views.OfferUseView, use, offer.cost, committed=offer.committed, replicas_per_machine=offer.replicas,
        usd=float(use.usd),
    )  # fmt: skip


def _card_view(card: FleetCard) -> views.FleetCardView:
    return made(views.FleetCardView, card, tokens=made(views.TokensServed, card.tokens))
