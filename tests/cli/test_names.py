"""Hints name options that exist on the command that is asked, whoever gives them."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import rooms
from priced_runs import CPU, Command, write_run
from rackrate.app.request_json import Request, hints_of
from rackrate.cli import COMMANDS
from rackrate.cli.names import namer_of, names_of, option_name

ELSEWHERE = {
    "report": {"tokens_per_second", "mix", "model"},  # of a stated throughput, which has no run to report on
    "calibrate": {"validated"},  # of --report
}
"""Fields of its requests that a command leaves alone, or sets by something else."""


def _module(command: str) -> str:
    return {"import": "import_"}.get(command, command.replace("-", "_"))


def _requests_of(command: str) -> set[type[Request]]:
    """The requests that a command makes, by the names in its module."""
    path = rooms.PACKAGE / "cli" / f"{_module(command)}.py"
    found: set[type[Request]] = set()
    for node in ast.walk(rooms.tree_of(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rackrate.app"):
            module = importlib.import_module(str(node.module))
            taken = [getattr(module, alias.name, None) for alias in node.names]
            found |= {kind for kind in taken if isinstance(kind, type) and issubclass(kind, Request)}
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_each_field_of_a_commands_requests_is_an_option_or_argument_of_it(command: str) -> None:
    known = set(names_of(command).values())
    fields = {field for kind in _requests_of(command) for field in hints_of(kind)}
    missing = {field for field in fields if namer_of(command)(field) not in known}
    assert missing == ELSEWHERE.get(command, set())


def _fields() -> Iterator[str]:
    """Fields that errors of rooms name."""
    for module, path in rooms.FILES.items():
        if rooms.room_of(module) in {None, *rooms.SHELLS}:
            continue
        for node in ast.walk(rooms.tree_of(path)):
            if isinstance(node, ast.keyword) and node.arg in {"field", "fields"}:
                for inner in ast.walk(node.value):
                    if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
                        yield inner.value


NAMED = set(_fields())
RUN = {field for field in NAMED if option_name(field).startswith("rackrate ")}
"""Commands that messages say to run."""
FIELDS = NAMED - RUN


def test_each_field_that_an_error_names_is_of_some_command() -> None:
    assert len(FIELDS) > 50
    assert {option_name(command).split()[1] for command in RUN} <= set(COMMANDS)
    everywhere = {name: shown for command in COMMANDS for name, shown in names_of(command).items()}
    assert {field for field in FIELDS if option_name(field, everywhere) not in everywhere.values()} == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_field_is_called_by_what_the_command_has_or_by_words(command: str) -> None:
    known = set(names_of(command).values())
    for field in FIELDS:
        name = namer_of(command)(field)
        assert name in known or name == field.replace("_", " ")


def test_a_command_without_the_option_says_it_in_words(tmp_path: Path, rackrate: Command) -> None:
    ran = rackrate("fleet", "--capacity", "1/s", "--traffic", "1/s", "--offer", "aws/g4dn.12xlarge:reserved-5y")
    assert ran.code == 2
    assert "--price-kind" not in ran.err
    run = write_run(tmp_path / "run", CPU)
    beside = rackrate("side-by-side", run, "--offer", "aws/g4dn.12xlarge")
    assert "or use --as-if" in " ".join(beside.out.split())
