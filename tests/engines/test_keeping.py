"""Engines under watch: none of their processes outlives us, crashes are mended, want of memory is recognised."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import pytest

from rackrate.engines.process import EngineCommand, RunningEngine, free_port
from rackrate.engines.supervise import OutOfMemoryAtStartError, Supervisor, follow
from rackrate.errors import EngineError

FAKE = """
import http.server, os, signal, subprocess, sys, time
place, port, family = sys.argv[1], int(sys.argv[2]), sys.argv[3]
if family == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
sleeper = [sys.executable, "-c", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"]
# a worker in a session of its own, whose parent is gone: only a watchdog that adopts orphans finds it
middle = ("import subprocess as s, sys; "
          "print(s.Popen(sys.argv[1:], start_new_session=True, stdout=s.DEVNULL, stderr=s.DEVNULL).pid)")
orphan = subprocess.run([sys.executable, "-c", middle, *sleeper], capture_output=True, text=True).stdout.strip()
child = subprocess.Popen(sleeper).pid
with open(place, "w") as file:
    file.write(f"{os.getpid()} {child} {orphan}")
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
print("ready", flush=True)
http.server.HTTPServer(("127.0.0.1", port), Health).serve_forever()
"""


def command(argv: Sequence[str], port: int) -> EngineCommand:
    return EngineCommand(
        name="fake engine", version=None, argv=argv, environment={}, host="127.0.0.1", port=port, ready_path="/",
        served_name="fake", settings={}, start_timeout_s=20, has_children=True,
    )  # fmt: skip


def fake(tmp_path: Path, family: str = "plain") -> EngineCommand:
    """A server with a child, and a grandchild whose parent is gone; both ignore SIGTERM."""
    script = tmp_path / "fake.py"
    script.write_text(FAKE, encoding="utf-8")
    port = free_port()
    return command([sys.executable, str(script), str(tmp_path / "pids"), str(port), family], port)


def pids(tmp_path: Path) -> list[int]:
    return [int(word) for word in (tmp_path / "pids").read_text(encoding="utf-8").split()]


def running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(what: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)


@pytest.mark.parametrize("family", ["plain", "stubborn"])
def test_stopping_ends_the_whole_family(tmp_path: Path, family: str) -> None:
    with RunningEngine(fake(tmp_path, family), tmp_path / "log") as engine:
        engine.wait_until_ready()
        family_pids = pids(tmp_path)
        assert len(family_pids) == 3
        assert all(map(running, family_pids))
    assert not any(map(running, family_pids))


def test_killing_the_parent_ends_the_whole_family(tmp_path: Path) -> None:
    wanted = fake(tmp_path)
    program = (
        "import pathlib, sys, time\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_keeping import command\n"
        "from rackrate.engines.process import RunningEngine\n"
        f"wanted = command({list(wanted.argv)!r}, {wanted.port})\n"
        f"with RunningEngine(wanted, pathlib.Path({str(tmp_path / 'log')!r})) as engine:\n"
        "    engine.wait_until_ready()\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        family = pids(tmp_path)
        parent.send_signal(signal.SIGKILL)
    wait_until(lambda: not any(map(running, family)))


@pytest.mark.skipif(sys.platform != "linux", reason="the engine is told of its watchdog's death on Linux only")
def test_killing_the_watchdog_itself_ends_the_engine(tmp_path: Path) -> None:
    with RunningEngine(fake(tmp_path), tmp_path / "log") as engine:
        engine.wait_until_ready()
        engine_pid, *workers = pids(tmp_path)
        os.kill(engine.pid, signal.SIGKILL)
        wait_until(lambda: not running(engine_pid))
        for pid in workers:  # nobody is left who could; an engine's own workers watch their parent
            os.kill(pid, signal.SIGKILL)


class Watch:
    """A supervisor in a thread, with waits that are only written down."""

    def __init__(self, wanted: EngineCommand, log: Path, most_restarts: int | None = None) -> None:
        self.waits: list[float] = []
        self.said: list[str] = []
        self.starts: list[float] = []
        self.error: Exception | None = None
        self.supervisor = Supervisor(
            wanted,
            log,
            self.said.append,
            started=self.starts.append,
            most_restarts=most_restarts,
            sleep=self.waits.append,
        )
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            self.supervisor.run()
        except EngineError as error:
            self.error = error

    def __enter__(self) -> Watch:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.supervisor.stopping.set()
        self.thread.join(20)
        assert not self.thread.is_alive()


def test_a_crash_is_mended_at_the_same_url_with_growing_waits(tmp_path: Path) -> None:
    wanted = fake(tmp_path)
    with Watch(wanted, tmp_path / "log") as watch:
        for round_ in range(3):
            wait_until(lambda count=round_ + 1: len(watch.starts) == count)
            with socket.create_connection((wanted.host, wanted.port), timeout=5):
                pass
            os.kill(pids(tmp_path)[0], signal.SIGKILL)
        wait_until(lambda: len(watch.starts) == 4)
        last = pids(tmp_path)
    assert watch.waits == [1.0, 2.0, 4.0]
    assert "SIGKILL" in watch.said[0]
    assert not any(map(running, last))
    assert (tmp_path / "log").read_text(encoding="utf-8").count("ready") == 4


def test_an_engine_that_never_was_ready_is_not_started_again(tmp_path: Path) -> None:
    broken = command([sys.executable, "-c", "print('no such model'); raise SystemExit(3)"], free_port())
    with Watch(broken, tmp_path / "log") as watch:
        watch.thread.join(20)
    assert watch.waits == []
    assert "ended with code 3 at its start" in str(watch.error)
    assert "no such model" in str(watch.error)
    assert not isinstance(watch.error, OutOfMemoryAtStartError)


def test_restarts_end_where_they_were_limited(tmp_path: Path) -> None:
    wanted = fake(tmp_path)
    with Watch(wanted, tmp_path / "log", most_restarts=1) as watch:
        for count in (1, 2):
            wait_until(lambda count=count: len(watch.starts) == count)
            os.kill(pids(tmp_path)[0], signal.SIGKILL)
        watch.thread.join(20)
    assert "it was started again 1 times, no more" in str(watch.error)


@pytest.mark.parametrize(
    "words",
    [
        # each as the engine prints it: vLLM v1 kv_cache_utils.py, PyTorch's CPU and CUDA allocators, ggml-backend
        "ValueError: To serve at least one request with the models's max seq len (8192), (1.00 GiB KV cache is needed",
        "RuntimeError: [enforce fail at alloc_cpu.cpp:119] err == 0. DefaultCPUAllocator: can't allocate memory",
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
        "ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size 99",
    ],
)
def test_want_of_memory_at_the_start_is_recognised(tmp_path: Path, words: str) -> None:
    dies = command([sys.executable, "-c", f"print({words!r}); raise SystemExit(1)"], free_port())
    with pytest.raises(OutOfMemoryAtStartError):
        Supervisor(dies, tmp_path / "log", lambda _: None).run()


def test_what_would_fit_is_a_load_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The advice, taken, needs less than what is free: Llama-3-8B in 24 GiB, 131,072 bytes a token."""
    from rackrate.catalog.load import load_catalog
    from rackrate.memory.what_would_fit import what_would_fit

    class Memory:
        available = 24 * 2**30

    monkeypatch.setattr(psutil, "virtual_memory", Memory)
    said = what_would_fit("llama-3-8b-instruct", requests=64, context_tokens=8192, catalog=load_catalog())
    number = int(said.rsplit("{requests} ", 1)[1].split(".")[0].split()[0])
    weights = 8_030_261_248 * 2
    assert weights + number * 8192 * 131_072 <= Memory.available
    assert weights + 2 * number * 8192 * 131_072 > 0.9 * Memory.available


def test_a_log_is_followed_line_by_line(tmp_path: Path) -> None:
    log, done = tmp_path / "log", threading.Event()
    seen: list[str] = []
    thread = follow(log, seen.append, done)
    with log.open("w", encoding="utf-8") as file:
        file.write("one\ntw")
        file.flush()
        wait_until(lambda: seen == ["one"])
        file.write("o\n")
    wait_until(lambda: seen == ["one", "two"])
    done.set()
    thread.join(5)
    assert not thread.is_alive()
