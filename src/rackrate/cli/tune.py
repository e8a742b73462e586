"""rackrate tune: the settings of an engine that make a token cheapest here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rackrate.cli import options as given

if TYPE_CHECKING:
    from rackrate.app.tuning import TuneRequest


def tune(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="An embedded model, a GGUF file, or a directory of safetensors.")
    ] = "smollm2-135m-instruct",
    engine: Annotated[str, typer.Option("--engine", help="llamacpp, vllm, transformers or sglang.")] = "llamacpp",
    minutes: Annotated[float, typer.Option("--minutes", help="How long it may take in all.")] = 30.0,
    slo: Annotated[
        str | None,
        typer.Option("--slo", help='Only loads within it count: "p95 ttft < 1s".', show_default=False),
    ] = None,
    concurrency: Annotated[
        str, typer.Option("--concurrency", "-c", help="Loads that each trial is measured at; the best one counts.")
    ] = "16",
    input_tokens: Annotated[int, typer.Option("--input-tokens", help="Input tokens per request.")] = 128,
    output_tokens: Annotated[int, typer.Option("--output-tokens", help="Output tokens per request.")] = 128,
    seconds: Annotated[float, typer.Option("--seconds", help="Of each load of a trial.")] = 15.0,
    only: Annotated[
        str | None, typer.Option("--only", help="Tune these alone, such as weights,threads.", show_default="all")
    ] = None,
    offer: given.Offers = None,
    own: given.Own = None,
    usd_per_hour: given.UsdPerHour = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the search.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Where trials go; an earlier search there goes on.",
            show_default="runs/tune-ENGINE",
            callback=given.new_directory,
        ),
    ] = None,
    report: given.Page = None,
    as_json: given.AsJson = False,
) -> None:
    """Search the settings of an engine for the lowest USD per 1M tokens on this machine.

    The defaults are measured first, then hunches, then what Optuna proposes. With a third of the time left, the winner
    and the defaults are measured in turn, and the winner without each of its settings: a search that did not beat the
    defaults says so. Ctrl-C reports what is known; the same command goes on from there. The machine should do nothing
    else meanwhile.
    """
    from rackrate.app.tuning import TuneRequest
    from rackrate.app.tuning import tune as search
    from rackrate.cli.context import shell_context
    from rackrate.cli.lists import whole_numbers
    from rackrate.cli.output import deliver

    request = TuneRequest(
        model=model, engine=engine, minutes=minutes, slo=slo, levels=whole_numbers(concurrency, "--concurrency"),
        input_tokens=input_tokens, output_tokens=output_tokens, seconds=seconds,
        only=tuple(name.strip() for name in only.split(",")) if only else (), offers=tuple(offer or ()),
        rigs=tuple(own or ()), usd_per_hour=usd_per_hour, seed=seed, out=out,
    )  # fmt: skip
    answer = search(request, shell_context())
    deliver(answer, as_json=as_json, out=report)
    if not as_json and answer.changed:
        _next(answer.changed, request)


def _next(changed: dict[str, Any], request: TuneRequest) -> None:
    """Says what to do with what was found."""
    from rackrate.cli.output import say
    from rackrate.engines.knobs import AS_THEY_ARE, WEIGHTS
    from rackrate.tuning.space import assignments

    weights = changed.get(WEIGHTS, AS_THEY_ARE)
    model = request.model if weights == AS_THEY_ARE else f"{request.model}:{weights}"
    sets = " ".join(f"--set {assignment}" for assignment in assignments(changed))
    say(f"\nServe with it: rackrate serve {model} --engine {request.engine} {sets}".rstrip())
    if weights != AS_THEY_ARE:
        say(f"What the number format lost: rackrate quality {model} --reference {request.model}")
    say(f"The trials are in {request.directory}; the same command goes on from there.")
