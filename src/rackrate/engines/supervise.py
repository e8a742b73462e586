"""Keeps an engine running at one URL: starts it, waits, starts it again when it dies, and stops it cleanly."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from rackrate.engines.memory_errors import ran_out_of_memory
from rackrate.engines.process import EngineCommand, RunningEngine
from rackrate.errors import EngineError
from rackrate.files import open_bytes

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
WELL_S = 60.0
_AT_ONCE = 1 << 20
"""Bytes of a log that are read in one go."""
_LONGEST = 1 << 14
"""Bytes of a line that are shown."""
"""An engine that ran for so long was well: the wait before its next start is the first one again."""


class OutOfMemoryAtStartError(EngineError):
    """The engine needs more memory than there is."""


def back_off_s(failures: int) -> float:
    """How long to wait before the next start, after so many ends in a row. [s]

    >>> [back_off_s(n) for n in (1, 2, 3, 7, 50)]
    [1.0, 2.0, 4.0, 60.0, 60.0]
    """
    return min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(failures - 1, 30))


@dataclass
class Supervisor:
    """One engine under watch."""

    command: EngineCommand
    log: Path
    notify: Callable[[str], None]
    on_wait: Callable[[float], None] = lambda _: None
    """Is called while the engine starts, with the seconds waited."""
    started: Callable[[float], None] = lambda _: None
    """Is called whenever the engine is ready, with the seconds that took."""
    most_restarts: int | None = None
    """After so many restarts it gives up; None: never, if it was ready once."""
    sleep: Callable[[float], None] | None = None
    stopping: threading.Event = field(default_factory=threading.Event)
    restarts: int = 0

    def run(self) -> None:
        """Runs until `stopping` is set.

        Raises:
            OutOfMemoryAtStartError: it never was ready, for want of memory.
            EngineError: it never was ready, or died more often than allowed.
        """
        failures, once_ready = 0, False
        while not self.stopping.is_set():
            began = time.monotonic()
            with RunningEngine(self.command, self.log, append=self.restarts > 0) as engine:
                ready = self._wait(engine)
                if ready:
                    once_ready = True
                    self._watch(engine)
                if self.stopping.is_set():
                    return
                exit_report = engine.exit_report("while it served" if ready else "at its start")
                short_of_memory = ran_out_of_memory(engine.said(), engine.code)
            if not once_ready:
                raise (OutOfMemoryAtStartError if short_of_memory else EngineError)(exit_report)
            failures = 1 if ready and time.monotonic() - began > WELL_S else failures + 1
            if self.most_restarts is not None and self.restarts >= self.most_restarts:
                raise EngineError(f"{exit_report}\nit was started again {self.restarts} times, no more")
            wait_s = back_off_s(failures)
            why = ", though it ran out of memory" if short_of_memory and engine.code != -signal.SIGKILL else ""
            self.notify(f"{exit_report}\nstarting it again in {wait_s:g} s{why}")
            self._pause(wait_s)
            self.restarts += 1

    def _wait(self, engine: RunningEngine) -> bool:
        """Whether it became ready. A start that takes too long is said, and counts as an end."""

        def on_wait(waited_s: float) -> None:
            self.on_wait(waited_s)
            if self.stopping.is_set():
                raise _Stopped

        try:
            took_s = engine.wait_until_ready(on_wait=on_wait)
        except _Stopped:
            return False
        except EngineError as error:
            if engine.alive:
                self.notify(str(error))
                engine.stop()
            return False
        self.started(took_s)
        return True

    def _watch(self, engine: RunningEngine) -> None:
        while engine.alive and not self.stopping.wait(0.2):
            pass

    def _pause(self, seconds: float) -> None:
        if self.sleep is not None:
            self.sleep(seconds)
        else:
            self.stopping.wait(seconds)


class _Stopped(Exception):  # noqa: N818 - not an error: it unwinds a wait
    """Asked to stop while the engine started."""


def follow(log: Path, show: Callable[[str], None], until: threading.Event) -> threading.Thread:
    """Shows the lines of a log as they come, in a thread of its own, until told to stop."""

    def run() -> None:
        position, rest = 0, b""
        while True:
            last = until.is_set()
            try:
                size = log.stat().st_size
                if size < position:  # a new file
                    position, rest = 0, b""
                with open_bytes(log, links=False) as file:
                    file.seek(position)
                    new = file.read(_AT_ONCE)
                position += len(new)
                *lines, rest = (rest + new).split(b"\n")
                if len(rest) > _LONGEST:
                    lines, rest = [*lines, rest], b""
                for line in lines:
                    show(line[:_LONGEST].decode("utf-8", "replace"))
                if len(new) == _AT_ONCE:
                    continue
            except OSError:
                pass
            if last:
                return
            until.wait(0.2)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread
