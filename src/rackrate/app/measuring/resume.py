"""Resumes a run, or a comparison of engines, that was stopped: by the request that it keeps, never by a command."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rackrate.app.measuring.measurement import Measured, measure
from rackrate.app.measuring.request import DEFAULT_KEY, MeasureRequest, ResumeRequest
from rackrate.app.measuring.several import REQUEST_FILE, EnginesMeasured, measure_engines
from rackrate.app.measuring.started import is_ours
from rackrate.app.request_json import from_json
from rackrate.errors import RunError, UserError
from rackrate.files import read_bytes, reason
from rackrate.text import plain

if TYPE_CHECKING:
    from rackrate.app.context import Context
    from rackrate.measurement.stop import Stop
    from rackrate.measurement.watching import Watch

_MOST_REQUEST = 1 << 20
"""Bytes of a request that a comparison keeps."""
_MAY_NAME_FILES = ("input_tokens", "output_tokens", "turns", "think_time")
_OURS = ("url", "engines", "model", "settings", "ray", "key_env", "allow_plain_http", "trace", *_MAY_NAME_FILES)
"""What must be repeated of a run that was not begun here."""


def resume(
    request: ResumeRequest, context: Context, *, watch: Watch | None = None, stop: Stop | None = None
) -> Measured | EnginesMeasured:
    """Measures what is missing of a run, or of a comparison of engines.

    Raises:
        RunError: there is nothing to resume, or a request that was not begun here is not repeated.
        UserError: as `measure` does.
    """
    from rackrate.runs.store import read_run

    directory = request.run
    if os.path.lexists(directory / REQUEST_FILE):
        asked = read_kept(directory / REQUEST_FILE)
        again = _checked(request, asked, directory, context)
        return measure_engines(replace(again, out=directory), context, watch=watch, stop=stop, continued=True)
    if (directory.parent / REQUEST_FILE).exists():
        raise RunError(
            f"{directory} is part of a comparison: resume that with {{resume}} {directory.parent}", field="resume"
        )
    run = read_run(directory)
    if run.header.mode != "measured" or run.header.state == "complete":
        raise RunError(f"{directory}: the run is {run.header.mode} and {run.header.state}; there is nothing to resume")
    if run.header.request is None:
        raise RunError(
            f"{directory}: an older version began the run, and kept no request to resume by; measure anew"
            f"{_as_words(run.header.command)}"
        )
    again = _checked(request, run.header.request, directory, context)
    return measure(replace(again, out=directory), context, watch=watch, stop=stop, continued=run)


def read_kept(path: Path) -> dict[str, Any]:
    """The request that a comparison keeps. Raises RunError where the file is not as rackrate writes it."""
    try:
        values: Any = json.loads(read_bytes(path, _MOST_REQUEST, links=False))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path}: cannot be read ({reason(error)})") from None
    asked: Any = values.get("request") if isinstance(values, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if not isinstance(asked, dict):
        raise RunError(f"{path}: it has no request to resume by")
    return asked  # pyright: ignore[reportUnknownVariableType]


def _checked(request: ResumeRequest, asked: Mapping[str, Any], directory: Path, context: Context) -> MeasureRequest:
    """The request to resume by: begun here, or repeated where it matters."""
    try:
        known = from_json(MeasureRequest, asked)
    except UserError as error:
        raise RunError(f"{directory}: the request that it keeps cannot be read ({error})") from None
    if is_ours(directory, asked, context):
        # a key may have been set since, and be allowed now
        fixed = [name for name in _OURS if name != "allow_plain_http"]
        others = [name for name in fixed if getattr(request, name) and getattr(request, name) != getattr(known, name)]
        if others:
            raise RunError(
                f"{directory}: the run is resumed as it was asked for; leave {{{others[0]}}} out, or measure anew",
                field=others[0],
            )
        return replace(known, allow_plain_http=known.allow_plain_http or request.allow_plain_http)
    missing = [name for name in _OURS if _differs(getattr(request, name), getattr(known, name), name)]
    if missing:
        shown = " ".join(f"{{{name}}} {word}".rstrip() for name in missing for word in _words(getattr(known, name)))
        raise RunError(
            f"{directory}: the run was not begun here by you, so that what it asks for must be repeated; if you trust "
            f"it, add: {shown}",
            fields=missing,
        )
    return replace(known, allow_plain_http=request.allow_plain_http)


def _differs(repeated: Any, kept: Any, name: str) -> bool:
    if name == "key_env" and kept == DEFAULT_KEY:
        return False
    if name in _MAY_NAME_FILES and "file" not in str(kept or "").lower():
        return False
    return bool(kept) and repeated != kept


def _words(value: Any) -> list[str]:
    """A value from a file as words for a shell, each quoted: whoever repeats them runs nothing else."""
    if value is True:
        return [""]
    words: tuple[Any, ...] = value if isinstance(value, tuple) else (value,)  # pyright: ignore[reportUnknownVariableType]
    return [shlex.quote(plain(str(word))) for word in words]


def _as_words(command: str) -> str:
    """The command that a run says began it, in a form that a shell takes for words alone, whatever the run says."""
    try:
        words = shlex.split(command)
    except ValueError:
        return ""
    if words[:2] != ["rackrate", "measure"]:
        return ""
    return f". If you trust its URL, key variable and files, this began it: {plain(shlex.join(words))}"
