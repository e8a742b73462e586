"""`rackrate measure` as it is called: exit codes, one sentence for every bad input, JSON on standard output."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rackrate.cli import main
from rackrate.errors import RunError
from rackrate.metrics.summary import summarise
from rackrate.runs.store import HEADER, JOURNAL, read_run
from scripted_answers import Oddity
from scripted_server import ScriptedServer

SMALL = ("--input-tokens", "16", "--output-tokens", "4", "--requests", "6", "-c", "2", "--warmup", "1")


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    output: str
    errors: str


Call = Callable[..., Ended]


@pytest.fixture
def call(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    private_environment: dict[str, str],
) -> Call:
    """Calls `rackrate` with these arguments, in this process but with a private environment and directory."""
    for name in set(os.environ) - set(private_environment):
        monkeypatch.delenv(name)
    for name, value in private_environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)

    def rackrate(*arguments: str | Path) -> Ended:
        monkeypatch.setattr(sys, "argv", ["rackrate", *map(str, arguments)])
        code: Any = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code
        printed = capsys.readouterr()
        return Ended(code or 0, printed.out, printed.err)

    return rackrate


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    """A fast server without oddities."""
    with ScriptedServer(ttft_s=0.002, itl_s=0.001) as running:
        yield running


def sentence(ended: Ended) -> str:
    """The one sentence with which a command refused; nothing else was printed."""
    assert ended.code == 2
    assert ended.output == ""
    (line,) = ended.errors.splitlines()
    assert line.startswith("rackrate: ")
    assert "Traceback" not in line
    return line.removeprefix("rackrate: ")


def last_sentence(ended: Ended) -> str:
    """The same, where lines about what went well came first."""
    *before, last = ended.errors.splitlines()
    assert not any(line.startswith("rackrate: ") or "Traceback" in line for line in before)
    return sentence(Ended(ended.code, ended.output, last))


def test_the_process_itself_exits_with_2(private_environment: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rackrate", "measure", "--url", "ftp://h"]
    done = subprocess.run(command, env=private_environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    said = sentence(Ended(done.returncode, done.stdout, done.stderr))
    assert "ftp://h" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "either --url URL, or --engine llamacpp"),
        (["--url", "http://127.0.0.1:1", "--engine", "llamacpp"], "either --url URL, or --engine llamacpp"),
        (["--url", ""], "--url is empty"),
        (["--url", "ftp://h"], "not an http or https URL"),
        (["--url", "http://h:port"], "is not a URL"),
        (["--url", "http://me:secret@h"], "--key-env"),
        (["--url", "http://h", "--concurrency", "x"], "--concurrency takes whole numbers"),
        (["--url", "http://h", "--concurrency", "1,,2"], "--concurrency takes whole numbers"),
        (
            ["--url", "http://h", "--concurrency", "0"],
            "--concurrency is a whole number of requests in flight from 1 to",
        ),
        (
            ["--url", "http://h", "--max-concurrency", "0"],
            "--max-concurrency is a whole number of requests in flight from 1 to",
        ),
        (["--url", "http://h", "--input-tokens", "0"], "--input-tokens must be a whole number of at least 1, got 0"),
        (
            ["--url", "http://h", "--output-tokens", "-3"],
            "--output-tokens must be a whole number of at least 1, got -3",
        ),
        (["--url", "http://h", "--requests", "0"], "--requests is a whole number of requests from 1 to"),
        (["--url", "http://h", "--seconds", "0"], "--seconds must be above 0"),
        (["--url", "http://h", "--warmup", "-1"], "--warmup is a whole number from 0 to"),
        (["--url", "http://h", "--timeout", "0"], "--timeout is a number of seconds above 0"),
        (["--url", "http://h", "--endpoint", "embeddings"], "--endpoint is chat or completions, not 'embeddings'"),
        (["--url", "http://h", "--key-env", "NO_SUCH_KEY"], "--key-env names NO_SUCH_KEY, which is not set"),
        (["--url", "http://h", "--on", "aws/g4dn.12xlrge"], "did you mean aws/g4dn.12xlarge"),
        (["--engine", "lamacpp"], "no engine is called 'lamacpp'; did you mean llamacpp"),
        (["--engine", "tgi"], "start it yourself and measure it by its URL"),
        (["--engine", "llamacpp"], "run `rackrate engines install llamacpp`"),
        (["--engine", "llamacpp", "--model", "missing.gguf"], "no weights for 'missing.gguf'"),
        (["--engine", "llamacpp", "--model", "/missing.gguf"], "/missing.gguf: there is no such file or directory"),
        (["--engine", "llamacpp", "--model", "."], "is a directory"),
        (
            ["--engine", "llamacpp", "--engine", "naive", "--out", "/dev/null/x"],
            "/dev/null/x: the run cannot be written",
        ),
    ],
)
def test_a_bad_input_is_one_sentence(call: Call, arguments: list[str], said: str) -> None:
    line = sentence(call("measure", *arguments))
    assert said in line
    assert "secret" not in line


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"request": 3', "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ('{"request": "rm -r x"}', "it has no request to resume by"),
        ('{"request": {"request": "measure", "shell": "rm"}}', "keys that this version does not know: shell"),
        ('{"request": {"request": "price"}}', "the request is 'price', not 'measure'"),
        ('{"request": {"request": "measure", "levels": "many"}}', "levels is a list, got 'many'"),
        (
            '{"request": {"request": "measure", "engines": ["llamacpp", "naive"]}}',
            "add: --engine llamacpp --engine naive",
        ),
    ],
)
def test_a_comparison_that_cannot_go_on_is_one_sentence(call: Call, tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "request.json").write_text(content)
    assert said in sentence(call("measure", "--resume", str(tmp_path)))


def test_a_comparison_that_measured_nothing_may_be_begun_otherwise(call: Call, tmp_path: Path) -> None:
    """With no engine installed nothing is there to resume, so the second command is taken as the first was."""
    words = ["measure", "--engine", "llamacpp", "--engine", "naive", "--out", str(tmp_path)]
    for more in ([], ["--concurrency", "2"]):
        assert "no engine could be measured" in call(*words, *more).errors


@pytest.mark.parametrize("option", ["--seconds", "--max-seconds", "--timeout"])
def test_a_duration_that_is_no_number_is_one_sentence(call: Call, option: str) -> None:
    assert option in sentence(call("measure", "--url", "http://127.0.0.1:1", option, "nan"))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("text.gguf", b"this is no model", "is not a GGUF file (it begins with b'this')"),
        ("empty.gguf", b"", "is not a GGUF file"),
        ("short.gguf", b"GGUF\x03\0\0\0", "is cut short: 8 bytes"),
        ("old.gguf", b"GGUF\x01\0\0\0" + bytes(16), "has GGUF version 1"),
        ("bare.gguf", b"GGUF\x03\0\0\0" + bytes(16), "0 tensors"),
    ],
)
def test_a_corrupt_weights_file_is_one_sentence(
    call: Call, tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    line = sentence(call("measure", "--engine", "llamacpp", "--model", path))
    assert line.startswith(str(path))
    assert said in line


def test_nobody_there(call: Call) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    line = sentence(call("measure", "--url", url))
    assert line.startswith(f"{url}: no connection")
    assert "is the server running" in line


def test_a_key_that_is_missing_wrong_or_right(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with ScriptedServer(key="sesame", ttft_s=0.0, itl_s=0.0) as server:
        assert "refuses the key (401)" in sentence(call("measure", "--url", server.url))
        monkeypatch.setenv("MY_KEY", "wrong-and-secret")
        line = sentence(call("measure", "--url", server.url, "--key-env", "MY_KEY"))
        assert "refuses the key (401)" in line
        assert "wrong-and-secret" not in line
        monkeypatch.setenv("MY_KEY", "sesame\n")
        assert "the key in MY_KEY has characters" in sentence(
            call("measure", "--url", server.url, "--key-env", "MY_KEY")
        )
        monkeypatch.setenv("RACKRATE_API_KEY", "sesame")
        assert call("measure", "--url", server.url, *SMALL, "--out", tmp_path / "run").code == 0
    for path in (tmp_path / "run").iterdir():
        assert b"sesame" not in path.read_bytes()


def test_a_model_that_is_not_served(call: Call) -> None:
    with ScriptedServer(models=("alpha", "beta")) as server:
        line = sentence(call("measure", "--url", server.url, "--model", "gamma"))
        assert "does not serve 'gamma'; it serves alpha, beta" in line
        assert "choose one with --model: alpha, beta" in sentence(call("measure", "--url", server.url))


def test_a_server_that_does_not_stream(call: Call, tmp_path: Path) -> None:
    with ScriptedServer(oddities=["not-streaming"], ttft_s=0.0) as server:
        assert "does not stream" in last_sentence(call("measure", "--url", server.url, "--out", tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_fewer_input_tokens_than_the_template_has(call: Call, server: ScriptedServer) -> None:
    line = last_sentence(call("measure", "--url", server.url, "--input-tokens", "3"))
    assert "3 input tokens cannot be sent" in line
    assert "--endpoint completions" in line


def test_a_directory_that_holds_a_run_is_not_touched(call: Call, server: ScriptedServer, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / HEADER).write_text("mine")
    asked = len(server.paths)
    line = sentence(call("measure", "--url", server.url, *SMALL, "--out", run))
    assert f"{run} already holds a run" in line
    assert "--out" in line
    assert (run / HEADER).read_text() == "mine"
    assert len(server.paths) == asked  # refused before anything was sent


def test_a_run_that_cannot_be_written(call: Call, server: ScriptedServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    line = last_sentence(call("measure", "--url", server.url, *SMALL, "--out", tmp_path / "file"))
    assert "the run cannot be written" in line
    assert (tmp_path / "file").read_text() == "mine"


def test_success_prints_json_and_nothing_else(
    server: ScriptedServer, private_environment: dict[str, str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-m", "rackrate", "measure", "--url", server.url, *SMALL, "--out", str(run)]
    done = subprocess.run(
        [*command, "--json", "-"], env=private_environment, capture_output=True, text=True, check=True
    )
    view = json.loads(done.stdout)
    assert view["schema"] == "rackrate.run-summary/2"
    assert view["state"] == "complete"
    assert view["requests"] == {"finished": 6, "failed": {}, "torn_journal_lines": 0}
    (level,) = view["levels"]
    assert (level["kind"], level["concurrency"], level["requests"]) == ("closed", 2, 6)
    assert level["mean_input_tokens"] == 16
    assert level["mean_output_tokens"] == 4
    facts = view["provenance"]
    assert facts["model"]["requested"] == "scripted"
    assert facts["engine"]["url"] == server.url
    assert facts["workload"]["length_forced"] == "ignore_eos+min_tokens"
    assert facts["workload"]["prompt_fixed_tokens"] == server.template_tokens
    if sys.platform == "linux":  # elsewhere, who listens on a port is not for everyone to see
        assert facts["machine"]["origin"] == "detected"
    assert f"Next: rackrate price {run}" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in run.iterdir()) == [JOURNAL, HEADER]
    assert len(read_run(run).requests) == 6


def test_json_to_a_file_is_what_show_prints(call: Call, server: ScriptedServer, tmp_path: Path) -> None:
    run, file = tmp_path / "run", tmp_path / "summary.json"
    ended = call("measure", "--url", server.url, *SMALL, "--out", run, "--json", file)
    assert ended.code == 0
    assert "in flight" in ended.output
    shown = call("show", run, "--json")
    assert json.loads(file.read_text()) == json.loads(shown.output)


@pytest.mark.parametrize(
    ("name", "why"),
    [("", "it is a directory"), ("file/below", "is a file, not a directory"), ("x" * 300, "File name too long")],
)
def test_that_json_cannot_be_written_is_said_before_anything_is_sent(
    call: Call, server: ScriptedServer, tmp_path: Path, name: str, why: str
) -> None:
    (tmp_path / "file").write_text("")
    before = len(server.log)
    ended = call("measure", "--url", server.url, *SMALL, "--out", tmp_path / "run", "--json", tmp_path / name)
    assert ended.code == 2
    assert why in ended.errors
    assert len(server.log) == before


def test_both_endpoints_are_measured(call: Call, server: ScriptedServer, tmp_path: Path) -> None:
    before = len(server.log)
    for endpoint in ("chat", "completions"):
        ended = call("measure", "--url", server.url, *SMALL, "--endpoint", endpoint, "--out", tmp_path / endpoint)
        assert ended.code == 0
        assert read_run(tmp_path / endpoint).header.workload.endpoint == endpoint
    assert {request.path for request in server.log[before:]} == {"/v1/chat/completions", "/v1/completions"}


def test_a_run_without_usage_is_priced_only_by_force_and_says_so(call: Call, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with ScriptedServer(oddities=["no-usage"], ttft_s=0.002, itl_s=0.001) as server:
        ended = call(
            "measure", "--url", server.url, *SMALL[:4], "--requests", "40", "-c", "2", "--out", run, "--json", "-"
        )
    assert ended.code == 0
    view = json.loads(ended.output)
    assert "no-usage" in view["levels"][0]["caveats"]
    assert "no-usage" in view["definitions"]
    assert view["levels"][0]["mean_output_tokens"] is None

    line = sentence(call("price", run, "--usd-per-hour", "1"))
    assert "no-usage" in line
    assert "--force" in line
    forced = call("price", run, "--usd-per-hour", "1", "--force")
    assert forced.code == 0
    assert "no-usage" in forced.output
    as_json = call("price", run, "--usd-per-hour", "1", "--force", "--json")
    assert "no-usage" in json.loads(as_json.output)["serving"]["caveats"]


def test_a_run_in_which_nearly_all_failed_is_kept_and_exits_with_2(call: Call, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with ScriptedServer(oddities=["status-500"], spared=2, ttft_s=0.0, itl_s=0.0) as server:
        ended = call("measure", "--url", server.url, "-c", "60", "--warmup", "0", "--out", run)
    assert ended.code == 2
    last = ended.errors.splitlines()[-1]
    assert last.startswith("rackrate: nearly every request failed (")
    assert "x http-5xx" in last
    assert str(run) in last
    found = read_run(run)
    assert (found.header.state, found.header.stopped_because) == ("failed", "nearly every request failed")
    assert call("show", run).code == 0


# --- going on, and going on for long enough ---


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_run_that_was_killed_is_gone_on_with(
    tmp_path: Path, server: ScriptedServer, private_environment: dict[str, str], call: Call, processes: str
) -> None:
    directory = tmp_path / "run"
    arguments = (
        "measure", "--url", server.url, "--input-tokens", "16", "--output-tokens", "24", "-c", "1,2,4",
        "--seconds", "1.5", "--precision", "none", "--warmup", "1", "--no-prefill", "--out", str(directory),
        "--processes", processes,
    )  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "rackrate", *arguments],
        env=private_environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(400):  # until the second level is under way
            with contextlib.suppress(RunError):
                run = read_run(directory)
                if any(request.level == 1 for request in run.requests):
                    break
            time.sleep(0.05)
        else:
            pytest.fail("the measurement did not begin its second level")
    finally:
        process.kill()
        process.wait()
    before = read_run(directory)
    header = directory / HEADER
    header.write_text(before.header.model_copy(update={"request": None}).model_dump_json())
    assert "an older version began the run" in sentence(call("measure", "--resume", directory))
    header.write_text(before.header.model_dump_json())
    ended = call("measure", "--resume", directory)
    assert ended.code == 0, ended.errors
    run = read_run(directory)
    assert run.header.state == "complete"
    assert len(run.header.resumed) == 1
    assert run.header.created == before.header.created
    assert run.header.command == before.header.command  # so that a run stopped twice can be resumed twice
    assert [(level.concurrency, level.superseded) for level in run.header.levels] == [
        (1, False), (2, True), (2, False), (4, False),
    ]  # fmt: skip
    assert [summary.concurrency for summary in summarise(run)] == [1, 2, 4]
    assert run.requests[: len(before.requests)] == before.requests  # nothing that was measured is lost
    ended_s = max(request.done_s for request in before.requests)
    assert min(request.sent_s for request in run.requests[len(before.requests) :]) > ended_s  # one clock goes on
    numbers = [request.index for request in run.requests]
    assert len(set(numbers)) == len(numbers)  # a number is a prompt: none is sent twice, to be found in a cache
    starts = [level.started_s for level in run.header.levels]
    assert starts == sorted(starts)
    assert "there is nothing to resume" in sentence(call("measure", "--resume", directory))


@pytest.mark.timed
def test_a_level_ends_once_its_figures_are_known_well_enough(
    server: ScriptedServer, call: Call, tmp_path: Path
) -> None:
    asked = (
        "--input-tokens",
        "16",
        "--output-tokens",
        "4",
        "-c",
        "4",
        "--seconds",
        "0.3",
        "--no-prefill",
        "--json",
        "-",
    )
    wide = call("measure", "--url", server.url, *asked, "--precision", "50%", "--out", tmp_path / "wide")
    never = call(
        "measure",
        "--url",
        server.url,
        *asked,
        "--precision",
        "0.01%",
        "--max-seconds",
        "2",
        "--out",
        tmp_path / "never",
    )
    (level,) = json.loads(wide.output)["levels"]
    assert level["ended_because"] == "precision"
    assert level["output_tok_s_half_width"] < 0.5 * level["output_tok_s"]
    assert "known as well as asked" in wide.errors
    (level,) = json.loads(never.output)["levels"]
    assert level["ended_because"] == "time"
    assert "time was up" in never.errors
    assert "--precision takes a share" in sentence(call("measure", "--url", server.url, "--precision", "good"))


@pytest.mark.parametrize("processes", [1, 2])
def test_answers_are_kept_where_that_is_asked_for(
    server: ScriptedServer, call: Call, tmp_path: Path, processes: int
) -> None:
    common = ("measure", "--url", server.url, *SMALL, "--processes", str(processes))
    assert call(*common, "--keep-answers", "--out", tmp_path / "kept").code == 0
    assert call(*common, "--out", tmp_path / "not").code == 0
    kept = [request.text for request in read_run(tmp_path / "kept").requests]
    assert len(kept) == 6
    assert all(text is not None and len(text.split()) == 4 for text in kept)
    assert {request.text for request in read_run(tmp_path / "not").requests} == {None}


@pytest.mark.parametrize(
    ("option", "oddity", "fault"),
    [
        ("--first-token-timeout", "stall-first", "timeout-first-token"),
        ("--gap-timeout", "stall", "timeout-gap"),
        ("--timeout", "stall", "timeout-total"),
    ],
)
def test_timeouts_are_as_asked(call: Call, tmp_path: Path, option: str, oddity: Oddity, fault: str) -> None:
    with ScriptedServer(ttft_s=0.0, itl_s=0.001, oddities=[oddity], spared=3) as server:
        ended = call(
            "measure", "--url", server.url, *SMALL, "--requests", "2", option, "0.7", "--out", tmp_path / "run"
        )
    assert ended.code == 2
    assert f"2 x {fault}" in ended.errors


def test_two_load_processes_are_one_run(server: ScriptedServer, call: Call, tmp_path: Path) -> None:
    ended = call("measure", "--url", server.url, *SMALL, "--processes", "2", "--out", tmp_path / "run")
    assert ended.code == 0, ended.errors
    run = read_run(tmp_path / "run")
    assert (run.header.processes, len(run.requests)) == (2, 6)
    assert "--processes is a whole number from 1 to" in sentence(
        call("measure", "--url", server.url, "--processes", "0")
    )


def test_ray_is_an_extra(server: ScriptedServer, call: Call) -> None:
    if importlib.util.find_spec("ray") is None:
        assert "pip install 'rackrate[ray]'" in call("measure", "--url", server.url, *SMALL, "--ray", "auto").errors
