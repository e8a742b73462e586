"""A directory that one process writes to at a time."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

NAME = ".lock"


class LockedError(OSError):
    """Another process holds the directory; `pid` is its number, where it is known."""

    def __init__(self, directory: Path, pid: int | None) -> None:
        """Of a directory and the process that has it."""
        super().__init__(11, f"process {pid} is writing to it" if pid else "another process is writing to it")
        self.directory, self.pid = directory, pid


class DirectoryLock:
    """Held from `__init__` to `release`, or to the process's end however it ends: the system lets go of it.

    A file system or a system without locks locks nothing.
    """

    def __init__(self, directory: Path) -> None:
        """Raises LockedError where another holds it, OSError where the directory cannot be written to."""
        self._path = directory / NAME
        self._file = -1
        try:
            import fcntl
        except ImportError:  # Windows, where nothing is measured
            return
        while True:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pid = _pid(self._file)
                os.close(self._file)
                raise LockedError(directory, pid) from None
            except OSError:
                break
            if self._is_there():
                break
            os.close(self._file)  # the last holder removed it as we opened it
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, b"%d\n" % os.getpid(), 0)

    def _is_there(self) -> bool:
        try:
            here, ours = self._path.lstat(), os.fstat(self._file)
        except FileNotFoundError:
            return False
        return (here.st_dev, here.st_ino) == (ours.st_dev, ours.st_ino)

    def release(self) -> None:
        """Lets others have it. May be called again."""
        if self._file < 0:
            return
        with suppress(OSError):
            self._path.unlink()
        os.close(self._file)
        self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _pid(file: int) -> int | None:
    text = os.pread(file, 20, 0).strip()
    return int(text) if text.isdigit() else None
