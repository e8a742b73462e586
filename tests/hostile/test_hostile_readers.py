"""Every reader against every kind of hostile file: one sentence, at once, in little memory, and nothing else."""

from __future__ import annotations

import ast
import gzip
import json
import os
import random
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest
import typer

import rooms
from hostile.readers import OPTIONS, OWN, READERS, WRITES, Reader
from rackrate.cli import COMMANDS, app
from rackrate.errors import UserError
from rackrate.text import plain_lines

MOST_S, MOST_KIB = 20.0, 600_000
"""Of processor time and of memory, for one hostile file."""
RTL = "\x1b]0;title\x07\x1b[2J\u202egnp.exe\u2066"


def _level(number: int) -> str:
    """A list of nine times the list before."""
    return f"a{number}: &a{number} [{', '.join([f'*a{number - 1}' if number else '1'] * 9)}]\n"


def _merged(number: int) -> str:
    """Keys of nine times those before."""
    return f"a{number}: &a{number}\n  <<: [{', '.join([f'*a{number - 1}'] * 9)}]\n  k{number}: 1\n"


CONTENTS: dict[str, bytes] = {
    "empty": b"",
    "blank": b" \n\n\t\n",
    "NULs": b"\0" * 5000,
    "binary": random.Random(1).randbytes(50_000),
    "invalid UTF-8": b'{"a": "\xff\xfe"}\ntime_s\xff,b\n1,2\n',
    "UTF-16": '{"a": 1}\n'.encode("utf-16"),
    "mark alone": b"\xef\xbb\xbf",
    "deep lists": b"[" * 200_000,
    "deep lists, closed": b"[" * 50_000 + b"]" * 50_000,
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "NaN": b'{"a": NaN, "b": Infinity}\n',
    "1e308": b'{"a": 1e308, "format": 1e308}\n',
    "endless number": b'{"format": ' + b"9" * 5000 + b"}\n",
    "a list": b"[1, 2, 3]\n",
    "a list of lists": b"[[1], [2]]\n",
    "a number": b"7\n",
    "a text": b'"text"\n',
    "null": b"null\n",
    "true": b"true\n",
    "escapes": json.dumps({RTL: RTL}).encode() + b"\n",
    "raw escapes": f"{RTL}: {RTL}\n{RTL},{RTL}\n".encode(),
    "long field": b"time_s,input_tokens,output_tokens\n0," + b"1" * 200_000 + b",20\n",
    "long header": b"a" * 300_000 + b",b\n1,2\n",
    "open quote": b'time_s,input_tokens,output_tokens\n0,"1,2\n' + b"3,4,5\n" * 100,
    "NaN in a table": b"time_s,input_tokens,output_tokens\nnan,inf,1e308\n-1,-2,1e999\n",
    "packed, cut short": gzip.compress(b"time_s,input_tokens\n" + random.Random(2).randbytes(9000))[:4000],
    "packed twice": gzip.compress(gzip.compress(b"time_s,input_tokens,output_tokens\n0,1,2\n")),
    "alias bomb": "".join(_level(n) for n in range(12)).encode(),
    "merge bomb": ("a0: &a0 {k: 1}\n" + "".join(_merged(n) for n in range(1, 12))).encode(),
    "YAML tag": b"a: !!python/object/apply:os.system ['true']\nb: !!int x\n",
    "GGUF, absurd counts": b"GGUF" + (3).to_bytes(4, "little") + (2**63).to_bytes(8, "little") * 2,
    "GGUF, cut short": b"GGUF\x03\0\0\0\x01",
    "safetensors, absurd length": (2**62).to_bytes(8, "little") + b"{}",
    "Parquet, cut short": b"PAR1" + b"\0" * 50 + b"PAR1",
}  # fmt: skip
PLACES = (
    "missing", "directory", "pipe", "socket", "device", "random device", "link to a pipe", "loop of links",
    "dangling link", "unreadable", "hole",
)  # fmt: skip


def put(kind: str, path: Path) -> None:
    """Something that is no file where one should be, or a file of a terabyte."""
    with suppress(FileNotFoundError):
        path.unlink()
    match kind:
        case "directory":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as bound:
                os.chdir(path.parent)  # the name of a socket has at most 107 bytes
                bound.bind(path.name)
        case "device":
            path.symlink_to("/dev/zero")
        case "random device":
            path.symlink_to("/dev/urandom")
        case "link to a pipe":
            os.mkfifo(path.with_name("a-pipe"))
            path.symlink_to(path.with_name("a-pipe"))
        case "loop of links":
            path.symlink_to(path)
        case "dangling link":
            path.symlink_to(path.with_name("nowhere"))
        case "unreadable":
            path.write_bytes(b"{}")
            path.chmod(0)
        case "hole":
            with path.open("wb") as file:
                file.write(b"{\n")
                file.truncate(1 << 40)
        case _:
            pass


@pytest.fixture
def back() -> Iterator[None]:
    here = Path.cwd()
    yield
    os.chdir(here)


def read(reader: Reader, path: Path) -> str | None:
    """The sentence with which a reader refuses a file; None where it takes it. Anything else is raised."""
    began = time.process_time()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    said = None
    try:
        reader.call(path)
    except UserError as error:
        said = str(error)
    assert time.process_time() - began < MOST_S
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_KIB
    if said is not None:
        assert len(said) < 2000 + len(str(path)) * 3
        assert "\n" not in plain_lines(said)[:-1]
        assert "Errno" not in said
    return said


@pytest.mark.usefixtures("back", "shipped_catalogue")
@pytest.mark.parametrize("kind", PLACES)
@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_what_is_no_file_is_refused_in_a_sentence(reader: Reader, kind: str, tmp_path: Path) -> None:
    if kind == "unreadable" and os.getuid() == 0:
        pytest.skip("root reads everything")
    directory = tmp_path / "it"
    directory.mkdir()
    reader.prepare(directory)
    put(kind, directory / reader.file)
    said = read(reader, directory / reader.file)
    if reader.needed and not (reader.follows and kind in {"missing", "directory", "dangling link", "loop of links"}):
        assert said is not None, "it was taken for a file"


@pytest.mark.parametrize("reader", [reader for reader in READERS if not reader.links], ids=lambda reader: reader.name)
def test_what_lies_outside_a_directory_is_not_read(reader: Reader, tmp_path: Path) -> None:
    directory = tmp_path / "it"
    directory.mkdir()
    reader.prepare(directory)
    path = directory / reader.file
    outside = tmp_path / "outside"
    if path.exists():
        path.rename(outside)
    else:
        outside.write_bytes(b"{}")
    path.symlink_to(outside)
    said = read(reader, path)
    assert said is not None
    assert "it is a link" in said


@pytest.mark.usefixtures("shipped_catalogue")
@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_whatever_a_file_holds_ends_in_a_sentence(reader: Reader, kind: str, tmp_path: Path) -> None:
    directory = tmp_path / "it"
    directory.mkdir()
    reader.prepare(directory)
    (directory / reader.file).write_bytes(CONTENTS[kind])
    read(reader, directory / reader.file)


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "/dev/zero", "/dev/stdin", "/proc/self/mem"])
@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_names_that_are_none_are_refused_in_a_sentence(reader: Reader, name: str, tmp_path: Path) -> None:
    path = Path(name) if name.startswith("/") else tmp_path / name
    if reader.prepare is not Reader.prepare or not reader.links:
        pytest.skip("its file has a name of its own")
    said = read(reader, path)
    assert said is not None or reader.follows or not reader.needed


STRANGE: tuple[Any, ...] = (
    None, "x", "", [], {}, [None], True, -1, 0, 1e308, -1e308, 10**30, 0.5, RTL, [1, "x"], {"a": 1},
)  # fmt: skip


def exchanged(values: Any) -> Iterator[Any]:
    """The same values, with one of them exchanged for each strange one, or left out."""
    if isinstance(values, dict):
        keys = cast("dict[str, Any]", values)
        for key, value in keys.items():
            yield {other: item for other, item in keys.items() if other != key}
            yield from ({**keys, key: strange} for strange in STRANGE)
            yield from ({**keys, key: other} for other in exchanged(value))
    elif isinstance(values, list):
        items = cast("list[Any]", values)
        yield []
        for at, value in enumerate(items[:3]):
            yield from ([*items[:at], strange, *items[at + 1 :]] for strange in STRANGE)
            yield from ([*items[:at], other, *items[at + 1 :]] for other in exchanged(value))


@pytest.mark.usefixtures("shipped_catalogue")
@pytest.mark.parametrize(
    "reader", [reader for reader in READERS if reader.sample is not None], ids=lambda reader: reader.name
)
def test_a_value_of_any_other_kind_ends_in_a_sentence(reader: Reader, tmp_path: Path) -> None:
    reader.prepare(tmp_path)
    path = tmp_path / reader.file
    assert reader.sample is not None
    wrong: dict[str, str] = {}
    for values in exchanged(json.loads(reader.sample)):
        text = json.dumps(values)
        path.write_text(text, encoding="utf-8")
        try:
            reader.call(path)
        except UserError:
            pass
        except Exception as error:  # noqa: BLE001 - all of them are wanted
            wrong[text] = repr(error)
    assert not wrong, f"{len(wrong)} of them, such as {next(iter(wrong.items()))}"


# --- that no reader is missing ---

OPENS = {
    "open_bytes", "open_text", "read_bytes", "read_text", "open_lines", "open_text_lines", "read_yaml", "read_nodes",
}  # fmt: skip


def opened_in(path: Path) -> set[str]:
    """What a module opens files by."""
    found: set[str] = set()
    for node in ast.walk(rooms.tree_of(path)):
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            if name in OPENS:
                found.add(name)
    return found


def test_every_module_that_opens_files_is_in_the_table() -> None:
    known = {f"rackrate.{module}" for reader in READERS for module in reader.modules} | {f"rackrate.{m}" for m in OWN}
    found = {module for module, path in rooms.FILES.items() if opened_in(path) and module != "rackrate.files"}
    assert found - known == set(), "add these to tests/hostile/readers.py"
    # tables are opened by DuckDB, by their names
    assert known - found == {"rackrate.runs.table", "rackrate.workload.traces"} & (known - found)


def test_files_are_opened_by_one_door() -> None:
    """Nothing but `rackrate.files` opens a path by Python's own functions, what ships with rackrate apart."""
    wrong: dict[str, list[int]] = {}
    for module, path in rooms.FILES.items():
        if module.startswith("rackrate.files") or module.removeprefix("rackrate.") in _BY_PATH:
            continue
        for node in ast.walk(rooms.tree_of(path)):
            if not isinstance(node, ast.Call):
                continue
            function = node.func
            by_name = isinstance(function, ast.Name) and function.id == "open"
            by_path = isinstance(function, ast.Attribute) and function.attr in {
                "open", "read_text", "read_bytes", "write_text", "write_bytes",
            }  # fmt: skip
            if by_name or (
                by_path and ast.unparse(function) not in {"files.read_text", "files.read_bytes", "mmap.mmap"}
            ):
                wrong.setdefault(module, []).append(node.lineno)
    assert wrong == {}, "use rackrate.files, or name the module in _BY_PATH"


_BY_PATH = {
    "catalog.apis", "models.hf_defaults", "app.studying", "report.render.html", "engines.quality", "engines.install",
    "engines.vllm", "memory.what_would_fit", "measurement.host", "measurement.energy", "simulation.compiled",
    "steptime.coefficient_file", "steptime.accelerator_errors", "cli.output", "cli.streams",
}  # fmt: skip
"""Modules that read what ships with rackrate, /sys and /proc, or write to /dev/null or where nobody else looks."""


def test_every_option_that_names_a_file_is_in_the_table() -> None:
    group: Any = typer.main.get_command(app)
    found = {
        f"{name} {parameter.opts[0] if parameter.param_type_name == 'option' else parameter.name}"
        for name in COMMANDS
        for parameter in group.commands[name].params
        if "ath" in f"{getattr(parameter, 'bare_type', '')}{parameter.type_descriptor}"
    }
    reads = {option for option in found if option not in WRITES and not option.endswith(" -o")}
    assert reads == set(OPTIONS), "add what is new to OPTIONS or WRITES in tests/hostile/readers.py"
    assert found >= WRITES
    assert set(OPTIONS.values()) <= {reader.name for reader in READERS}
