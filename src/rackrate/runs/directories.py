"""Where runs go that nobody named a place for, and who writes to one."""

from __future__ import annotations

import itertools
import re
from datetime import datetime
from pathlib import Path

from rackrate.errors import RunError
from rackrate.files import is_there
from rackrate.files.locks import DirectoryLock, LockedError
from rackrate.files.writing import private_directory

_LONGEST_NAME = 100
"""Of the model, in a directory's name, which has 255 bytes."""


def fresh_directory(model: str, now: datetime) -> Path:
    """A directory that is not there yet, named by the model and the time, in UTC.

    >>> from datetime import UTC
    >>> str(fresh_directory("meta-llama/Llama 3", datetime(2026, 12, 1, 8, 30, tzinfo=UTC)))
    'runs/meta-llama-Llama-3-20261201-083000'
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(model).stem if model.endswith(".gguf") else model).strip("-")
    name = name[:_LONGEST_NAME].rstrip("-") or "model"
    directory = Path("runs") / f"{name}-{now:%Y%m%d-%H%M%S}"
    again = (directory.with_name(f"{directory.name}-{number}") for number in itertools.count(2))
    return next(path for path in itertools.chain([directory], again) if not is_there(path))


def lock_run(directory: Path) -> DirectoryLock:
    """Makes a run's directory, for this process alone to write to. Raises RunError where another process does."""
    try:
        private_directory(directory)
        return DirectoryLock(directory)
    except LockedError as error:
        who = f"process {error.pid}" if error.pid else "another process"
        raise RunError(
            f"{directory}: {who} is measuring into it now; wait until it has ended, or give {{out}} another directory",
            field="out",
        ) from None
    except OSError as error:
        raise RunError(f"{directory}: the run cannot be written ({error.strerror or error})") from None
