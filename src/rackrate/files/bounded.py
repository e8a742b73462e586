"""Lines and packed files of strangers: a line without end or a bomb is an error, not the end of the memory."""

from __future__ import annotations

import errno
import gzip
import io
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, TextIO, cast

from rackrate.files import open_bytes

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MOST_LINE = 64 << 20
"""Bytes of a line. A request of a million tokens, each with its time, has a line of 20 MB."""
MOST_ROW = 4 << 20
"""Bytes of a row of a trace or a table; a trace's prompt of a million tokens has hashes of 30 kB."""
MOST_RATIO = 200
"""Unpacked over packed bytes. Traces reach 5 to 50; a file of one byte repeated reaches 1,030 (zlib.net, technical
details)."""
FREE_BYTES = 256 << 20
"""So much may come out of any packed file, whatever its ratio."""
_BUFFER = 1 << 18


def open_lines(path: Path, most: int = MOST_LINE, *, links: bool = True) -> BinaryIO:
    """A file of lines, unpacked if its name ends in .gz.

    Raises:
        OSError: as `files.open_bytes`; while it is read, also for a line of more than `most` bytes, for one that is
            packed more than 200 to 1, and for a packed file that ends too soon or is none.
    """
    file = open_bytes(path, links=links)
    raw: io.RawIOBase = _Unpacked(file, path) if path.suffix.lower() == ".gz" else cast("Any", file)
    return cast("BinaryIO", io.BufferedReader(_Lines(raw, most), _BUFFER))


def open_text_lines(path: Path, most: int = MOST_ROW) -> TextIO:
    """As `open_lines`, as UTF-8 text with its line ends as they are; reading it raises UnicodeDecodeError, too."""
    return io.TextIOWrapper(cast("IO[bytes]", open_lines(path, most)), encoding="utf-8-sig", newline="")


class _Raw(io.RawIOBase):
    """A stream over another; closing it closes both."""

    def __init__(self, below: Any) -> None:
        super().__init__()
        self._below = below

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            self._below.close()
        super().close()


class _Lines(_Raw):
    """Counts the bytes since the last line's end."""

    def __init__(self, below: Any, most: int) -> None:
        super().__init__(below)
        self._most, self._since, self._line = most, 0, 1

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        data: bytes = self._below.read(len(view))
        view[: len(data)] = data
        end = data.rfind(b"\n")
        if end < 0:
            self._since += len(data)
        else:
            first = data.find(b"\n")
            if self._since + first > self._most:
                self._refuse()
            self._since = len(data) - end - 1
            self._line += data.count(b"\n")
        if self._since > self._most:
            self._refuse()
        return len(data)

    def _refuse(self) -> None:
        raise OSError(errno.EFBIG, f"line {self._line:,} has more than {self._most:,} bytes")


class _Unpacked(_Raw):
    """What a gzip file holds."""

    def __init__(self, packed: BinaryIO, path: Path) -> None:
        super().__init__(gzip.GzipFile(fileobj=packed, mode="rb"))
        self._packed, self._path, self._out = packed, path, 0

    def read(self, size: int = -1, /) -> bytes:
        try:
            data: bytes = self._below.read(size)
        except EOFError:
            raise OSError(errno.EIO, "the packed file ends too soon; it was cut short") from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise OSError(errno.EIO, f"it is no gzip file, or a damaged one: {error}") from None
        self._out += len(data)
        if self._out > FREE_BYTES and self._out > MOST_RATIO * max(self._packed.tell(), 1):
            raise OSError(
                errno.EFBIG, f"it unpacks to more than {MOST_RATIO} times its size; no trace does. Unpack it yourself"
            )
        return data

    def close(self) -> None:
        super().close()
        self._packed.close()
