"""rackrate simulate: a run of a deployment that need not exist."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rackrate.cli import load_options as shape
from rackrate.cli import options as given

if TYPE_CHECKING:
    from rackrate.app.simulating import SimulateRequest


def simulate(
    model: given.ModelSource,
    on: Annotated[
        str | None,
        typer.Option(
            "--on",
            metavar="ACCELERATOR[xN]",
            help="Where: t4x4, or an offer such as aws/g4dn.12xlarge.",
            show_default="the machine of --calibration",
        ),
    ] = None,
    calibrated: given.Calibrated = None,
    engine: Annotated[
        str | None,
        typer.Option(
            "--engine",
            help="vllm, sglang, tensorrt-llm, llamacpp: whose step times, limits and scheduling.",
            show_default="llamacpp for GGUF, else vllm",
        ),
    ] = None,
    weights: Annotated[
        str | None, typer.Option("--weights", help="bf16, fp8, awq, ...", show_default="as published")
    ] = None,
    tp: Annotated[
        int | None,
        typer.Option("--tp", help="Accelerators of one replica.", show_default="as few as hold the model"),
    ] = None,
    replicas: Annotated[
        int | None, typer.Option("--replicas", help="Behind the router.", show_default="as many as the machine holds")
    ] = None,
    router: Annotated[
        str, typer.Option("--router", help="round-robin, least-loaded or prefix-affine.")
    ] = "round-robin",
    autoscale: Annotated[
        str | None,
        typer.Option(
            "--autoscale", metavar="LEAST:MOST:IN_FLIGHT", help="Replicas that follow the load, such as 1:8:32."
        ),
    ] = None,
    cold_start: Annotated[float, typer.Option("--cold-start", help="Seconds until a new replica serves.")] = 60.0,
    rate: Annotated[
        str | None, typer.Option("--rate", help="Open loop: requests per second, such as 5,10,20.", show_default=False)
    ] = None,
    concurrency: Annotated[
        str | None,
        typer.Option(
            "--concurrency", "-c", help="Closed loop: in flight, such as 1,8,64.", show_default="1, 2, 4, ..."
        ),
    ] = None,
    slo: Annotated[
        str | None,
        typer.Option(
            "--slo", help="Objectives; without loads, search for the capacity within them.", show_default=False
        ),
    ] = None,
    input_tokens: shape.InputTokens = None,
    output_tokens: shape.OutputTokens = None,
    arrivals: shape.Arrivals = None,
    trace: shape.TraceFile = None,
    longest: shape.Longest = None,
    cached_share: Annotated[
        float, typer.Option("--cached-share", help="Share of each prompt that the prefix cache has.")
    ] = 0.0,
    prefix_cache: Annotated[
        bool, typer.Option("--prefix-cache/--no-prefix-cache", help="Follow the prefix blocks that a trace records.")
    ] = True,
    requests: Annotated[
        int | None,
        typer.Option(
            "--requests",
            help="Requests of a level.",
            show_default="1,000, or 12 x in flight; 10,000 in a search; with --aggregates 1,000,000",
        ),
    ] = None,
    aggregates: Annotated[
        bool,
        typer.Option(
            "--aggregates",
            help="Keep no request, only sums and quantiles: open loops of any length in bounded memory, such as "
            "--requests 100000000.",
        ),
    ] = False,
    max_num_seqs: Annotated[int | None, typer.Option("--max-num-seqs", show_default="the engine's")] = None,
    max_num_batched_tokens: Annotated[
        int | None, typer.Option("--max-num-batched-tokens", show_default="the engine's")
    ] = None,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Write a run directory here.", show_default=False, callback=given.new_directory
        ),
    ] = None,
    as_json: given.AsJson = False,
) -> None:
    """Simulate a load on a deployment that need not exist: a run like a measured one, for show, price and report.

    Step times are predicted (docs/predict.md); batching, queues, memory and replicas are simulated step by step
    (docs/simulate.md).
    """
    from rackrate.app.simulating import SimulateRequest
    from rackrate.cli.lists import numbers, whole_numbers

    request = SimulateRequest(
        model=model, on=on, calibration=calibrated, engine=engine, weights=weights, tp=tp, replicas=replicas,
        router=router, autoscale=autoscale, cold_start=cold_start, rates=numbers(rate, "--rate"),
        levels=whole_numbers(concurrency, "--concurrency"), slo=slo, input_tokens=input_tokens,
        output_tokens=output_tokens, arrivals=arrivals, trace=trace, longest=longest, cached_share=cached_share,
        prefix_cache=prefix_cache, requests=requests, max_num_seqs=max_num_seqs,
        max_num_batched_tokens=max_num_batched_tokens, seed=seed,
    )  # fmt: skip
    if aggregates:
        _aggregates(request, out, as_json=as_json)
    else:
        _run(request, out, as_json=as_json)


def _run(request: SimulateRequest, out: Path | None, *, as_json: bool) -> None:
    from rackrate.app.simulating import simulate as simulated
    from rackrate.cli.context import shell_context
    from rackrate.cli.output import deliver, say, show
    from rackrate.runs.store import write_run

    found = simulated(request, shell_context())
    if out is not None:
        write_run(out, found.run)
        say(f"wrote {out}")
    deliver(found, as_json=as_json)
    for note in () if as_json else found.notes:
        show(note)


def _aggregates(request: SimulateRequest, out: Path | None, *, as_json: bool) -> None:
    from rackrate.app.simulating import simulate_aggregates
    from rackrate.cli.context import Paced, shell_context
    from rackrate.cli.output import deliver, show
    from rackrate.errors import UserError

    if out is not None:
        raise UserError("--aggregates keeps no request, and a run is its requests: leave out --out, or --aggregates")
    found = simulate_aggregates(request, shell_context(Paced()))
    deliver(found, as_json=as_json)
    if not as_json:
        show(found.note)
