"""How commands print: results on standard output, progress on standard error, JSON on request."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import typer

from rackrate.bounds import shown
from rackrate.cli.streams import json_for
from rackrate.errors import UserError
from rackrate.files import is_directory, is_there
from rackrate.text import plain_lines

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

NO_TERMINAL_WIDTH = 200
"""Characters a line where the output is no terminal: wide enough for every table."""


def console(*, error: bool = False) -> Console:
    """A console on standard output (or error). Without a terminal, lines are wide enough for every table."""
    from rich.console import Console

    stream = sys.stderr if error else sys.stdout
    width = None if stream.isatty() else NO_TERMINAL_WIDTH
    # no markup and no emoji: brackets and colons in names from outside are just that
    return Console(stderr=error, width=width, highlight=False, markup=False, emoji=False)


def show(renderable: RenderableType) -> None:
    """Prints a table or text as a result."""
    with _until_the_reader_leaves():
        console().print(renderable)
        sys.stdout.flush()  # a full disk is said here, not at exit


def say(text: str) -> None:
    """Prints a line about what happens, or several, on standard error; where nobody can hear it, nothing."""
    with suppress(OSError):
        print(plain_lines(text), file=sys.stderr, flush=True)


def print_json(values: Any) -> None:
    """Prints values as JSON on standard output."""
    print_text(json_for(to_json(values) + "\n", sys.stdout.encoding))


def print_text(text: str) -> None:
    """Prints text as it is on standard output."""
    with _until_the_reader_leaves():
        print(text, end="", flush=True)


@contextmanager
def _until_the_reader_leaves() -> Generator[None]:
    """A reader of our output that has gone (head, less) ends the command, which is no error; a full disk is one."""
    try:
        yield
    except BrokenPipeError:
        leave_standard_output()
        raise typer.Exit(0) from None
    except OSError as error:
        leave_standard_output()
        raise UserError(f"standard output cannot be written ({error.strerror or error})") from None


def leave_standard_output() -> None:
    """Nothing more can be written to it: what is printed, or is still to be written at exit, goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def to_json(values: Any) -> str:
    """Values as indented JSON; what is not finite becomes null, since JSON has no such number."""
    import orjson

    from rackrate.report.render.json import escaped

    return escaped(orjson.dumps(values, option=orjson.OPT_INDENT_2, default=str).decode())


def deliver(answer: object, *, as_json: bool, out: Path | None = None, **options: Any) -> None:
    """The end of a command: a file by its ending where one is named, then JSON or what fits the terminal.

    Args:
        answer: what the use case gave, or the plain values of it.
        as_json: prints the plain values.
        out: also writes .html, .md, .csv or .json; `refuse_unknown_ending` says beforehand if it is none of them.
        options: of the answer's presenter.
    """
    from rackrate.report.present import present, view_of
    from rackrate.report.render import format_of, render
    from rackrate.report.render.json import render_view

    view = view_of(answer)
    if out is not None:
        write_result(out, render(view, format_of(out), **options))
    if as_json:
        print_text(json_for(render_view(view), sys.stdout.encoding))
    else:
        from rackrate.report.render.terminal import renderable

        show(renderable(present(view, **options)))


def write_result(out: Path, text: str) -> None:
    """Writes a result to a file, and says so. Raises UserError where it cannot be written."""
    write_text(out, text)
    size = len(text.encode())
    say(f"wrote {out} ({size / 1e6:.1f} MB)" if size >= 50_000 else f"wrote {out}")


def refuse_unknown_ending(out: Path | None, field: str = "out") -> None:
    """Raises UserError where a result cannot be written to a file, or its ending names no output; first of all."""
    if out is not None:
        from rackrate.report.render import format_of

        refuse_dash(out, field)
        format_of(out)
        refuse_unwritable(out, field)


def refuse_dash(path: Path, field: str = "out") -> None:
    """Raises UserError where `-` is given, which is standard output elsewhere, and a file of that name here."""
    if str(path) == "-":
        raise UserError(f"- is no name: give {{{field}}} one (`--json` prints on standard output)", field=field)


def refuse_unwritable(path: Path, field: str = "out") -> None:
    """Raises UserError where a result could not be written, before the work that it is the result of."""
    from rackrate.app.request_json import LONGEST_NAME

    refuse_dash(path, field)
    if any(len(os.fsencode(part)) > LONGEST_NAME for part in path.parts):
        raise UserError(f"{shown(str(path))}: cannot be written (File name too long)")
    try:
        if is_directory(path):
            raise UserError(f"{path}: cannot be written (it is a directory); name a file")
        place = next(parent for parent in (path, *path.absolute().parents) if is_there(parent))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{shown(str(path))}: cannot be written ({getattr(error, 'strerror', None) or error})"
        ) from None
    if place != path and not is_directory(place):
        raise UserError(f"{path}: cannot be written ({place} is a file, not a directory)")
    if not os.access(place, os.W_OK):
        raise UserError(f"{path}: cannot be written (no permission to write to {place})")


def write_new(path: Path, text: str, field: str) -> None:
    """Writes a file that is not there yet. Raises UserError where it is, or cannot be written.

    Args:
        path: the file.
        text: what it is to hold.
        field: the parameter that names it.
    """
    refuse_dash(path, field)
    if is_there(path):
        raise UserError(f"{path} exists; it is not overwritten")
    write_text(path, text)


def write_text(path: Path, text: str) -> None:
    """Writes a result to a file, whole or not at all. Raises UserError where it cannot be, or the command reads it."""
    from rackrate.files.writing import write_whole

    _refuse_what_was_read(path)
    try:
        write_whole(path, text)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from None


_WRITTEN = frozenset({"out", "report", "save_rig", "json_out", "log"})
"""Parameters that name what a command writes; what the others name, it reads."""


def _refuse_what_was_read(path: Path) -> None:
    """Raises UserError where a result would take the place of a run's own file, or of one that the command read."""
    from typer.main import get_current_context  # pyright: ignore[reportPrivateImportUsage]  # it has no other way

    from rackrate.runs.store import is_of_a_run

    if is_of_a_run(path):
        raise UserError(f"{path}: not written, for the run in {path.parent} has a file of that name; name another")
    context = get_current_context(silent=True)
    given: dict[str, Any] = context.params if context is not None else {}
    for name, value in given.items():
        read = cast("list[object]", value) if isinstance(value, list) else [value]
        if name not in _WRITTEN and any(_is_named_by(item, path) for item in read):
            raise UserError(f"{path}: not written, for the command reads it; name another file")


def _is_named_by(value: object, path: Path) -> bool:
    """Whether the value of a parameter names this file: a path, or the file of a distribution."""
    if not isinstance(value, str | Path):
        return False
    try:
        return path.samefile(str(value).removeprefix("file:"))
    except (OSError, ValueError):  # one of them is not there, or no name
        return False
