"""Run directories that a stranger made: nothing outside them is read or written, and no value is what it cannot be."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from rackrate.errors import RunError
from rackrate.runs.columns import LevelColumns
from rackrate.runs.directories import lock_run
from rackrate.runs.records import RequestRecord
from rackrate.runs.store import HEADER, JOURNAL, TABLE, RunWriter, Stored, read_run, write_run
from runs.test_run_store import WHOLE, make_header, write

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "text for a count": ({"output_tokens": "x"}, "output_tokens should be a whole number, not 'x'"),
    "endless count": ({"output_tokens": 10**25}, "output_tokens should be a whole number, not 1e.25"),
    "count beyond 32 bits": ({"input_tokens": 2**31}, "input_tokens should be a whole number, not 2147483648"),
    "negative count": ({"cached_tokens": -5}, "cached_tokens should be a whole number, not -5"),
    "half a token": ({"output_tokens": 1.5}, "output_tokens should be a whole number, not 1.5"),
    "true for a count": ({"output_tokens": True}, "output_tokens should be a whole number, not True"),
    "index of text": ({"index": "0"}, "index should be a whole number, not '0'"),
    "no level": ({"level": None}, "level should be a whole number, not None"),
    "time of text": ({"done_s": "1"}, "done_s should be a time in seconds, not '1'"),
    "no time": ({"due_s": None}, "due_s should be a time in seconds, not None"),
    "endless time": ({"done_s": 1e308}, "done_s should be a time in seconds, not 1e.308"),
    "list for a time": ({"sent_s": [1]}, r"sent_s should be a time in seconds, not \[1\]"),
    "status of a number": ({"status": 200}, "status should be text, not 200"),
    "answer of a list": ({"text": ["a"]}, r"text should be text, not \['a'\]"),
    "stagger of a number": ({"stagger": 2}, "stagger should be true or false, not 2"),
    "chunks of a number": ({"chunk_s": 1}, "chunk_s should be a list of times in seconds, not 1"),
    "chunks of text": ({"chunk_s": ["a"]}, r"chunk_s should be a list of times in seconds, not \['a'\]"),
    "chunks of lists": ({"chunk_s": [[1.0]]}, r"chunk_s should be a list of times in seconds"),
    "one chunk of text": ({"chunk_s": [1.0, "a"]}, r"chunk_s should be a list of times in seconds"),
    "a chunk of nothing": ({"chunk_s": [1.0, None]}, r"chunk_s should be a list of times in seconds"),
    "endless chunk": ({"chunk_s": [1.0, 1e300]}, r"chunk_s should be a list of times in seconds"),
    "session without end": ({"session": 2**64}, "session should be a whole number"),
}


def _journal(directory: Path, change: dict[str, Any]) -> None:
    write(directory, [WHOLE, replace(WHOLE, index=1)], finish=False)
    lines = (directory / JOURNAL).read_bytes().splitlines(keepends=True)
    values = asdict(WHOLE) | change
    (directory / JOURNAL).write_bytes(lines[0] + json.dumps(values).encode() + b"\n")


@pytest.mark.parametrize("case", WRONG)
def test_a_value_of_another_type_is_one_sentence_with_its_line(tmp_path: Path, case: str) -> None:
    change, said = WRONG[case]
    _journal(tmp_path / "run", change)
    with pytest.raises(RunError, match=rf"requests\.jsonl:2: {said}.*; the run is damaged$"):
        read_run(tmp_path / "run")
    with pytest.raises(RunError, match=rf"requests\.jsonl:2: {said}.*; the run is damaged$"):
        Stored(tmp_path / "run" / JOURNAL).fill({0: LevelColumns()})


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ("'x' AS output_tokens", "column output_tokens holds VARCHAR, not INTEGER"),
        ("1e308 AS done_s", "done_s"),
        ("NULL::DOUBLE AS done_s", "done_s"),
        ("'nan'::DOUBLE AS due_s", "due_s"),
        ("['1.0', 'inf']::DOUBLE[] AS chunk_s", "chunk_s"),
        ("[NULL]::DOUBLE[] AS chunk_s", "chunk_s"),
        ("NULL::BIGINT AS index", "index"),
    ],
)
def test_a_table_with_another_column_is_one_sentence(tmp_path: Path, column: str, said: str) -> None:
    duckdb = pytest.importorskip("duckdb")
    write_run(tmp_path / "run", read_run(_packed(tmp_path / "before")))
    with duckdb.connect() as database:
        database.execute(
            f"COPY (SELECT * REPLACE ({column}) FROM read_parquet('{tmp_path / 'before' / TABLE}')) "  # noqa: S608
            f"TO '{tmp_path / 'run' / TABLE}' (FORMAT parquet)"
        )
    with pytest.raises(RunError, match=rf"requests\.parquet: .*{said}.*damaged$"):
        read_run(tmp_path / "run")
    if said != "index":  # which columns leave out
        with pytest.raises(RunError, match=rf"requests\.parquet: .*{said}.*damaged$"):
            Stored(tmp_path / "run" / TABLE).fill({0: LevelColumns()})


def _packed(directory: Path) -> Path:
    with RunWriter(directory, make_header()) as writer:
        writer.add(WHOLE)
        writer.finish(pack=True)
    return directory


@pytest.mark.parametrize("name", [HEADER, JOURNAL, TABLE])
@pytest.mark.parametrize("kind", ["pipe", "link to a device", "link outside", "directory", "loop"])
def test_nothing_but_a_file_of_its_own_is_read(tmp_path: Path, name: str, kind: str) -> None:
    directory = tmp_path / "run"
    write(directory, [WHOLE], finish=False)
    path = directory / name
    outside = tmp_path / "outside"
    if path.exists():
        path.rename(outside)
    else:
        outside.write_bytes(b"PAR1")
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "link to a device":
            path.symlink_to("/dev/zero")
        case "link outside":
            path.symlink_to(outside)
        case "loop":
            path.symlink_to(path)
        case _:
            path.mkdir()
    with pytest.raises(RunError, match=r": cannot be read \(it is a (pipe|link|directory)") as caught:
        read_run(directory)
    assert "\n" not in str(caught.value)


def test_a_line_without_end_takes_no_memory(tmp_path: Path) -> None:
    write(tmp_path / "run", [WHOLE], finish=False)
    with (tmp_path / "run" / JOURNAL).open("ab") as file:
        file.truncate(1 << 40)  # a hole: a terabyte of NULs that takes no room
    with pytest.raises(RunError, match=r"requests\.jsonl: cannot be read \(line 2 has more than 67,108,864 bytes\)"):
        read_run(tmp_path / "run")


def test_what_is_written_only_the_user_can_read(tmp_path: Path) -> None:
    for directory in (tmp_path / "runs" / "one", _packed(tmp_path / "runs" / "two")):
        if not directory.exists():
            write(directory, [WHOLE])
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        for path in directory.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert sorted(path.name for path in (tmp_path / "runs" / "two").iterdir()) == [TABLE, HEADER]


@pytest.mark.parametrize("name", [HEADER, JOURNAL])
def test_a_planted_link_is_not_written_through(tmp_path: Path, name: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "victim").write_text("precious", encoding="utf-8")
    (tmp_path / "run" / name).symlink_to(tmp_path / "victim")
    with pytest.raises(RunError):
        write(tmp_path / "run", [WHOLE])
    assert (tmp_path / "victim").read_text(encoding="utf-8") == "precious"


def test_a_dangling_header_makes_nothing_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / HEADER).symlink_to(tmp_path / "elsewhere")
    write(tmp_path / "run", [WHOLE])
    assert not (tmp_path / "elsewhere").exists()
    assert read_run(tmp_path / "run").requests == [WHOLE]


def test_a_run_is_written_by_one_process_at_a_time(tmp_path: Path) -> None:
    taken = rf"run: process {os.getpid()} is measuring into it now; wait"
    with lock_run(tmp_path / "run"), pytest.raises(RunError, match=taken):
        RunWriter(tmp_path / "run", make_header())
    with RunWriter(tmp_path / "run", make_header()) as writer:
        writer.add(WHOLE)
        with pytest.raises(RunError, match=taken):
            RunWriter(tmp_path / "run", make_header(), read_run(tmp_path / "run"))
        writer.finish()
    assert not (tmp_path / "run" / ".lock").exists()


def test_a_run_that_another_went_on_with_meanwhile_is_read_anew(tmp_path: Path) -> None:
    write(tmp_path / "run", [WHOLE], finish=False)
    before = read_run(tmp_path / "run")
    header = make_header()
    header.resumed = ("2026-12-01T00:00:00+00:00",)
    with RunWriter(tmp_path / "run", header, before) as writer:
        writer.add(replace(WHOLE, index=1))
    with pytest.raises(RunError, match="another process resumed the run meanwhile"):
        RunWriter(tmp_path / "run", header, before)
    assert [record.index for record in read_run(tmp_path / "run").requests] == [0, 1]


def test_right_values_of_every_kind_are_read_as_they_are(tmp_path: Path) -> None:
    records: list[RequestRecord] = [
        WHOLE,
        replace(WHOLE, index=1, session=3, turn=0, text="a", chunk_s=(), first_token_s=None, first_byte_s=None),
        replace(WHOLE, index=2, due_s=-1, done_s=10**6, http_status=None, input_tokens=None, chunk_s=(1, 2.5)),
    ]
    write(tmp_path / "run", records, finish=False)
    assert read_run(tmp_path / "run").requests == records
