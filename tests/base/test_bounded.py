"""Lines without end, and packed files that hold more than they should, end in an error and take no memory."""

from __future__ import annotations

import gzip
import os
import resource
from pathlib import Path

import pytest

from rackrate.files import bounded
from rackrate.files.bounded import MOST_RATIO, open_lines, open_text_lines


def test_lines_are_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "it.csv"
    text = "a,b\r\n1,2\n\n3,\u20ac\n" * 100_000
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    packed = tmp_path / "it.csv.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    for file in (path, packed):
        with open_text_lines(file) as opened:
            assert opened.read() == text
        with open_lines(file) as opened:
            assert sum(len(line) for line in opened) == path.stat().st_size


@pytest.mark.parametrize("before", [0, 7, 1 << 18, (1 << 18) + 1])
def test_a_line_without_end_is_refused_by_its_number(tmp_path: Path, before: int) -> None:
    path = tmp_path / "it"
    path.write_bytes(b"." * (before - 1) + b"\n" * (before > 0) + b"x" * 1_000_001)
    with open_lines(path, most=1_000_001) as file:
        assert sum(map(len, file)) == before + 1_000_001
    with (
        pytest.raises(OSError, match=f"line {1 + (before > 0)} has more than 1,000,000 bytes"),
        open_lines(path, most=1_000_000) as file,
    ):
        for _ in file:
            pass


def test_a_bomb_is_refused_and_takes_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "FREE_BYTES", 1 << 20)
    path = tmp_path / "it.csv.gz"
    with gzip.open(path, "wb") as file:
        for _ in range(200):
            file.write(b"1\n" * (1 << 18))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(OSError, match=f"more than {MOST_RATIO} times its size"), open_lines(path) as lines:
        for _ in lines:
            pass
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


_PACKED = gzip.compress(
    "".join(f"{number * number},1\n" for number in range(999)).encode(), mtime=0
)  # no clock in names


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (_PACKED[:-9], "cut short"),
        (_PACKED[:5], "cut short"),
        (b"a,b\n1,2\n", "no gzip file"),
        (_PACKED[:40] + b"\xff\xff\xff\xff" + _PACKED[44:], "gzip file"),
        (_PACKED[:-8] + b"\0\0\0\0" + _PACKED[-4:], "gzip file"),
        (_PACKED + b"and more", "gzip file"),
    ],
)
def test_a_damaged_packed_file_is_an_oserror(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "it.gz"
    path.write_bytes(data)
    with pytest.raises(OSError, match=said), open_lines(path) as lines:
        for _ in lines:
            pass


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "it")
    with pytest.raises(OSError, match="a pipe"):
        open_lines(tmp_path / "it")
