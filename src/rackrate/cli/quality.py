"""rackrate quality: what a cheaper number format lost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rackrate.cli import options as given


def quality(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...", help="Formats to judge, such as smollm2-135m-instruct:Q4_0.", show_default=False
        ),
    ],
    reference: Annotated[
        str, typer.Option("--reference", help="What they are set against: the same model, as published.")
    ] = "smollm2-135m-instruct",
    run: Annotated[
        Path | None,
        typer.Option("--run", help="Also keep the result with this run of the (one) model.", show_default=False),
    ] = None,
    out: given.Out = None,
    as_json: given.AsJson = False,
) -> None:
    """Measure what a number format lost: perplexity on a text, and greedy agreement over 50 prompts.

    Weights are dequantised exactly and computed in float32 with transformers, so that only the format differs.
    """
    from rackrate.app.quality import QualityRequest, measure_formats
    from rackrate.cli.output import deliver
    from rackrate.cli.waiting import spinning

    with spinning() as context:
        answer = measure_formats(QualityRequest(tuple(models), reference, run), context)
    deliver(answer, as_json=as_json, out=out)
