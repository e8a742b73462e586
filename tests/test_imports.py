"""The import graph: which room may know which, no cycles, and nothing heavy before a command asks for it."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import pytest
import typer

import rackrate
from rackrate.cli import COMMANDS, app

PACKAGE = Path(rackrate.__file__).parent

ALL_ROOMS = {
    "errors", "units", "catalog", "workload", "runs",
    "metrics", "models", "memory", "steptime", "validation", "simulate", "measure",
    "economics", "engines", "deploy", "meter", "planner", "study", "report", "web", "importers",
    "calibration",
    "tuning", "app",
}  # fmt: skip
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "units": {"errors"},
    "catalog": {"units"},
    "workload": {"units"},
    "runs": {"workload", "errors"},
    "metrics": {"runs"},
    "models": {"catalog"},
    "memory": {"catalog", "models", "engines"},
    "steptime": {"catalog", "models", "engines"},
    "validation": {"catalog", "engines", "steptime"},
    "simulate": {"workload", "runs"},
    "calibration": {"engines", "steptime", "metrics", "simulate"},
    "measure": {"workload", "runs", "metrics", "catalog", "engines"},
    "importers": {"runs", "metrics", "measure"},
    "economics": {"catalog", "metrics", "runs"},
    "engines": {"catalog"},
    "deploy": {"engines"},
    "meter": {"metrics", "economics"},
    "planner": {"engines", "memory", "steptime", "validation", "simulate", "economics"},
    "study": ALL_ROOMS - {"study", "report", "web"},
    "tuning": {"engines", "metrics", "runs", "memory", "steptime"},
    "report": {"app"},
    "app": ALL_ROOMS - {"app", "report", "web"},
    "web": {"study", "report"},
    "cli": ALL_ROOMS,
}
"""The table of the architecture; what a room may import, that room's own imports may follow."""

HEAVY = (
    "torch", "transformers", "pandas", "numba", "scipy", "numpy", "duckdb", "altair", "genai_prices", "pydantic",
    "rich", "yaml", "psutil", "uvloop",
)  # fmt: skip


def module_name(path: Path) -> str:
    parts = ("rackrate", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py")) if "launch" not in path.parts}
"""Module name to file; engines/launch runs in the engines' own environments, and is not part of the graph."""


def imports_of(path: Path) -> set[str]:
    """Every module of ours that a file names in an import, inside functions and TYPE_CHECKING too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=str(path))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            module = node.module or ""
            for alias in node.names:
                submodule = f"{module}.{alias.name}"
                found.add(submodule if submodule in FILES else module)
    return {name for name in found if name.split(".")[0] == "rackrate"}


GRAPH = {name: imports_of(path) for name, path in FILES.items()}


def room_of(module: str) -> str | None:
    """The room of a module; None for the package itself, which only has the version, and for `python -m`."""
    parts = module.split(".")
    if len(parts) == 1 or parts[1] == "__main__":
        return None
    return parts[1]


def reachable(room: str) -> set[str]:
    rooms: set[str] = set()
    waiting = [room]
    while waiting:
        new = MAY_IMPORT[waiting.pop()] - rooms
        rooms |= new
        waiting.extend(new)
    return rooms


def test_the_walk_sees_imports_inside_functions(tmp_path: Path) -> None:
    file = tmp_path / "late.py"
    file.write_text("def f():\n    from rackrate.catalog import load\n    import rackrate.errors\n", encoding="utf-8")
    assert imports_of(file) == {"rackrate.catalog.load", "rackrate.errors"}


def test_every_import_names_a_module_that_exists() -> None:
    wrong = {name: missing for name, targets in GRAPH.items() if (missing := targets - set(FILES))}
    assert wrong == {}


def test_every_room_is_in_the_table() -> None:
    rooms = {room for module in FILES if (room := room_of(module)) is not None}
    assert rooms <= set(MAY_IMPORT), f"not in the architecture's table: {rooms - set(MAY_IMPORT)}"
    assert {"catalog", "economics", "metrics", "runs", "cli"} <= rooms


@pytest.mark.parametrize("module", sorted(FILES))
def test_a_room_imports_only_what_its_line_allows(module: str) -> None:
    room = room_of(module)
    if room is None:
        assert GRAPH[module] <= {"rackrate.cli"}
        return
    allowed = reachable(room) | {room}
    wrong = {target for target in GRAPH[module] if (other := room_of(target)) is not None and other not in allowed}
    assert wrong == set(), f"{module} ({room}) may import {sorted(allowed)}"


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    try:
        order = list(TopologicalSorter(GRAPH).static_order())
    except CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(error.args[1])}")
    assert set(FILES) <= set(order)


def test_no_package_without_a_subject() -> None:
    vague = {"utils", "util", "common", "helpers", "base"}
    assert [name for name in FILES if vague & set(name.split("."))] == []


def test_no_module_is_over_600_lines() -> None:
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in FILES.items()}
    assert {name: length for name, length in lengths.items() if length > 600} == {}


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
        "import rackrate.measure.probe as asked\n"
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
    assert command.help


def test_a_command_that_is_not_there_is_not_found() -> None:
    ran = subprocess.run([sys.executable, "-m", "rackrate", "mesure"], capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert "Did you mean 'measure'?" in ran.stderr
