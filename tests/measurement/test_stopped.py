"""`rackrate measure` that is killed or stopped: what is left of it."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from rackrate.runs.store import JOURNAL, read_run
from scripted_server import ScriptedServer

TTFT_S = 0.020
ITL_S = 0.005
TOKENS = 16
PROBES = 2
"""Requests that a probe sends to a server that takes the first dialect."""


class Measuring:
    """`rackrate measure` in a process of its own, against a server."""

    def __init__(self, server: ScriptedServer, directory: Path, environment: dict[str, str], *options: str) -> None:
        self.directory = directory
        self.environment = environment
        command = [sys.executable, "-m", "rackrate", "measure", "--url", server.url, "--out", str(directory)]
        command += ["--input-tokens", "32", "--output-tokens", str(TOKENS), "-c", "4", "--seconds", "60", *options]
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Measuring:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.communicate()

    def wait_for(self, happened: Callable[[], bool]) -> None:
        """Waits until something has happened; fails if the process ends before."""
        give_up_s = time.monotonic() + 20
        while not happened():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < give_up_s
            time.sleep(0.02)

    @property
    def journal_lines(self) -> int:
        """How many lines are on the disk."""
        path = self.directory / JOURNAL
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def signal(self, number: int) -> tuple[str, str]:
        """Sends a signal and waits for the end; what was printed."""
        self.process.send_signal(number)
        return self.process.communicate(timeout=10)

    def show(self) -> dict[str, Any]:
        """What `rackrate show --json` says of the run."""
        done = subprocess.run(
            [sys.executable, "-m", "rackrate", "show", str(self.directory), "--json"],
            env=self.environment,
            capture_output=True,
            check=True,
        )
        return orjson.loads(done.stdout)


@pytest.mark.timed
def test_a_killed_run_can_be_read(tmp_path: Path, private_environment: dict[str, str]) -> None:
    with (
        ScriptedServer(ttft_s=TTFT_S, itl_s=ITL_S) as server,
        Measuring(server, tmp_path / "run", private_environment) as measuring,
    ):
        measuring.wait_for(lambda: measuring.journal_lines >= 5)
        measuring.signal(signal.SIGKILL)
        assert measuring.process.returncode == -signal.SIGKILL
        view = measuring.show()
        answered = sum(request.ended for request in server.log) - PROBES - 4
    found = read_run(tmp_path / "run")
    assert found.header.state == "running"
    assert found.torn_lines <= 1
    assert 5 <= len(found.requests) <= answered
    assert len(found.requests) >= answered - 8  # two for each in flight: answered, but not yet received
    assert view["state"] == "running"
    assert view["requests"]["finished"] == len(found.requests)
    assert view["requests"]["torn_journal_lines"] == found.torn_lines
    assert view["levels"][0]["output_tok_s"] > 0


@pytest.mark.timed
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_is_kept(number: int, tmp_path: Path, private_environment: dict[str, str]) -> None:
    with (
        ScriptedServer(ttft_s=TTFT_S, itl_s=ITL_S) as server,
        Measuring(server, tmp_path / "run", private_environment) as measuring,
    ):
        measuring.wait_for(lambda: measuring.journal_lines >= 5)
        output, errors = measuring.signal(number)
    assert measuring.process.returncode == 130
    assert "Traceback" not in errors
    assert f"The run is in {tmp_path / 'run'}" in errors
    assert "in flight" in output
    found = read_run(tmp_path / "run")
    assert (found.header.state, found.header.stopped_because) == ("interrupted", "stopped by the user")
    statuses = [request.status for request in found.requests]
    assert statuses.count("stopped") == 4
    assert statuses.count("ok") == len(statuses) - 4 >= 5


@pytest.mark.timed
def test_a_stop_during_the_warm_up_takes_effect_at_once(tmp_path: Path, private_environment: dict[str, str]) -> None:
    with (
        ScriptedServer(ttft_s=0.0, itl_s=0.0, oddities=["stall-first"], spared=PROBES) as server,
        Measuring(server, tmp_path / "run", private_environment) as measuring,
    ):
        measuring.wait_for(lambda: len(server.log) > PROBES)
        try:
            _, errors = measuring.signal(signal.SIGINT)
        except subprocess.TimeoutExpired:
            pytest.fail("still warming up seconds after Ctrl-C")
    assert measuring.process.returncode == 130
    assert "Traceback" not in errors
    found = read_run(tmp_path / "run")
    assert (found.header.state, found.requests) == ("interrupted", [])


def test_a_stop_before_the_measurement_leaves_nothing(tmp_path: Path, private_environment: dict[str, str]) -> None:
    with (
        ScriptedServer(oddities=["stall-first"]) as server,
        Measuring(server, tmp_path / "run", private_environment) as measuring,
    ):
        measuring.wait_for(lambda: bool(server.log))
        output, errors = measuring.signal(signal.SIGINT)
    assert measuring.process.returncode == 130
    assert output == ""
    assert "Traceback" not in errors
    assert not (tmp_path / "run").exists()
    assert errors.splitlines()[-1] == "rackrate: stopped"
