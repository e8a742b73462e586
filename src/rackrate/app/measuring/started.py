"""Which measurements this user began on this machine: only those may be resumed unasked.

A run directory may come from anywhere. What its header asks for (a URL, the name of a secret's variable, an engine and
its settings, a Ray address, a file) is data, until the user who began it, or repeats it, says otherwise.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rackrate.app.context import Context


def remember(directory: Path, asked: Mapping[str, Any], context: Context) -> None:
    """Notes that a request was begun in a directory. A disk that is full costs the note, not the measurement."""
    note = _note(directory, asked, context)
    if note is None:
        return
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        note.touch(mode=0o600)
    except OSError as error:
        context.notify.note(f"{note}: cannot be written ({error.strerror or error}); going on will ask for the request")


def is_ours(directory: Path, asked: Mapping[str, Any], context: Context) -> bool:
    """Whether this very request was begun here, in this directory."""
    note = _note(directory, asked, context)
    return note is not None and note.exists()


def _note(directory: Path, asked: Mapping[str, Any], context: Context) -> Path | None:
    if context.state_dir is None:
        return None
    text = json.dumps([str(directory.resolve()), asked], sort_keys=True, default=str)
    return context.state_dir / "started" / hashlib.sha256(text.encode()).hexdigest()
