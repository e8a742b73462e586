"""rackrate quality: what a cheaper number format lost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rackrate.app.side_by_side import QUALITY_FILE
from rackrate.cli import options as given

if TYPE_CHECKING:
    from rackrate.engines.quality import Quality

SCHEMA = "rackrate.quality/1"


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
    as_json: given.AsJson = False,
) -> None:
    """Measure what a number format lost: perplexity on a text, and greedy agreement over 50 prompts.

    Weights are dequantised exactly and computed in float32 with transformers, so that only the format differs.
    """
    from rackrate.cli.output import print_json, show, to_json, write_text
    from rackrate.cli.progress import waiting
    from rackrate.engines.quality import measure_quality
    from rackrate.errors import EngineError
    from rackrate.runs.store import HEADER

    names = [name for name in dict.fromkeys(models) if name != reference]
    if not names:
        raise EngineError("name a model other than the reference, such as smollm2-135m-instruct:Q4_0")
    if run is not None and (len(names) != 1 or not (run / HEADER).exists()):
        raise EngineError(f"--run takes a run directory and goes with one model; {run} is none, or there are several")
    paths = {name: _path(name) for name in (reference, *names)}
    with waiting(f"computing {len(paths)} models, some minutes each on a CPU") as tick:
        found = measure_quality(paths, reference, lambda _: tick(0))
    view = _view(found, reference)
    if run is not None:
        write_text(run / QUALITY_FILE, to_json(view) + "\n")
    if as_json:
        print_json(view)
    else:
        show(_table(view))


def _path(name: str) -> Path:
    from rackrate.cli.output import say
    from rackrate.engines.weights import find_weights

    path = Path(name).expanduser()
    return path if path.is_dir() else find_weights(name, say, install=False).path


def _view(found: list[Quality], reference: str) -> dict[str, Any]:
    from dataclasses import asdict
    from datetime import UTC, datetime

    return {
        "schema": SCHEMA,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "reference": reference,
        "models": [asdict(match) for match in found],
    }


def _table(view: dict[str, Any]) -> Any:
    from rich.console import Group
    from rich.text import Text

    from rackrate.report.format import NONE, percent
    from rackrate.report.tables import plain_table

    table = plain_table("model", "perplexity", "x reference", "95 %", "same token", "same answers", left=["model"])
    for model in view["models"]:
        low_high = model["ratio_interval"]
        table.add_row(
            model["model"],
            f"{model['perplexity']:.2f}",
            f"{model['ratio']:.4f}" if model["ratio"] else "reference",
            f"{low_high[0]:.4f} to {low_high[1]:.4f}" if low_high else NONE,
            percent(model["agreement"]) if model["agreement"] is not None else NONE,
            f"{model['same_answers']} of {model['answers']}" if model["answers"] else NONE,
        )
    tokens = view["models"][0]["tokens"]
    words = (
        f"Perplexity on {tokens} tokens of public-domain prose (lower is better). Same token: of the reference's "
        "greedy answers to 50 prompts, the share of tokens that the other would have chosen after the same words. "
        "Weights dequantised, computed in float32: an engine's own arithmetic comes on top."
    )
    return Group(table, Text(words, style="dim"))
