"""Runs and prices as what every output shows of them: SI units, USD, None for no data. docs/json.md describes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rackrate.app.measuring.measurement import Measured
from rackrate.app.pricing import PricedRun
from rackrate.app.runs import LoadedRun, summarised
from rackrate.economics.hardware import describe
from rackrate.economics.pricing import Comparison, Priced, Pricing
from rackrate.economics.ratecard import RateCard
from rackrate.metrics.saturation import Saturation
from rackrate.metrics.summary import CAVEATS, DEFINITIONS, LevelSummary
from rackrate.report.api_view import api_facts
from rackrate.runs.records import Run
from rackrate.runs.statuses import FAULTS
from rackrate.schemas import costs as views
from rackrate.schemas.root import made


def run_view(run: Run, levels: Sequence[LevelSummary], best: Saturation | None) -> views.RunSummary:
    """A run's provenance and the metrics of its levels."""
    header = run.header
    machine = views.DescribedMachine(**header.machine.model_dump(), description=describe(header.machine))
    failed = sum((Counter(level.failed) for level in levels), Counter[str]())
    return made(
        views.RunSummary,
        header,
        provenance=made(
            views.RunProvenance, header, origin=header.mode, rackrate=header.rackrate_version,
            python=header.python_version, machine=machine,
        ),
        requests=views.RequestCounts(sum(level.requests for level in levels), dict(failed), run.torn_lines),
        levels=[made(views.LevelView, level) for level in levels],
        saturation=None
        if best is None
        else made(
            views.SaturationView, best, level=best.level.index, concurrency=best.level.concurrency,
            output_tok_s=best.level.output_tok_s,
        ),
        definitions={
            **DEFINITIONS,
            **{name: CAVEATS[name] for level in levels for name in (*level.caveats, *level.unknown)},
        },
        faults={name: FAULTS.get(name, "") for level in levels for name in level.failed},
    )  # fmt: skip


def loaded_view(answer: LoadedRun) -> views.RunSummary:
    """A run that was read back."""
    return run_view(answer.run, answer.levels, answer.best)


def measured_view(answer: Measured) -> views.RunSummary:
    """A run as it was kept."""
    return loaded_view(summarised(answer.run))


def priced_run_view(answer: PricedRun) -> views.PricedRunView:
    """A run and its price."""
    return views.PricedRunView(run_view(answer.run, answer.levels, answer.best), pricing_view(answer.pricing))


def pricing_view(pricing: Pricing) -> views.PricingView:
    """What is served, and a rate card, break-evens and provenance per machine."""
    machines = [_priced_view(priced) for priced in pricing.machines]
    return made(views.PricingView, pricing, serving=made(views.ServingView, pricing.serving), machines=machines)


def _priced_view(priced: Priced) -> views.PricedMachine:
    return made(
        views.PricedMachine,
        priced,
        full_load=_card_view(priced.full),
        at_load=_card_view(priced.at_load) if priced.at_load else None,
        by_utilisation=[_card_view(card) for card in priced.by_utilisation],
        apis=[_api_view(comparison) for comparison in priced.comparisons],
    )


def _card_view(card: RateCard) -> views.Card:
    return made(views.Card, card)


def _api_view(comparison: Comparison) -> views.ApiView:
    api = comparison.api
    return made(views.ApiView, comparison, api, blended_usd_per_1m=comparison.blended_usd, **api_facts(api))
