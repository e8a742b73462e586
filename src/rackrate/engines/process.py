"""An engine as a process of its own: started, waited for, watched, stopped. It never outlives rackrate."""

from __future__ import annotations

import http.client
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from rackrate.engines.environment import child_environment
from rackrate.errors import EngineError
from rackrate.files import open_bytes
from rackrate.files.writing import open_within

KEY_VARIABLE = "RACKRATE_ENGINE_KEY"
"""By which our own programs in engines/launch are told the API key to ask for."""
LOG_LINES = 20
"""How many of an engine's last lines are shown when it dies."""
_LOG_BYTES = 2**18
"""How much of a log is searched for what went wrong."""
_RAISED = re.compile(r"^(?:.*\] |\s*)((?:[A-Za-z_]+\.)*[A-Z]\w*(?:Error|Exception): \S.*)$", re.MULTILINE)
"""An exception's line, after what a logger may put before it."""


@dataclass(frozen=True)
class EngineCommand:
    """How to start an engine, and how to tell that it is ready."""

    name: str
    version: str | None
    argv: Sequence[str]
    environment: Mapping[str, str]
    host: str
    port: int
    ready_path: str
    """Answers 200 once requests can be served."""
    served_name: str
    settings: Mapping[str, str | int | float | bool | None]
    start_timeout_s: float = 120.0
    """How long it may take to be ready."""
    has_children: bool = False
    """Whether it does not watch its standard input itself, or starts processes of its own: a watchdog runs it then."""
    fetches: bool = False
    """Whether it fetches its weights from the hub, with the user's token and proxies."""
    secrets: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """Further variables of its environment, which are never shown."""

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://{self.host}:{self.port}"

    @property
    def watched_argv(self) -> list[str]:
        """The command as it is run: under a watchdog, where nothing else would end it with rackrate."""
        if not self.has_children:
            return list(self.argv)
        return [sys.executable, "-u", str(Path(__file__).parent / "launch" / "watchdog.py"), "--", *self.argv]

    @property
    def shell(self) -> str:
        """The command for a shell."""
        variables = [f"{name}={shlex.quote(value)}" for name, value in self.environment.items()]
        return " ".join([*variables, shlex.join(self.argv)])


def first_raised(log: str) -> str | None:
    """The first Python exception that a log names: what it raises later follows from it, and names it less well.

    >>> first_raised("(Worker pid=7) ERROR [x.py:1] ValueError: too little memory\\nRuntimeError: a worker failed")
    'ValueError: too little memory'
    >>> first_raised("main: exiting due to model loading error") is None
    True
    """
    found = _RAISED.search(log)
    return found.group(1).strip() if found is not None else None


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def require_free(host: str, port: int) -> None:
    """Raises EngineError, naming who has it, where a port is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise EngineError(
                f"port {port} on {host} cannot be used ({error.strerror}{_holder(port)}); choose another with {{port}}",
                field="port",
            ) from None


def _holder(port: int) -> str:
    import psutil

    try:
        for connection in psutil.net_connections("tcp"):
            if (
                connection.status == psutil.CONN_LISTEN
                and connection.laddr
                and connection.laddr[1] == port
                and connection.pid
            ):
                return f", by {psutil.Process(connection.pid).name()}, process {connection.pid}"
    except (psutil.Error, OSError):
        pass
    return ""


class RunningEngine:
    """An engine under way. Use it as a context: leaving it stops the engine."""

    def __init__(self, command: EngineCommand, log: Path, *, append: bool = False) -> None:
        """Starts the process; `wait_until_ready` waits for it. Raises EngineError where it cannot be started."""
        self.command = command
        self.log = log
        require_free(command.host, command.port)
        with open_log(log, append=append) as output:
            self._log_start = os.fstat(output.fileno()).st_size
            try:
                self._process = subprocess.Popen(
                    command.watched_argv,
                    stdin=subprocess.PIPE,  # its end tells the engine that we are gone
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={
                        **child_environment(fetches=command.fetches),
                        **command.environment,
                        **command.secrets,
                    },
                    start_new_session=True,  # Ctrl-C is ours to handle
                )
            except OSError as error:
                raise EngineError(f"{command.name} cannot be started: {command.argv[0]}: {error.strerror}") from None

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """How it ended: its code, or minus the signal that killed it; None while it runs."""
        return self._process.poll()

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def wait_until_ready(
        self, timeout_s: float | None = None, on_wait: Callable[[float], None] = lambda _: None
    ) -> float:
        """Waits until the engine answers, and returns how long that took. [s]

        Raises:
            EngineError: it died (its last log lines are in the message) or was not ready in time.
        """
        began = time.monotonic()
        timeout_s = timeout_s or self.command.start_timeout_s
        while True:
            waited = time.monotonic() - began
            if not self.alive:
                raise EngineError(self.exit_report("at its start"))
            if self._answers():
                return waited
            if waited > timeout_s:
                raise EngineError(f"{self.command.name} was not ready within {timeout_s:g} s\n{self.last_lines()}")
            on_wait(waited)
            time.sleep(0.1)

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection(self.command.host, self.command.port, timeout=2)
        try:
            connection.request("GET", self.command.ready_path)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def exit_report(self, when: str) -> str:
        """What happened to an engine that died: its exit code or signal, and its last log lines."""
        code = self._process.poll()
        how = (
            "is gone"
            if code is None
            else f"ended with code {code}"
            if code >= 0
            else f"was killed by {_signal_name(-code)}"
        )
        last = self.last_lines()
        first = first_raised(self.said())
        why = f": {first}" if first is not None and first not in last else ""
        return f"{self.command.name} {how} {when}{why}; the last lines of {self.log}:\n{last}"

    def said(self) -> str:
        """What it wrote since this start, the last 256 KiB of it."""
        try:
            with open_bytes(self.log, links=False) as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(self._log_start, size - _LOG_BYTES))
                return file.read().decode("utf-8", "replace")
        except OSError:
            return ""

    def last_lines(self) -> str:
        """The last 20 lines of its log since this start, indented."""
        lines = [line.rstrip() for line in self.said().splitlines() if line.strip()][-LOG_LINES:]
        return "\n".join(f"  {line}" for line in lines) or "  (it wrote nothing)"

    def stop(self, grace_s: float = 5.0) -> None:
        """Ends the process: asks first, kills after `grace_s`."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        if self.alive:
            self._process.terminate()
            try:
                self._process.wait(grace_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def open_log(log: Path, *, append: bool = False) -> IO[bytes]:
    """The file for an engine's words, private, and empty unless it is appended to. Raises EngineError."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        return open_within(log, append=append)
    except OSError as error:
        raise EngineError(f"{log}: the engine's log cannot be written ({error.strerror or error})") from None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
