"""Which measurements this user began on this machine: only those may be resumed unasked.

A run directory may come from anywhere. What its header asks for (a URL, the name of a secret's variable, an engine and
its settings, a Ray address, a file) is data, until the user who began it, or repeats it, says otherwise.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rackrate.files.writing import private_directory, write_whole

if TYPE_CHECKING:
    from rackrate.app.context import Context


def remember(directory: Path, asked: Mapping[str, Any], context: Context) -> None:
    """Notes that a request was begun in a directory. A disk that is full costs the note, not the measurement."""
    note = _note(directory, asked, context)
    if note is None:
        return
    try:
        private_directory(note.parent)
        write_whole(note, "", private=True)
    except OSError as error:
        context.notify.note(f"{note}: cannot be written ({error.strerror or error}); going on will ask for the request")


def is_ours(directory: Path, asked: Mapping[str, Any], context: Context) -> bool:
    """Whether this very request was begun here, in this directory."""
    note = _note(directory, asked, context)
    if note is None:
        return False
    try:
        found = note.lstat()
    except OSError:
        return False
    # a state directory that others can write to tells nothing: what this user noted is a file of this user's
    return stat.S_ISREG(found.st_mode) and (not hasattr(os, "getuid") or found.st_uid == os.getuid())


def _note(directory: Path, asked: Mapping[str, Any], context: Context) -> Path | None:
    if context.state_dir is None:
        return None
    text = json.dumps([str(directory.resolve()), asked], sort_keys=True, default=str)
    return context.state_dir / "started" / hashlib.sha256(text.encode()).hexdigest()
