"""Load shapes as they are asked for on the command line: `rackrate trace`, and the flags of `rackrate measure`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rackrate.cli import main
from rackrate.runs.records import Run
from rackrate.runs.store import read_run
from scripted_server import ScriptedServer

OWN = "time_s,input_tokens,output_tokens\n0,40,4\n0.05,60,6\n0.35,80,8\n0.4,4000,4\n0.45,20,2\n"
QUICK = ("--warmup", "0", "--no-prefill", "--seconds", "1")


class Commands:
    """Calls `rackrate` in this process, in a directory of its own, with nothing of the user's environment."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._directory = directory
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: str | Path) -> tuple[int, str, str]:
        self._monkeypatch.setattr(sys, "argv", ["rackrate", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = self._capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    def refused(self, *arguments: str | Path) -> str:
        """The one sentence with which a command refuses."""
        code, output, errors = self(*arguments)
        (line,) = errors.splitlines()
        assert (code, output) == (2, "")
        assert line.startswith("rackrate: ")
        return line

    def measured(self, server: ScriptedServer, *arguments: str | Path) -> Run:
        """The run that `measure` writes."""
        out = self._directory / f"run-{len(list(self._directory.iterdir()))}"
        code, _, errors = self("measure", "--url", server.url, "--out", out, *arguments)
        assert code == 0, errors
        return read_run(out)


@pytest.fixture
def rackrate(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    private_environment: dict[str, str],
) -> Commands:
    for name in set(os.environ) - set(private_environment):
        monkeypatch.delenv(name)
    for name, value in private_environment.items():
        monkeypatch.setenv(name, value)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    (work / "own.csv").write_text(OWN, encoding="utf-8")
    return Commands(work, monkeypatch, capsys)


def test_trace_prints_what_a_file_holds_and_as_json(rackrate: Commands) -> None:
    code, output, _ = rackrate("trace", "own.csv")
    assert code == 0
    assert "5 over 0:00" in output
    assert "8.889 requests/s" in output  # 4 gaps in 0.45 s
    code, output, _ = rackrate("trace", "own.csv", "--json")
    found: dict[str, Any] = json.loads(output)
    assert (found["schema"], found["layout"], found["requests"]) == ("rackrate.trace-summary/1", "csv", 5)
    assert found["input_tokens"]["most"] == 4000
    assert found["shared_share"] is None
    assert ":3: column time_s: 1 is earlier" in rackrate.refused("trace", bad(Path("bad.csv")))


def bad(path: Path) -> Path:
    path.write_text("time_s,input_tokens,output_tokens\n2,1,1\n1,1,1\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--input-tokens", "zipf:a=1"], "--input-tokens: no distribution is called 'zipf'"),
        (["--output-tokens", "0"], "--output-tokens must be a whole number of at least 1, got 0"),
        (["--arrivals", "bursts"], "--arrivals is poisson, constant, gamma:CV"),
        (["--arrivals", "trace"], "needs a file of recorded requests: --trace FILE"),
        (["--arrivals", "steps:5@3", "--rate", "4"], "has rates of its own; leave out --rate"),
        (["--arrivals", "ramp:1-5@3", "-c", "4"], "has rates of its own; leave out --rate, --concurrency"),
        (["--trace", "none.csv"], "none.csv: no such file"),
        (["--trace-speedup", "2"], "--trace-speedup is for recorded requests; give --trace FILE too"),
        (["--longest", "2"], "--longest is for recorded requests; give --trace FILE too"),
        (["--trace", "own.csv", "--trace-speedup", "0"], "--trace-speedup is a number above 0"),
        (["--trace", "own.csv", "--trace-speedup", "2", "--rate", "4"], "--trace-speedup is for a trace sent as it"),
        (["--trace", "own.csv", "--longest", "5"], "own.csv: every request has more than 5 tokens"),
        (["--trace", "own.csv", "--turns", "3"], "a trace has its own (its column session)"),
        (["--think-time", "3"], "--think-time is between the turns of conversations; give --turns too"),
        (["--turns", "0"], "--turns must be a whole number of at least 1, got 0"),
        (["--turns", "2", "--think-time", "-1"], "--think-time must be a number of at least 0, got -1"),
        (["--shared-prefix", "many"], "such as 256:0.8, not 'many'"),
        (["--shared-prefix", "20:2"], "such as 256:0.8, got 20:2"),
        (["--shared-prefix", "128"], "--shared-prefix 128 leaves nothing of prompts of at most 128 tokens"),
    ],
)  # fmt: skip
def test_a_shape_that_cannot_be_is_one_sentence(rackrate: Commands, arguments: list[str], said: str) -> None:
    assert said in rackrate.refused("measure", "--url", "http://h", *arguments)


def test_a_trace_is_sent_as_it_was_recorded_and_faster(rackrate: Commands) -> None:
    with ScriptedServer(ttft_s=0.01, itl_s=0.0) as server:
        run = rackrate.measured(server, "--trace", "own.csv", "--longest", "1000", "--trace-speedup", "2", *QUICK[:3])
        (level,) = run.header.levels
        sent = sorted(run.requests, key=lambda item: item.due_s)
        due = np.array([sending.due_s for sending in sent]) - level.started_s
        assert due == pytest.approx([0.0, 0.025, 0.175, 0.225], abs=1e-6)
        assert [sending.input_tokens for sending in sent] == [40, 60, 80, 20]
        assert [sending.output_tokens for sending in sent] == [4, 6, 8, 2]
        assert (level.kind, level.arrivals, level.ended_because) == ("open", "trace:own.csv", "requests")
        assert level.rate == pytest.approx(3 / 0.225)
        assert (run.header.workload.trace, run.header.workload.input_tokens) == ("own.csv", 50)
        closed = rackrate.measured(server, "--trace", "own.csv", "-c", "2", "--requests", "30", *QUICK[:3])
        pairs = {(request.asked_input_tokens, request.asked_output_tokens) for request in closed.requests}
        assert pairs <= {(40, 4), (60, 6), (80, 8), (4000, 4), (20, 2)}
        assert len(pairs) > 3
        rates = rackrate.measured(server, "--trace", "own.csv", "--rate", "50,100", "--requests", "5", *QUICK[:3])
        assert [level.rate for level in rates.header.levels] == [50, 100]
        poisson = rackrate.measured(
            server, "--trace", "own.csv", "--arrivals", "poisson", "--requests", "5", *QUICK[:3]
        )
        assert poisson.header.levels[0].rate == pytest.approx(4 / 0.45)
        assert poisson.header.levels[0].arrivals == "poisson"


def test_lengths_that_vary_are_sent_as_the_server_counts_them_tiny_and_large_ones(rackrate: Commands) -> None:
    lengths = "lognormal:mean=200,cv=3,max=5000"
    with ScriptedServer(ttft_s=0.0, itl_s=0.0, template_tokens=31) as server:
        run = rackrate.measured(
            server, "--input-tokens", lengths, "--output-tokens", "geometric:mean=5", "-c", "4", "--requests", "80",
            *QUICK,
        )  # fmt: skip
        counts = sorted(item.prompt_tokens for item in server.log[2:])
    asked = sorted(request.asked_input_tokens or 0 for request in run.requests)
    assert asked[0] < 32
    assert asked[-1] > 1000
    assert counts == sorted(
        max(demand, 32) for demand in asked
    )  # a template of 31 and a word is the least that can be sent
    assert {request.output_tokens for request in run.requests} >= {1, 2, 3, 4, 5}
    assert all(request.output_tokens == request.asked_output_tokens for request in run.requests)
    work = run.header.workload
    assert (work.inputs, work.outputs, work.input_tokens) == (lengths, "geometric:mean=5", 200)


def test_steps_take_as_long_as_they_say(rackrate: Commands) -> None:
    with ScriptedServer(ttft_s=0.0, itl_s=0.0) as server:
        run = rackrate.measured(
            server, "--arrivals", "steps:40@0.5,400@0.25", "--input-tokens", "16", "--output-tokens", "2", *QUICK[:3]
        )
    (level,) = run.header.levels
    due = np.array([request.due_s for request in run.requests]) - level.started_s
    assert level.rate == pytest.approx(160)
    assert (due < 0.5).sum() < 45
    assert (due >= 0.5).sum() > 60
    assert due.max() < 0.75


def test_conversations_are_told_by_users_and_printed_so(rackrate: Commands) -> None:
    with ScriptedServer(ttft_s=0.0, itl_s=0.0) as server:
        code, output, _ = rackrate(
            "measure", "--url", server.url, "--turns", "3", "--think-time", "0.01", "-c", "2", "--requests", "12",
            "--input-tokens", "20", "--output-tokens", "3", "--shared-prefix", "10", "--out", "talk", *QUICK,
        )  # fmt: skip
        first = {request.body["messages"][0]["content"] for request in server.log if len(request.body["messages"]) > 1}
    assert code == 0
    assert "2 users" in output
    assert "conversations of 3 turns, 0.01 s apart" in output
    assert "Prompts: +0.0%" in output
    run = read_run(Path("talk"))
    assert (run.header.workload.turns, run.header.workload.think_s, run.header.workload.shared_prefix) == (
        "3",
        "0.01",
        "10",
    )
    assert sorted(request.turn or 0 for request in run.requests) == [0] * 4 + [1] * 4 + [2] * 4
    beginnings = {" ".join(text.split()[:10]) for text in first if len(text.split()) == 13}  # a template of 7
    assert len(beginnings) == 1
    code, output, _ = rackrate("show", "talk", "--json")
    level = json.loads(output)["levels"][0]
    assert level["conversations"] == 4
    assert level["length_error"] == {"input_share": 0.0, "input_p95": 0.0, "output_share": 0.0}
