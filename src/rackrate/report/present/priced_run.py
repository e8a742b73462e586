"""`rackrate report`: a run and its price in one document."""

from __future__ import annotations

from rackrate.report.document import Column, Document, Note, Section, Table, notes
from rackrate.report.format import workload_text
from rackrate.report.present import price, run
from rackrate.schemas import costs as views
from rackrate.units import usd_per_million


def document(view: views.PricedRunView, *, full: bool = True) -> Document:
    """The price first, then every load that was measured."""
    measured, pricing = view.run, view.pricing
    facts = measured.provenance
    version = f" ({facts.engine.version})" if facts.engine.version else ""
    lead = [
        Note(
            f"{pricing.serving.origin}. {facts.engine.name}{version} on {facts.machine.description}; "
            f"{workload_text(facts.workload)} per request.",
            "soft",
        )
    ]
    if measured.state != "complete":
        why = f" ({measured.stopped_because})" if measured.stopped_because else ""
        lead.append(Note(f"The run is {measured.state}{why}: only what was measured until then is shown.", "warn"))
    return Document(
        subject="report",
        headline=f"What a million tokens of {pricing.model} costs",
        lead=tuple(lead),
        facts=tuple(price.facts(pricing)),
        sections=(
            Section(blocks=(price.cost_chart(pricing), *run.run_charts(measured))),
            *price.machine_sections(pricing, full=full, sources=False, all_apis=True),
            Section("Every load that was measured", (run.levels_table(measured, full=full),)),
            Section("Notes" if pricing.notes else "", notes(pricing.notes)),
        ),
        definitions=(*measured.definitions.items(), *price.DEFINITIONS),
        provenance=run.provenance(measured),
        records=_records(measured, pricing),
    )


def _records(measured: views.RunSummary, pricing: views.PricingView) -> Table:
    """A row per load and machine, with what a million tokens costs there."""
    rows = tuple(
        (
            pricing.model,
            *run.record(level),
            machine.cost.name,
            usd_h := machine.cost.fixed_usd_h + machine.cost.busy_usd_h,
            usd_per_million(usd_h, tok_s)
            if (tok_s := (level.output_tok_s or 0.0) + (level.input_tok_s or 0.0))
            else None,
        )
        for level in measured.levels
        for machine in pricing.machines
    )
    names = ("model", *run.record_names(), "machine", "usd_h", "usd_per_1m_tokens")
    return Table(tuple(map(Column, names)), rows)
