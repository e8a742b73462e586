"""Results, written whole or not at all: beside their place under a name nobody can know, then renamed onto it.

A reader sees the old file or the new one, never half of either, and a full disk leaves the old one. A link that
somebody put where the file goes is replaced, never written through.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, BinaryIO, cast

PRIVATE_FILE = 0o600
PRIVATE_DIRECTORY = 0o700
"""What only the user may read: runs hold answers, and where they came from."""


def write_whole(path: Path, data: str | bytes, *, private: bool = False) -> None:
    """Writes a file, text as UTF-8, and makes the directories above it. Raises OSError, and then nothing has changed.

    Args:
        path: where it goes. A pipe or a device such as /dev/stdout is written to as it is.
        data: all of it.
        private: whether only the user may read it; else a new file is as the umask says, an old one as it was.
    """
    with whole_file(path, private=private) as file:
        file.write(data.encode() if isinstance(data, str) else data)


@contextmanager
def whole_file(path: Path, *, private: bool = False) -> Generator[BinaryIO]:
    """As `write_whole`, for what is written piece by piece. Where the block raises, the old file stays."""
    path = _named(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    before = _mode(path)
    if before is not None and not stat.S_ISREG(before) and not stat.S_ISLNK(before):
        with _stream(path) as file:
            yield file
        return
    descriptor, temporary = tempfile.mkstemp(prefix=".rackrate-", suffix=".new", dir=path.parent)
    try:
        with cast("BinaryIO", os.fdopen(descriptor, "wb")) as file:
            yield file
            file.flush()
            os.fsync(descriptor)
        Path(temporary).chmod(PRIVATE_FILE if private else _public(before))
        Path(temporary).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(temporary).unlink()
        raise


def private_directory(path: Path) -> None:
    """Makes a directory that only the user may enter; one that is there stays as it is. Raises OSError."""
    path = _named(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        path.mkdir(mode=PRIVATE_DIRECTORY)
        return
    if not path.is_dir():
        raise NotADirectoryError(20, "it is a file, not a directory", str(path))


def open_within(path: Path, *, append: bool) -> IO[bytes]:
    """A private file of our own directory, opened to be written as it comes, without a buffer.

    Raises:
        OSError: also where a link, a pipe, a device or a second name of another file stands there.
    """
    flags = os.O_WRONLY | _flags("O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK", "O_BINARY")
    with suppress(FileNotFoundError):
        before = path.lstat()
        if stat.S_ISCHR(before.st_mode):  # /dev/null by its own name: nobody but root makes another
            return open(os.open(path, flags), "wb", buffering=0)  # noqa: PTH123 - a descriptor, not a path
        if not stat.S_ISREG(before.st_mode):
            raise OSError(22, "a link, a pipe or a directory stands there, and is not written to", str(path))
        if not append and before.st_nlink > 1:
            path.unlink()  # not cut short: it is a second name of another file
    descriptor = os.open(path, flags | os.O_CREAT | (os.O_APPEND if append else 0), PRIVATE_FILE)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            raise OSError(22, "it is another file under a second name, and is not written to", str(path))
        if not append:
            os.ftruncate(descriptor, 0)
        return os.fdopen(descriptor, "ab" if append else "wb", buffering=0)
    except OSError:
        os.close(descriptor)
        raise


def _flags(*names: str) -> int:
    """Flags of `os.open`, those that this system has."""
    return sum(getattr(os, name, 0) for name in names)


def _named(path: Path) -> Path:
    if "\0" in str(path):
        raise OSError(22, "no file's name has a NUL in it", str(path))
    return path


def _mode(path: Path) -> int | None:
    """What stands there; of a link to a device or a pipe (/dev/stdout) what it leads to; None for nothing."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(mode):
        with suppress(OSError):
            led_to = path.stat().st_mode
            if stat.S_ISCHR(led_to) or stat.S_ISFIFO(led_to):
                return led_to
    return mode


def _stream(path: Path) -> BinaryIO:
    """A pipe or a device to write to; a pipe that nobody reads is refused, not waited for."""
    descriptor = os.open(path, os.O_WRONLY | _flags("O_NONBLOCK", "O_CLOEXEC"))
    os.set_blocking(descriptor, True)
    return cast("BinaryIO", os.fdopen(descriptor, "wb"))


def _public(before: int | None) -> int:
    if before is not None and stat.S_ISREG(before):
        return stat.S_IMODE(before)
    mask = os.umask(0o022)  # it cannot be asked for without being set
    os.umask(mask)
    return 0o666 & ~mask
