"""Several runs of the same workload side by side: throughput, latency, price, and the ratio to a baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rackrate.app.side_by_side import SideBySide
from rackrate.engines.quality import Quality
from rackrate.report.view import pricing_view, run_view
from rackrate.runs.records import Run
from rackrate.schemas import costs as views
from rackrate.schemas.root import made

BASELINE = "naive transformers"
"""The engine that others are set against where it is among them; otherwise the slowest is."""


@dataclass(frozen=True)
class Compared:
    """One run, by what its outputs already say of it."""

    label: str
    directory: str
    run: views.RunSummary
    pricing: views.PricingView | None
    """None where it cannot be priced."""
    quality: Quality | None = None
    """What its number format lost; None where nobody measured it."""
    other_cpu_share: float | None = None
    """The largest share of the CPUs that other processes took at any load."""
    failure: str | None = None
    """Why there is no figure, or why there are fewer than asked for."""


def comparison_view(compared: Sequence[Compared], failures: Sequence[tuple[str, str]] = ()) -> views.ComparisonView:
    """Rows and ratios.

    Args:
        compared: runs of the same workload.
        failures: engines that could not be measured at all, and why.
    """
    rows = [_row(one) for one in compared]
    served = [row for row in rows if row.output_tok_s]
    slowest = min(served, key=lambda row: row.output_tok_s or 0.0, default=None)
    baseline = next((row for row in served if row.engine == BASELINE), slowest)
    if baseline is not None and (base := baseline.output_tok_s):
        rows = [replace(row, ratio=row.output_tok_s / base) if row.output_tok_s else row for row in rows]
    return views.ComparisonView(
        workload=compared[0].run.provenance.workload if compared else None,
        machine=compared[0].run.provenance.machine.description if compared else None,
        baseline=baseline.label if baseline else None,
        rows=rows,
        failures=[views.Failure(engine, why) for engine, why in failures],
        notes=_notes(compared, rows),
    )


def _row(compared: Compared) -> views.ComparedRun:
    facts, best = compared.run.provenance, compared.run.saturation
    level = next((level for level in compared.run.levels if best and level.index == best.level), None)
    machines = compared.pricing.machines if compared.pricing else ()
    return views.ComparedRun(
        label=compared.label,
        run=compared.directory,
        created=facts.created,
        origin=facts.origin,
        engine=facts.engine.name,
        version=facts.engine.version,
        settings=facts.engine.settings,
        weight_format=facts.model.weight_format,
        concurrency=level.concurrency if level else None,
        output_tok_s=level.output_tok_s if level else None,
        output_tok_s_half_width=level.output_tok_s_half_width if level else None,
        lower_bound=best.lower_bound if best else None,
        ttft=level.ttft if level else None,
        tpot=level.tpot if level else None,
        caveats=level.caveats if level else (),
        other_cpu_share=compared.other_cpu_share,
        peak_memory_bytes=facts.engine.peak_memory_bytes,
        prices=[
            made(views.RunPrice, machine.full_load, machine.cost, machine=machine.cost.name) for machine in machines
        ],
        levels=[
            made(
                views.ComparedLevel, level, ttft_p50_s=level.ttft.p50 if level.ttft else None,
                tpot_p50_s=level.tpot.p50 if level.tpot else None,
            )
            for level in compared.run.levels
            if level.kind == "closed"
        ],
        quality=compared.quality,
        failure=compared.failure,
        ratio=None,
    )  # fmt: skip


def _notes(compared: Sequence[Compared], rows: Sequence[views.ComparedRun]) -> list[str]:
    notes: list[str] = []
    facts = [one.run.provenance for one in compared]
    works = {(one.workload.input_tokens, one.workload.output_tokens, one.workload.endpoint) for one in facts}
    if len(works) > 1:
        notes.append(f"The runs had different workloads, so their ratios mean little: {sorted(works, key=_in_order)}.")
    machines = {one.machine.description for one in facts}
    if len(machines) > 1:
        notes.append(f"The runs were on different machines: {'; '.join(sorted(machines))}.")
    if len({row.weight_format for row in rows if row.weight_format}) > 1:
        notes.append("Number formats differ by row: a cheaper format may answer worse, which `quality` measures.")
    if len({one.model.catalogue_id for one in facts}) > 1:
        notes.append("The rows are different models.")
    return notes


def _other_share(run: Run) -> float | None:
    """The largest share of the CPUs that other processes took at any load."""
    shares = (level.other_cpu_share for level in run.header.levels)
    return max((share for share in shares if share is not None), default=None)


def _in_order(work: tuple[int | None, int | None, str | None]) -> tuple[int, int, str]:
    return work[0] or 0, work[1] or 0, work[2] or ""


def side_by_side_view(answer: SideBySide) -> views.ComparisonView:
    """The view of runs that were set side by side."""
    rows = [
        Compared(
            run.label,
            str(run.directory),
            run_view(run.loaded.run, run.loaded.levels, run.loaded.best),
            pricing_view(run.pricing) if run.pricing is not None else None,
            run.quality,
            _other_share(run.loaded.run),
            run.failure,
        )
        for run in answer.runs
    ]
    return comparison_view(rows, answer.failures)
