"""Files that the user names: opened only where they are files, and asked for under names that a disk can hold.

What opens a file by these raises `OSError` alone, with a reason that a sentence can end with: a pipe would be waited
for without end, a device has none, and a name may be longer than a file system takes or hold a NUL.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO, TextIO, TypeVar, cast

if TYPE_CHECKING:
    from typing_extensions import Buffer

_T = TypeVar("_T")

MOST_DOCUMENT = 256 << 20
"""Bytes of a file that is read whole and is neither a model nor results: an export of usage, a table of ranks."""

_KINDS = (
    (stat.S_ISDIR, "it is a directory, not a file"),
    (stat.S_ISFIFO, "it is a pipe, not a file: save what comes through it in a file"),
    (stat.S_ISCHR, "it is a device, not a file"),
    (stat.S_ISBLK, "it is a device, not a file"),
    (stat.S_ISSOCK, "it is a socket, not a file"),
    (stat.S_ISLNK, "it is a link, which here is not followed: put the file itself there"),
)


def reason(error: BaseException) -> str:
    """Why a file cannot be read, to stand in brackets: without the number and the path that an OSError shows."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def is_there(path: Path) -> bool:
    """Whether something is there. A name that no disk can hold is nowhere.

    >>> is_there(Path("x" * 300)), is_there(Path("a\\0b")), is_there(Path("/"))
    (False, False, True)
    """
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def is_regular(path: Path) -> bool:
    """Whether a file is there, as opposed to nothing, a directory, a pipe or a device."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_directory(path: Path) -> bool:
    """Whether a directory is there."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def refuse_other_than_file(path: Path, *, links: bool = True) -> None:
    """Raises OSError where there is no file: nothing, a directory, a pipe, a device, or no name that could be one.

    Without `links` also where a link is.
    """
    _refuse(path, _status(path, links=links).st_mode)


class _NotWaiting(io.FileIO):
    """A file opened without waiting. One that has nothing to read yet, such as a log in /proc, raises OSError."""

    def readinto(self, buffer: Buffer, /) -> int:
        return _there(super().readinto(buffer))

    def readall(self) -> bytes:
        return _there(super().readall())


def _there(read: _T | None) -> _T:
    if read is None:
        raise OSError(errno.EAGAIN, "it has nothing to read now, and is not waited for")
    return read


def open_bytes(path: Path, *, links: bool = True) -> BinaryIO:
    """A file, opened to be read. Raises OSError as `refuse_other_than_file`, and where it may not be read.

    Args:
        path: the file.
        links: whether it may be a link to one; of a directory that anybody may have made, such as a run, it may not:
            what lies outside was not given.
    """
    refuse_other_than_file(path, links=links)
    # between the look and the opening it may have become a pipe: that is opened without waiting, and seen
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags if links else flags | getattr(os, "O_NOFOLLOW", 0))
    try:
        _refuse(path, os.fstat(descriptor).st_mode)
        return cast("BinaryIO", io.BufferedReader(_NotWaiting(descriptor)))
    except OSError:
        os.close(descriptor)
        raise


def open_text(path: Path, encoding: str = "utf-8", newline: str | None = None) -> TextIO:
    """A text file, opened to be read. Raises OSError as `open_bytes`; reading it raises UnicodeDecodeError."""
    return io.TextIOWrapper(cast("IO[bytes]", open_bytes(path)), encoding=encoding, newline=newline)


def read_bytes(path: Path, most: int | None = None, *, links: bool = True) -> bytes:
    """What a file holds. Raises OSError as `open_bytes`, and where that is more than `most` bytes."""
    with open_bytes(path, links=links) as file:
        # a hole of a terabyte takes no room on a disk, and would in memory
        too_long = most is not None and os.fstat(file.fileno()).st_size > most
        data = b"" if too_long else file.read() if most is None else file.read(most + 1)
    if most is not None and (too_long or len(data) > most):
        raise OSError(errno.EFBIG, f"it has more than {most:,} bytes, too many for such a file", str(path))
    return data


def read_text(path: Path, encoding: str = "utf-8", most: int | None = None, *, links: bool = True) -> str:
    """The text of a file, line ends made \\n. Raises OSError as `read_bytes`, and UnicodeDecodeError."""
    text = read_bytes(path, most, links=links).decode(encoding)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _status(path: Path, *, links: bool) -> os.stat_result:
    try:
        return path.stat() if links else path.lstat()
    except ValueError:
        raise OSError(errno.EINVAL, "no file's name has a NUL in it", str(path)) from None


def _refuse(path: Path, mode: int) -> None:
    reason = next((said for is_kind, said in _KINDS if is_kind(mode)), None)
    if reason is not None:
        raise OSError(errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL, reason, str(path))
