"""What all tests share."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from priced_runs import CPU, FOUR_T4, Command, Ran, write_run
from rackrate.catalog.load import load_catalog
from rackrate.cli import main

settings.register_profile("rackrate", deadline=None)  # a busy machine is no failure
settings.load_profile("rackrate")


SLOW = Path(__file__).parent / "slow.txt"
"""Tests that `make check` leaves out: files, or FILE::TEST, a line each. What they took is behind them. [s]"""


def slow_tests() -> set[str]:
    """The lines of `SLOW`, relative to tests/."""
    lines = (line.partition("#")[0].strip() for line in SLOW.read_text(encoding="utf-8").splitlines())
    return {line for line in lines if line}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that compares with a clock may be unlucky on a busy machine; three times in a row it is a fault."""
    slow = slow_tests()
    for item in items:
        if item.get_closest_marker("timed"):
            item.add_marker(pytest.mark.flaky(reruns=2))
        file, _, test = item.nodeid.removeprefix("tests/").partition("::")
        if file in slow or f"{file}::{test.partition('[')[0]}" in slow:
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def private_environment(tmp_path: Path) -> dict[str, str]:
    """An environment for a subprocess that sees none of the user's keys, catalogue, cache or configuration."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RACKRATE_")}
    home = tmp_path / "home"
    home.mkdir()
    return kept | {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "RACKRATE_CACHE": str(home / "rackrate"),
    }


# runs whose throughput is known, and commands on them


@pytest.fixture(scope="module")
def shipped_catalogue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No overlays of whoever runs the tests."""
    empty = tmp_path_factory.mktemp("configuration")

    def nowhere(_name: str) -> Path:
        return empty

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("platformdirs.user_config_path", nowhere)
        patch.delenv("RACKRATE_CATALOG", raising=False)
        load_catalog.cache_clear()
        yield
    load_catalog.cache_clear()


@pytest.fixture(scope="module")
def cpu_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "cpu", CPU)


@pytest.fixture(scope="module")
def t4_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "t4", FOUR_T4)


@pytest.fixture
def rackrate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command in this process, in a directory of its own; a traceback would be the test's."""

    def run(*words: object) -> Ran:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["rackrate", *map(str, words)])
        capsys.readouterr()
        code: object = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
        assert isinstance(code, int)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run
