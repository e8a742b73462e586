"""Run directories: what was written is read back, cut anywhere or damaged, and every failure is one sentence."""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rackrate.errors import RunError
from rackrate.runs import table
from rackrate.runs.directories import fresh_directory
from rackrate.runs.records import (
    FORMAT_VERSION,
    RequestRecord,
)
from rackrate.runs.statuses import FAULTS, OK
from rackrate.runs.store import HEADER, JOURNAL, TABLE, RunWriter, read_run
from written_runs import FAILED, WHOLE, make_header, write

FULL_DISK = Path("/dev/full")


# --- packing ---


def test_a_large_journal_is_packed_and_a_small_one_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, kept in ((10, TABLE), (10**6, JOURNAL)):
        monkeypatch.setattr("rackrate.runs.store.PACK_BYTES", limit)
        with RunWriter(tmp_path / kept, make_header()) as writer:
            writer.add(WHOLE)
            writer.finish()
        assert sorted(path.name for path in (tmp_path / kept).iterdir()) == sorted([kept, HEADER])
        assert list(read_run(tmp_path / kept).requests) == [WHOLE]


# --- round trips ---

SECONDS = st.floats(0, 1e6)
COUNTS = st.none() | st.integers(0, 2**31 - 1)
RECORDS = st.builds(
    RequestRecord,
    index=st.integers(0, 2**62),
    level=st.integers(0, 1000),
    due_s=SECONDS,
    sent_s=SECONDS,
    first_byte_s=st.none() | SECONDS,
    first_token_s=st.none() | SECONDS,
    done_s=SECONDS,
    status=st.sampled_from([OK, *FAULTS]),
    http_status=st.none() | st.integers(100, 599),
    detail=st.none() | st.text(st.characters(exclude_categories=["Cs"])),
    asked_input_tokens=st.integers(1, 10**6),
    asked_output_tokens=st.integers(1, 10**6),
    input_tokens=COUNTS,
    cached_tokens=COUNTS,
    output_tokens=COUNTS,
    finish_reason=st.none() | st.sampled_from(["length", "stop", "null", "", "2026-11-23"]),
    stagger=st.booleans(),
    chunk_s=st.lists(SECONDS, max_size=5).map(tuple),
)


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=st.lists(RECORDS, min_size=1, max_size=20))
def test_what_was_written_is_read_from_the_journal_and_from_the_table(
    tmp_path_factory: pytest.TempPathFactory, records: list[RequestRecord]
) -> None:
    directory = tmp_path_factory.mktemp("run")
    header = make_header()
    with RunWriter(directory, header) as writer:
        for record in records:
            writer.add(record)
        writer.close()
        from_journal = read_run(directory)
        assert (from_journal.requests, from_journal.torn_lines) == (records, 0)
        writer.finish(pack=True)
    from_table = read_run(directory)
    assert not (directory / JOURNAL).exists()
    assert (from_table.requests, from_table.torn_lines) == (records, 0)
    assert from_table.header == header


@pytest.mark.parametrize("finish", [True, False], ids=["table", "journal"])
def test_a_run_is_read_back(tmp_path: Path, finish: bool) -> None:
    header = write(tmp_path / "run", [WHOLE, FAILED], finish=finish)
    run = read_run(tmp_path / "run")
    assert run.requests == [WHOLE, FAILED]
    assert [request.ok for request in run.requests] == [True, False]
    assert run.header.model == header.model
    assert (tmp_path / "run" / TABLE).exists() == finish
    assert run.header.state == ("complete" if finish else "running")


def test_a_run_without_requests_is_read_back(tmp_path: Path) -> None:
    write(tmp_path / "run", [])
    assert read_run(tmp_path / "run").requests == []


@pytest.mark.parametrize("name", ["it's", "a b", "runs[8]", "what?", "all*", "größe", 'say "x"', "{a,b}"])
def test_a_directory_may_have_any_name(tmp_path: Path, name: str) -> None:
    for neighbour in ("runs8", "whats", "all-else", "a"):  # what the name might match as a pattern
        write(tmp_path / neighbour, [FAILED])
    write(tmp_path / name, [WHOLE])
    assert read_run(tmp_path / name).requests == [WHOLE]


def test_leaving_the_writer_in_an_error_keeps_what_was_added(tmp_path: Path) -> None:
    def interrupted() -> None:
        with RunWriter(tmp_path / "run", make_header()) as writer:
            writer.add(WHOLE)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert read_run(tmp_path / "run").requests == [WHOLE]


def test_a_reader_sees_a_whole_header_at_any_time(tmp_path: Path) -> None:
    with RunWriter(tmp_path / "run", make_header()) as writer:
        assert read_run(tmp_path / "run").header.state == "running"
        writer.header.levels[0].stopped_s = 9.5
        assert read_run(tmp_path / "run").header.levels[0].stopped_s is None
        writer.save_header()
        assert read_run(tmp_path / "run").header.levels[0].stopped_s == 9.5
    assert [path.name for path in (tmp_path / "run").iterdir() if "new" in path.name] == []


# --- a kill at any byte ---


def test_a_journal_cut_at_any_byte_of_its_last_two_lines_is_readable(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    records = [WHOLE, replace(WHOLE, index=5), FAILED, replace(FAILED, index=7, detail="größe")]
    write(directory, records, finish=False)
    journal = (directory / JOURNAL).read_bytes()
    lines = journal.splitlines(keepends=True)
    assert len(lines) == len(records)
    for end in range(len(journal) - len(lines[-1]) - len(lines[-2]), len(journal) + 1):
        (directory / JOURNAL).write_bytes(journal[:end])
        run = read_run(directory)
        whole = sum(len(b"".join(lines[: n + 1]).rstrip(b"\n")) <= end for n in range(len(lines)))
        assert run.requests == records[:whole], end
        assert run.torn_lines == (end > len(b"".join(lines[:whole]))), end


def test_a_damaged_line_in_the_middle_loses_itself_alone(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    write(directory, [WHOLE, FAILED, replace(WHOLE, index=2)], finish=False)
    lines = (directory / JOURNAL).read_bytes().splitlines(keepends=True)
    for damage in (b"\x00\xff\n", b"[]\n", b"null\n", b"{}\n", b'{"chunk_s": 1}\n', b'{"chunk_s": [], "new": 1}\n'):
        (directory / JOURNAL).write_bytes(lines[0] + damage + lines[2])
        run = read_run(directory)
        assert [request.index for request in run.requests] == [0, 2], damage
        assert run.torn_lines == 1, damage


def test_a_kill_between_table_and_journal_loses_nothing(tmp_path: Path) -> None:
    write(tmp_path / "run", [WHOLE, FAILED])
    (tmp_path / "run" / JOURNAL).write_bytes(b"")  # as if it had not been removed yet
    assert read_run(tmp_path / "run").requests == [WHOLE, FAILED]


# --- what cannot be read ---


def change_header(directory: Path, change: Callable[[dict[str, Any]], object]) -> None:
    values = json.loads((directory / HEADER).read_text(encoding="utf-8"))
    change(values)
    (directory / HEADER).write_text(json.dumps(values), encoding="utf-8")


def no_directory(run: Path) -> None:
    run.rename(run.with_name("elsewhere"))


def a_file(run: Path) -> None:
    run.rename(run.with_name("elsewhere"))
    run.write_text("{}", encoding="utf-8")


def no_header(run: Path) -> None:
    (run / HEADER).unlink()


def header_cut(run: Path) -> None:
    (run / HEADER).write_bytes((run / HEADER).read_bytes()[:200])


def header_empty(run: Path) -> None:
    (run / HEADER).write_bytes(b"")


def header_binary(run: Path) -> None:
    (run / HEADER).write_bytes(b"\xff\xfe\x00")


def header_a_directory(run: Path) -> None:
    (run / HEADER).unlink()
    (run / HEADER).mkdir()


def header_a_list(run: Path) -> None:
    (run / HEADER).write_text("[]", encoding="utf-8")


def header_newer(run: Path) -> None:
    change_header(run, lambda values: values.update(format=FORMAT_VERSION + 1, something_new=1))


def header_with_a_list_for_a_format(run: Path) -> None:
    change_header(run, lambda values: values.update(format=[]))


def header_without_model(run: Path) -> None:
    change_header(run, lambda values: values.pop("model"))


def header_with_odd_concurrency(run: Path) -> None:
    change_header(run, lambda values: values["levels"][0].update(concurrency="many"))


def header_with_unknown_key(run: Path) -> None:
    change_header(run, lambda values: values.update(colour="red"))


def neither_table_nor_journal(run: Path) -> None:
    (run / TABLE).unlink()


def table_cut(run: Path) -> None:
    (run / TABLE).write_bytes((run / TABLE).read_bytes()[:-20])


def table_not_parquet(run: Path) -> None:
    (run / TABLE).write_text("index,level\n1,2\n", encoding="utf-8")


def table_of_something_else(run: Path) -> None:
    import duckdb

    with duckdb.connect() as database:
        database.execute(f"COPY (SELECT 1 AS one) TO '{run / TABLE}' (FORMAT parquet)")


def table_a_directory(run: Path) -> None:
    (run / TABLE).unlink()
    (run / TABLE).mkdir()


def journal_a_directory(run: Path) -> None:
    (run / TABLE).unlink()
    (run / JOURNAL).mkdir()


DAMAGES: dict[Callable[[Path], None], str] = {
    no_directory: r"run: no such run directory$",
    a_file: r"run: is a file; a run is a directory with a run\.json in it$",
    no_header: r"run: not a run directory \(it has no run\.json\)$",
    header_cut: r"run\.json:\d+:\d+: not valid JSON; the run is damaged$",
    header_empty: r"run\.json:1:1: not valid JSON; the run is damaged$",
    header_binary: r"run\.json:1:1: not valid JSON; the run is damaged$",
    header_a_directory: r"run\.json: cannot be read ",
    header_a_list: r"run\.json: .*the run is damaged or not rackrate's$",
    header_newer: r"run\.json: written by a newer rackrate \(format 3; this one reads 2\)$",
    header_with_a_list_for_a_format: r"run\.json: written by another rackrate \(format \[\]; this one reads 2\)$",
    header_without_model: r"run\.json: model: .*the run is damaged",
    header_with_odd_concurrency: r"run\.json: levels\.0\.concurrency: .*the run is damaged",
    header_with_unknown_key: r"run\.json: colour: .*the run is damaged",
    neither_table_nor_journal: r"run: the run has a header but neither requests\.parquet nor requests\.jsonl",
    table_cut: r"requests\.parquet: cannot be read .*the run is damaged$",
    table_not_parquet: r"requests\.parquet: cannot be read .*the run is damaged$",
    table_of_something_else: r"requests\.parquet: cannot be read .*the run is damaged$",
    table_a_directory: r"requests\.parquet: cannot be read ",
    journal_a_directory: r"requests\.jsonl: cannot be read ",
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_every_damage_is_one_sentence(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    write(tmp_path / "run", [WHOLE, FAILED])
    damage(tmp_path / "run")
    with pytest.raises(RunError, match=DAMAGES[damage]) as caught:
        read_run(tmp_path / "run")
    assert str(caught.value).startswith(str(tmp_path / "run"))
    assert "\n" not in str(caught.value)


# --- what cannot be written ---


def test_a_run_is_not_overwritten(tmp_path: Path) -> None:
    write(tmp_path / "run", [WHOLE])
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with pytest.raises(RunError, match=r"run already holds a run; give out another directory, or remove it$"):
        RunWriter(tmp_path / "run", make_header())
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_an_existing_directory_without_a_run_is_used(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine", encoding="utf-8")
    write(tmp_path / "run", [WHOLE])
    assert (tmp_path / "run" / "notes.txt").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_place_that_cannot_be_a_directory_is_said(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("not a directory", encoding="utf-8")
    with pytest.raises(RunError, match=r": the run cannot be written \("):
        RunWriter(tmp_path / place, make_header())


def no_space() -> OSError:
    return OSError(errno.ENOSPC, "No space left on device")


class FullDisk:
    """A journal on a disk that is full: buffered writes succeed until they reach the disk."""

    closed = False

    def __init__(self, *, buffered: bool) -> None:
        self._buffered = buffered

    def write(self, data: bytes) -> int:
        if not self._buffered:
            raise no_space()
        return len(data)

    def flush(self) -> None:
        raise no_space()

    def close(self) -> None:
        self.closed = True
        raise no_space()


@contextmanager
def closed_after(file: IO[bytes]) -> Generator[None]:
    """Closes a file on a full disk, whose close fails, without a word."""
    try:
        yield
    finally:
        with suppress(OSError):
            file.close()


def put_journal(writer: RunWriter, journal: Any) -> None:
    real: IO[bytes] = vars(writer)["_journal"]
    real.close()
    vars(writer)["_journal"] = journal


def test_a_full_disk_is_said_when_a_request_is_added(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run", make_header())
    put_journal(writer, FullDisk(buffered=False))
    with pytest.raises(
        RunError,
        match=r"run: the run cannot be written further \(No space left on device\); what was written before is kept$",
    ):
        writer.add(WHOLE)


def test_a_full_disk_is_said_when_the_journal_is_closed(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run", make_header())
    put_journal(writer, FullDisk(buffered=True))
    writer.add(WHOLE)
    with pytest.raises(
        RunError,
        match=r"run: the run cannot be written further \(No space left on device\); what was written before is kept$",
    ):
        writer.close()


@pytest.mark.skipif(not FULL_DISK.exists(), reason="this system has no /dev/full")
def test_a_disk_that_is_really_full_is_one_sentence(tmp_path: Path) -> None:
    full = FULL_DISK.open("wb")

    def measure() -> None:
        with RunWriter(tmp_path / "run", make_header()) as writer:
            put_journal(writer, full)
            writer.add(WHOLE)

    with (
        closed_after(full),
        pytest.raises(
            RunError, match=r"cannot be written further \(No space left on device\); what was written before is kept$"
        ),
    ):
        measure()


def test_a_header_that_cannot_be_replaced_is_said(tmp_path: Path) -> None:
    with RunWriter(tmp_path / "run", make_header()) as writer:
        (tmp_path / "run" / HEADER).unlink()
        (tmp_path / "run" / HEADER).mkdir()  # in the way of the new header
        with pytest.raises(RunError, match=r"run: the run cannot be written further \("):
            writer.save_header()


def test_a_table_that_cannot_be_written_is_said_and_the_journal_kept(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run", make_header())
    writer.add(WHOLE)
    (tmp_path / "run" / TABLE).mkdir()  # in the way of the new table
    with pytest.raises(RunError, match=r"run: the run cannot be written further \("):
        writer.finish(pack=True)
    (tmp_path / "run" / TABLE).rmdir()
    assert read_run(tmp_path / "run").requests == [WHOLE]


def test_without_duckdb_a_large_run_stays_a_journal_and_a_packed_one_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "requests.parquet"
    path.write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(RunError, match=r"requests\.parquet: .*rackrate\[parquet\]"):
        table.number_in_table(path)
    monkeypatch.delitem(sys.modules, "duckdb")

    def nowhere(_name: str) -> None:
        return None

    monkeypatch.setattr(table, "find_spec", nowhere)
    assert not table.can_pack()


# --- older runs ---


def test_a_run_of_format_1_is_read(tmp_path: Path) -> None:
    """As version 0.1.0 wrote it: a header without a request, and a journal."""
    run = tmp_path / "run"
    run.mkdir()
    old = {
        "format": 1, "mode": "measured", "created": "2026-11-23T04:00:00+00:00", "rackrate_version": "0.1.0",
        "command": "rackrate measure --url http://127.0.0.1:8000 -c 4", "python_version": "3.11.9",
        "state": "interrupted", "stopped_because": "stopped by the user", "resumed": [], "processes": 1,
        "clock_uncertainty_s": None, "model": {"requested": "tiny"},
        "engine": {"name": "vLLM", "url": "http://127.0.0.1:8000"}, "machine": {"origin": "unknown"},
        "workload": {"input_tokens": 64, "output_tokens": 3, "endpoint": "chat", "seed": 0}, "imported": None,
        "levels": [{"index": 0, "kind": "closed", "concurrency": 4, "warmed_up": True, "started_s": 0.0}],
    }  # fmt: skip
    (run / HEADER).write_text(json.dumps(old), encoding="utf-8")
    (run / JOURNAL).write_text(
        '{"index":0,"level":0,"due_s":0.1,"sent_s":0.1,"first_byte_s":0.2,"first_token_s":0.3,"done_s":0.6,'
        '"status":"ok","http_status":200,"detail":null,"asked_input_tokens":64,"asked_output_tokens":3,'
        '"input_tokens":66,"cached_tokens":0,"output_tokens":3,"finish_reason":"length","stagger":false,'
        '"chunk_s":[0.3,0.5,0.6]}\n',
        encoding="utf-8",
    )
    found = read_run(run)
    assert (found.header.format, found.header.request) == (1, None)
    assert [(request.done_s, request.session, request.text) for request in found.requests] == [(0.6, None, None)]


def test_runs_begun_in_one_second_have_directories_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: list[str] = []
    for _ in range(3):
        fresh = fresh_directory("m", datetime(2026, 12, 1, 8, 30, tzinfo=UTC))
        fresh.mkdir(parents=True)
        names.append(fresh.name)
    assert names == ["m-20261201-083000", "m-20261201-083000-2", "m-20261201-083000-3"]
