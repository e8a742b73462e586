"""The import graph and other rules of the house: floors, no circles, what only shells may, sizes, light imports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

import rooms
from conftest import slow_tests
from rackrate.cli import COMMANDS, app
from rooms import FILES, FLOORS, SHELLS, room_of

GRAPH = {name: rooms.imports_of(path) for name, path in FILES.items()}
INSIDE = [name for name in FILES if room_of(name) not in {None, *SHELLS}]
"""Modules of no shell."""

# what is still to go: each number may only fall
CLI_LINES = 3_600
FLAGS_LEFT = {"importers": 2, "measurement": 4}
"""Options in texts of a room: of other load generators, of nvidia-smi and rocm-smi; none is ours."""
LONG_COMMANDS: dict[str, int] = {}
"""Lines of a command's own body, where there are more than 40."""
AMBIENT_LEFT = {
    "rackrate.engines.install": {"environ"},  # RACKRATE_CACHE
    "rackrate.engines.sglang": {"environ"},  # whose Python runs it
    "rackrate.engines.vllm": {"environ"},
    # to stay: an engine or a worker is a process, which is given its parent's environment and leaves Ctrl-C to it
    "rackrate.engines.environment": {"environ"},
    "rackrate.measurement.worker": {"signals"},
    "rackrate.measurement.worker_pool": {"environ"},
    # to stay: decorators compile, or do not, before anybody could pass anything in
    "rackrate.simulation.compiled": {"environ"},
}
"""Modules of no shell that read the environment or install signal handlers."""
GLOBAL_CATALOGUE: dict[str, int] = {}
"""Calls of load_catalog() outside cli/context.py and the Python API."""

HEAVY = (
    "torch", "transformers", "pandas", "numba", "scipy", "numpy", "duckdb", "altair", "genai_prices", "pydantic",
    "rich", "yaml", "psutil", "uvloop", "highspy",
)  # fmt: skip


def test_the_walk_sees_imports_inside_functions(tmp_path: Path) -> None:
    file = tmp_path / "late.py"
    file.write_text("def f():\n    from rackrate.catalog import load\n    import rackrate.errors\n", encoding="utf-8")
    assert rooms.imports_of(file) == {"rackrate.catalog.load", "rackrate.errors"}


def test_every_import_names_a_module_that_exists() -> None:
    wrong = {name: missing for name, targets in GRAPH.items() if (missing := targets - set(FILES))}
    assert wrong == {}


def test_every_room_has_a_floor() -> None:
    there = {room for module in FILES if (room := room_of(module)) is not None}
    assert there <= {room for floor in FLOORS.values() for room in floor}
    assert {"catalog", "economics", "metrics", "runs", "cli"} <= there


@pytest.mark.parametrize("module", sorted(FILES))
def test_a_room_imports_from_the_floors_below_and_its_neighbours(module: str) -> None:
    room = room_of(module)
    if room is None:
        assert GRAPH[module] <= {"rackrate.cli"}
        return
    allowed = rooms.may_import(room) | {room}
    wrong = {target for target in GRAPH[module] if room_of(target) not in allowed}
    assert wrong == set(), f"{module} ({room}) may import {sorted(allowed)}"


def test_a_floor_may_not_import_what_is_above_it() -> None:
    assert rooms.may_import("errors") == set()
    assert "economics" not in rooms.may_import("runs") | rooms.may_import("economics")
    assert {"catalog", "errors"} <= rooms.may_import("engines")
    assert SHELLS.isdisjoint(rooms.may_import("app") | rooms.may_import("report") | rooms.may_import("cli"))
    assert "report" not in rooms.may_import("app")


@pytest.mark.parametrize("edges", [GRAPH, rooms.room_edges()], ids=["modules", "rooms"])
def test_nothing_is_imported_in_a_circle(edges: dict[str, set[str]]) -> None:
    assert rooms.circle(edges) == []


def test_a_circle_is_found() -> None:
    assert set(rooms.circle({"a": {"b"}, "b": {"c"}, "c": {"b"}})) == {"b", "c"}


def test_only_shells_know_the_command_line_and_the_web() -> None:
    outer = {"typer", "click", "fastapi", "starlette", "flask", "aiohttp"}
    wrong = {
        (module, name)
        for module in INSIDE
        for name, taken in rooms.named_in(FILES[module])
        if name.split(".")[0] in outer or name.startswith("rich.live") or (name, taken) == ("rich", "live")
    }
    assert wrong == set()


def test_only_shells_read_the_environment_take_signals_and_exit() -> None:
    wrong = {module: more for module in INSIDE if (more := _ambient(module) - AMBIENT_LEFT.get(module, set()))}
    assert wrong == {}


def _ambient(module: str) -> set[str]:
    return rooms.ambient_uses(FILES[module])


def test_ambient_uses_are_seen(tmp_path: Path) -> None:
    file = tmp_path / "rude.py"
    file.write_text(
        "import os, sys\nfrom typer import Exit\n"
        "def f(loop):\n    os.environ['A']\n    loop.add_signal_handler(2, f)\n    print(sys.argv)\n"
        "    raise SystemExit\n",
        encoding="utf-8",
    )
    assert rooms.ambient_uses(file) == {"environ", "argv", "signals", "exit"}


def test_rooms_know_no_options_of_the_command_line() -> None:
    """Engines do: their own argument lists are made of options; so are those of nvidia-smi and rocm-smi."""
    counts: dict[str, int] = {}
    named: dict[str, list[str]] = {}
    for module in INSIDE:
        room = room_of(module)
        if room is not None and room != "engines" and (flags := rooms.flags_in(FILES[module])):
            counts[room] = counts.get(room, 0) + len(flags)
            named.setdefault(room, []).extend(f"{module}:{flag}" for flag in flags)
    more = {room: named[room] for room, count in counts.items() if count > FLAGS_LEFT.get(room, 0)}
    assert more == {}


def test_options_are_seen_in_texts_and_not_in_docstrings(tmp_path: Path) -> None:
    file = tmp_path / "texts.py"
    file.write_text('def f(a):\n    """Say --no."""\n    return f"give {a} --more-of, not a--b"\n', encoding="utf-8")
    assert rooms.flags_in(file) == ["3: --more-of"]


def test_the_catalogue_is_passed_in() -> None:
    counts: dict[str, int] = {}
    for module, path in FILES.items():
        room = room_of(module)
        if room not in {None, "api"} and module not in {"rackrate.cli.context", "rackrate.catalog.load"}:
            counts[str(room)] = counts.get(str(room), 0) + len(rooms.calls(path, "load_catalog"))
    assert {room: count for room, count in counts.items() if count > GLOBAL_CATALOGUE.get(room, 0)} == {}


def test_no_package_without_a_subject() -> None:
    vague = {"utils", "util", "common", "helpers", "base"}
    assert [name for name in FILES if vague & set(name.split("."))] == []


def test_no_module_is_over_600_lines() -> None:
    lengths = {name: rooms.lines_of(path) for name, path in FILES.items()}
    assert {name: length for name, length in lengths.items() if length > 600} == {}


def test_no_room_is_most_of_the_house() -> None:
    lines = rooms.room_lines()
    total = sum(lines.values())
    assert lines["cli"] <= CLI_LINES
    assert {room: count for room, count in lines.items() if count > 0.12 * total} == {}


def test_a_command_is_options_one_call_and_one_rendering() -> None:
    bodies = rooms.command_bodies(COMMANDS)
    assert set(bodies) == set(COMMANDS)
    assert {name: lines for name, lines in bodies.items() if lines > LONG_COMMANDS.get(name, 40)} == {}


def test_the_page_on_the_architecture_has_every_room() -> None:
    page = rooms.PAGE.read_text(encoding="utf-8")
    assert page == rooms.page_with_table(page), "run: python tools/rooms.py --write"


@pytest.mark.parametrize("module", ["rackrate", "rackrate.cli"])
def test_importing_the_command_line_loads_nothing_heavy(module: str) -> None:
    code = f"import json, sys, {module}; print(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(json.loads(ran.stdout))
    assert "rackrate" in loaded
    assert loaded & set(HEAVY) == set()


def test_a_request_is_asked_for_before_what_only_answers_need_is_imported() -> None:
    code = (
        "import json, sys\n"
        "import rackrate.measurement.probe as asked\n"
        "async def probe(*_):\n"
        "    print(json.dumps(sorted(sys.modules)))\n"
        "    raise SystemExit(0)\n"
        "asked.probe = probe\n"
        "sys.argv = ['rackrate', 'measure', '--url', 'http://127.0.0.1:9', '--concurrency', '4', '--requests', '9']\n"
        "from rackrate.cli import main\n"
        "main()\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(json.loads(ran.stdout))
    assert "rackrate.cli.measure" in loaded
    assert loaded & {"numpy", "duckdb", "psutil", "rich", "rackrate.runs.records", "rackrate.runs.store"} == set()
    commands = {f"rackrate.cli.{name.replace('-', '_')}" for name in COMMANDS} | {"rackrate.cli.import_"}
    assert loaded & commands == {"rackrate.cli.measure"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_found_by_its_name(name: str) -> None:
    group: Any = typer.main.get_command(app)
    command = group.get_command(typer.Context(group), name)
    assert command.name == name
    assert " ".join(str(command.help).split()).startswith(str(COMMANDS[name]))


def test_help_lists_what_each_command_does_and_imports_none() -> None:
    code = (
        "import json, sys\n"
        "sys.argv = ['rackrate', '--help']\n"
        "from rackrate.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    print(json.dumps(sorted(sys.modules)))\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    *shown, modules = ran.stdout.splitlines()
    listed = [line.split()[0] for line in shown if line.startswith("  ")]
    assert set(COMMANDS) <= set(listed)
    assert {f"rackrate.cli.{name}" for name in COMMANDS} & set(json.loads(modules)) == set()


def test_a_command_that_is_not_there_is_not_found() -> None:
    ran = subprocess.run([sys.executable, "-m", "rackrate", "mesure"], capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert "Did you mean 'measure'?" in ran.stderr


def test_the_slow_tests_are_there() -> None:
    """A test that moves takes its line in tests/slow.txt along."""
    tests = Path(__file__).parent
    gone = [
        line
        for line in slow_tests()
        for file, _, name in [line.partition("::")]
        if not (tests / file).exists() or (name and f"def {name}(" not in (tests / file).read_text(encoding="utf-8"))
    ]
    assert gone == []
