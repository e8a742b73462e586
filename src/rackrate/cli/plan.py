"""rackrate plan: which hardware, how many, at what price, before a dollar is spent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rackrate.cli import load_shape as shape
from rackrate.cli import options as given

if TYPE_CHECKING:
    from rackrate.catalog.apis import ApiPrice
    from rackrate.catalog.load import Catalog
    from rackrate.economics.hourly import PriceKind
    from rackrate.models.read_model import ReadModel
    from rackrate.planner.plan import Demand, Plan

DEFAULT_SLO = "p95 ttft < 2s, p95 tpot < 100ms"


def plan(
    model: given.ModelSource,
    traffic: Annotated[
        str,
        typer.Option("--traffic", help="Requests: 20/s, 2M/day, or a file (a trace, rates over time, a usage export)."),
    ],
    slo: Annotated[str, typer.Option("--slo", help="Objectives that each replica must meet.")] = DEFAULT_SLO,
    input_tokens: shape.InputTokens = None,
    output_tokens: shape.OutputTokens = None,
    arrivals: Annotated[
        str | None,
        typer.Option(
            "--arrivals",
            help="poisson, constant, gamma:CV for bursts, or trace for the recorded pattern; at the rate of --traffic.",
            show_default="poisson",
        ),
    ] = None,
    trace: Annotated[
        Path | None, typer.Option("--trace", help="Lengths from recorded requests.", show_default=False)
    ] = None,
    longest: shape.Longest = None,
    cached_share: Annotated[
        str | None,
        typer.Option(
            "--cached-share",
            help="Share of each prompt that the prefix cache has; trace: what an unlimited one would have of a trace "
            "with block hashes or prefixes.",
            show_default="0, or what the file records",
        ),
    ] = None,
    peak: Annotated[
        float | None,
        typer.Option("--peak", help="Peak over mean rate: the fleet is sized for it.", show_default="1, or the file's"),
    ] = None,
    offer: given.Offers = None,
    price_kind: Annotated[
        str, typer.Option("--price-kind", help="on-demand, spot, reserved-1y, reserved-3y; several with commas.")
    ] = "on-demand",
    engine: Annotated[
        str | None,
        typer.Option(
            "--engine",
            help="vllm, sglang, tensorrt-llm, llamacpp; several with commas.",
            show_default="llamacpp for GGUF, else vllm",
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option("--weights", help="Formats, with commas.", show_default="as published, fp8 and awq"),
    ] = None,
    spares: Annotated[int, typer.Option("--spares", help="Machines beyond those that the load needs.")] = 0,
    api: given.Apis = None,
    anchor: Annotated[
        str | None,
        typer.Option(
            "--anchor",
            metavar="ACCELERATOR[xN]:IN:OUT:CONCURRENCY:TOK_S[:WEIGHTS]",
            help="One measured point of your box (output tokens/s of a closed loop, of the first --engine), such as "
            "l4:512:256:32:410 or l4x2:512:256:32:700:awq; corrects every deployment on that accelerator and engine.",
            show_default=False,
        ),
    ] = None,
    calibrated: given.Calibrated = None,
    rows: Annotated[int, typer.Option("--rows", help="Offers to price exactly.")] = 12,
    explain: Annotated[
        str | None,
        typer.Option("--explain", metavar="OFFER", help="One row from FLOPs to dollars.", show_default=False),
    ] = None,
    requests: Annotated[int, typer.Option("--requests", help="Requests of a simulation.")] = 10_000,
    hours_per_month: given.HoursPerMonth = 730.0,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    prune: Annotated[
        bool, typer.Option("--prune/--no-prune", help="Rule candidates out by bounds; the winner is the same without.")
    ] = True,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write an HTML page here.", show_default=False)
    ] = None,
    as_json: given.AsJson = False,
) -> None:
    """Rank every way to serve a model by what it costs at your traffic and SLO, APIs in the same table.

    Offers x tensor parallelism x number formats x engines, predicted and simulated; what does not fit, misses the SLO
    or is dearer is said. docs/plan.md says how, and how good the predictions are: docs/validation.md.
    """
    import time

    from rackrate.app.pricing import PRICE_KINDS
    from rackrate.catalog.apis import DEFAULT_APIS
    from rackrate.catalog.load import load_catalog
    from rackrate.cli.output import print_json, refuse_other_than_html, say, write_text
    from rackrate.cli.output import show as print_result
    from rackrate.cli.planned_correction import by_anchor, by_calibration
    from rackrate.cli.planned_demand import DemandRequest, demand_of
    from rackrate.errors import UserError
    from rackrate.memory.engine_memory import engine_memory
    from rackrate.models.formats import weight_format
    from rackrate.models.read_model import read_model
    from rackrate.planner.explain import explained
    from rackrate.planner.plan import largest
    from rackrate.planner.plan import plan as make_plan
    from rackrate.planner.view import plan_view
    from rackrate.simulate.compiled import first_use

    refuse_other_than_html(out)
    for name, value, least in (("--rows", rows, 1), ("--requests", requests, 20), ("--spares", spares, 0)):
        if value < least:
            raise UserError(f"{name} must be at least {least}, got {value}")
    if not 0 < hours_per_month <= 744:
        raise UserError(f"--hours-per-month must be above 0 and at most 744, got {hours_per_month:g}")
    kinds: list[PriceKind] = []
    for item in price_kind.split(","):
        if item.strip() not in PRICE_KINDS:
            raise UserError(f"--price-kind is one of {', '.join(PRICE_KINDS)}, not {item.strip()!r}")
        kinds.append(item.strip())  # pyright: ignore[reportArgumentType]
    catalog = load_catalog()
    read = read_model(model, catalog, weights_stated=weights is not None)
    for note in read.reading_notes:
        say(f"note: {note}")
    engines = [item.strip() for item in (engine or ("llamacpp" if read.is_gguf else "vllm")).split(",")]
    for item in engines:
        engine_memory(item)  # says now if it is unknown
    formats = [weight_format(item.strip()).name for item in weights.split(",")] if weights else []
    demand = demand_of(
        read,
        DemandRequest(
            traffic, slo, input_tokens, output_tokens, trace, longest, arrivals, cached_share, peak, requests,
            hours_per_month, spares, seed,
        ),
    )  # fmt: skip
    chosen = list(offer or ())
    if explain is not None:
        catalog.offer(explain)  # says now if there is none
        if chosen and explain not in chosen:
            chosen.append(explain)
    apis = _apis(read, api, catalog, demand, DEFAULT_APIS)
    if (first := first_use()) is not None:
        say(first)
    began = time.monotonic()
    last = began

    def on_progress(done: int, of: int) -> None:
        nonlocal last
        if done and time.monotonic() - last > 2.0:
            last = time.monotonic()
            say(f"{done} of {of} candidates")

    if anchor is not None and calibrated is not None:
        raise UserError("--anchor and --calibration both correct a box by what was measured on it: give one of them")
    correct = corrected = None
    if anchor is not None:
        correct, corrected = by_anchor(anchor, catalog, read, engines[0])
    if calibrated is not None:
        correct, corrected = by_calibration(calibrated)

    def planned(among: list[str]) -> Plan:
        return make_plan(
            demand, catalog, apis, kinds=kinds, engines=engines, weights=formats, offers=among, rows=rows, prune=prune,
            correct=correct, on_progress=on_progress,
        )  # fmt: skip

    found = planned(chosen)
    row = found.rows[0] if found.rows else None
    if explain is not None:
        row = next((row for row in found.rows if row.candidate.offer.id == catalog.offer(explain).id), None)
        if row is None:
            alone = planned([explain])
            row = alone.rows[0] if alone.rows else None
            if row is None:
                entry = largest(alone.lost)
                why = (
                    f"{entry.candidate.kind.split} {entry.reason}: {entry.detail}" if entry else "it has no such price"
                )
                raise UserError(f"--explain {explain}: {why}")
    view = plan_view(found)
    view["corrected"] = corrected
    explanation = explained(row, demand) if row is not None else []
    if explain is not None:
        view["explained"] = {"offer": explain, "steps": explanation}
    if out is not None:
        from rackrate.report.plan_html import plan_report

        write_text(out, plan_report(view, explanation))
        say(f"wrote {out}")
    if as_json:
        print_json(view)
    else:
        from rackrate.report.plan_terminal import explanation_table, plan_tables

        print_result(plan_tables(view))
        if explain is not None and row is not None:
            print_result("")
            print_result(explanation_table(row.candidate.name, explanation))
    nearest = largest(found.lost)
    if not found.rows and set(found.reasons) == {"does not fit"}:
        raise UserError(
            f"{demand.name} fits none of the {found.candidates} candidates: {nearest.detail if nearest else ''}. "
            f"Choose other --weights or offers, or shorter requests; `rackrate fit {model}` says what holds it"
        )
    if not found.rows:
        raise UserError(
            f"no offer meets {demand.slo}" + (f"; nearest is {found.closest}" if found.closest else "")
            + ". Loosen --slo, shorten the requests, or choose other --weights"
        )  # fmt: skip


def _apis(
    read: ReadModel, names: list[str] | None, catalog: Catalog, demand: Demand, default: tuple[str, ...]
) -> list[tuple[ApiPrice, bool]]:
    """Sellers of the same model, then those that the user names (or two well-known ones)."""
    from rackrate.catalog.apis import api_price, apis_of_model

    same = apis_of_model(read.listed, catalog) if read.listed is not None else []
    refs = {seller.ref for seller in same}
    mean = int(demand.mean.inputs)
    others = [api_price(name, catalog, input_tokens=mean) for name in names or default]
    return [*((seller, True) for seller in same), *((other, False) for other in others if other.ref not in refs)]
