"""Only files are opened as files, whatever else bears the name, and no name ends in another error than OSError."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from rackrate import files

READERS: list[Callable[[Path], object]] = [files.open_bytes, files.open_text, files.read_bytes, files.read_text]


def _made(kind: str, directory: Path) -> Path:
    path = directory / "it"
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
        case "device":
            return Path("/dev/zero")
        case "socket":
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind(str(path))
        case "link to a pipe":
            os.mkfifo(directory / "pipe")
            path.symlink_to(directory / "pipe")
        case "long":
            return directory / ("x" * 300)
        case "NUL":
            return Path("a\0b")
        case _:
            pass
    return path


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("pipe", "it is a pipe, not a file"),
        ("link to a pipe", "it is a pipe, not a file"),
        ("directory", "it is a directory, not a file"),
        ("device", "it is a device, not a file"),
        ("socket", "it is a socket, not a file"),
        ("long", "File name too long"),
        ("NUL", "no file's name has a NUL"),
        ("nothing", "No such file"),
    ],
)
def test_what_is_no_file_is_refused_at_once(
    kind: str, reason: str, reader: Callable[[Path], object], tmp_path: Path
) -> None:
    path = _made(kind, tmp_path)
    with pytest.raises(OSError, match=reason) as caught:
        reader(path)
    assert caught.value.strerror is not None
    assert not files.is_regular(path)
    assert files.is_there(path) == (kind not in {"long", "NUL", "nothing"})
    assert files.is_directory(path) == (kind == "directory")


def test_a_file_is_read_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a\r\nb")
    assert files.read_bytes(path, 4) == b"a\r\nb"
    assert files.read_text(path) == "a\nb"
    with files.open_text(path) as file:
        assert file.read() == "a\nb"
    with pytest.raises(OSError, match="more than 3 bytes"):
        files.read_bytes(path, 3)


def test_a_file_with_nothing_to_read_yet_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log such as /proc/kmsg calls itself a file, and has nothing to read until something happens."""
    reads, writes = os.pipe()
    os.set_blocking(reads, False)
    path = tmp_path / "file"
    path.write_bytes(b"")
    opened = os.open

    def of_the_pipe(name: Path, flags: int) -> int:
        return os.dup2(reads, opened(name, flags))

    def nothing(_path: Path, _mode: int) -> None:
        return None

    monkeypatch.setattr(os, "open", of_the_pipe)
    monkeypatch.setattr("rackrate.files._refuse", nothing)
    with pytest.raises(OSError, match="it has nothing to read now"):
        files.read_bytes(path)
    with pytest.raises(OSError, match="it has nothing to read now"):
        files.read_bytes(path, 10)
    with files.open_text(path) as text, pytest.raises(OSError, match="it has nothing to read now"):
        text.read()
    os.close(writes)
    os.close(reads)
