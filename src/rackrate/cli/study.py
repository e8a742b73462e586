"""rackrate study: scenarios compared with their uncertainty, published claims checked."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rackrate.cli import options as given

if TYPE_CHECKING:
    from rackrate.app.context import Context
    from rackrate.app.studying import StudyRequest

_ACTIONS = ("run", "new", "diff", "validate")


def study(
    action: Annotated[str, typer.Argument(metavar="run|new|diff|validate", help="What to do.", show_default=False)],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A study, as YAML.", show_default=False)],
    as_of: Annotated[
        str | None,
        typer.Option(
            "--as-of", help="List prices of this date, YYYY-MM-DD.", show_default="run: the study's; diff: today"
        ),
    ] = None,
    out: given.Out = None,
    inputs: Annotated[bool, typer.Option("--inputs", help="Also print every input with its source.")] = False,
    draws: Annotated[
        int | None, typer.Option("--draws", help="Draws for the intervals.", show_default="the study's")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of the draws.", show_default="the study's")] = None,
    as_json: given.AsJson = False,
) -> None:
    """Evaluate a study: claims get verdicts, questions a ranking with 80 % intervals.

    run evaluates FILE; new writes a commented template to FILE; diff evaluates FILE at its own date's prices and at
    today's (or --as-of) and says which verdicts flipped; validate looks for mistakes only.
    """
    from rackrate.app.studying import StudyRequest
    from rackrate.cli.context import shell_context
    from rackrate.errors import UserError, did_you_mean

    if action not in _ACTIONS:
        raise UserError(f"`rackrate study {action}` is not a command{did_you_mean(action, _ACTIONS)}")
    if out is not None and action != "run":
        raise UserError(f"-o goes with `rackrate study run`, not with {action}")
    if as_json and action in {"new", "validate"}:
        raise UserError(f"--json goes with `rackrate study run` and diff, not with {action}")
    request = StudyRequest(file, as_of, draws, seed)
    if action == "new":
        _new(file)
    elif action == "validate":
        _validate(file)
    elif action == "diff":
        _diff(request, shell_context(), as_json=as_json)
    else:
        _run(request, shell_context(), out, inputs=inputs, as_json=as_json)


def _run(request: StudyRequest, context: Context, out: Path | None, *, inputs: bool, as_json: bool) -> None:
    from rackrate.app.studying import evaluate
    from rackrate.cli.output import deliver

    deliver(evaluate(request, context), as_json=as_json, out=out, inputs=inputs)


def _diff(request: StudyRequest, context: Context, *, as_json: bool) -> None:
    from rackrate.app.studying import compare_dates
    from rackrate.cli.output import deliver

    deliver(compare_dates(request, context), as_json=as_json)


def _validate(file: Path) -> None:
    from rackrate.app.studying import validate
    from rackrate.cli.output import say, show

    loaded = validate(file)
    for warning in loaded.warnings:
        say(f"warning: {warning}")
    study = loaded.study
    show(
        f"{file}: {len(study.inputs)} inputs, {len(study.claims)} claims, {len(study.scenarios)} scenarios, "
        f"{len(study.questions)} questions; no mistake found"
    )


def _new(file: Path) -> None:
    from rackrate.app.studying import template
    from rackrate.cli.output import show, write_new

    write_new(file, template(file.stem), "file")
    show(f"wrote {file}; edit it, then: rackrate study run {shlex.quote(str(file))}")
