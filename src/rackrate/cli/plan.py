"""rackrate plan: which hardware, how many, at what price, before a dollar is spent."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rackrate.app.plan_request import DEFAULT_SLO
from rackrate.cli import load_options as shape
from rackrate.cli import options as given
from rackrate.cli.lists import split


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
            help="One measured point of your machine (output tokens/s of a closed loop, of the first --engine), such "
            "as l4:512:256:32:410 or l4x2:512:256:32:700:awq; corrects the deployments on that accelerator and engine.",
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
    out: given.Out = None,
    as_json: given.AsJson = False,
) -> None:
    """Rank every way to serve a model by what it costs at your traffic and SLO, APIs in the same table.

    Offers x tensor parallelism x number formats x engines, predicted and simulated; what does not fit, misses the SLO
    or is dearer is said. docs/plan.md says how, and how good the predictions are: docs/validation.md.
    """
    from rackrate.app.plan_request import PlanRequest
    from rackrate.app.planning import plan as planned
    from rackrate.cli.context import Paced, shell_context
    from rackrate.cli.output import deliver

    request = PlanRequest(
        model=model, traffic=traffic, slo=slo, input_tokens=input_tokens, output_tokens=output_tokens,
        arrivals=arrivals, trace=trace, longest=longest, cached_share=cached_share, peak=peak,
        offers=tuple(offer or ()), price_kinds=split(price_kind), engines=split(engine), weights=split(weights),
        spares=spares, apis=tuple(api or ()), anchor=anchor, calibration=calibrated, rows=rows, explain=explain,
        requests=requests, hours_per_month=hours_per_month, seed=seed, prune=prune,
    )  # fmt: skip
    found = planned(request, shell_context(Paced(timed=False)))
    deliver(found, as_json=as_json, out=out, explanation=found.explanation)
    if (refusal := found.refusal) is not None:
        raise refusal
