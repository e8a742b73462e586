"""Soak: serve and load an engine for a while, and see whether memory or open files grow. Part of `make validate`.

`rackrate serve` keeps the embedded engine at a URL and `rackrate measure` loads it for the whole time. Of each process
of both, every five seconds: proportional set size, open files, threads. What counts as growth is taken from the last
two thirds: a line through the memory of a family that would add more than 5 % of it in an hour and over 8 MiB in the
time measured, or more open files in the second half of them than in the first.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from rackrate.engines.process import free_port
from rackrate.runs.store import read_run

EVERY_S = 5.0
MOST_GROWTH_PER_HOUR = 0.05
LEAST_GROWTH_BYTES = 8 * 2**20


@dataclass
class Family:
    """A process and its children, looked at over time."""

    name: str
    root: psutil.Process
    at_s: list[float] = field(default_factory=list[float])
    bytes_: list[int] = field(default_factory=list[int])
    files: list[int] = field(default_factory=list[int])
    threads: list[int] = field(default_factory=list[int])

    def look(self, now_s: float) -> None:
        """One sample; none where the family is ending."""
        memory = files = threads = 0
        try:
            for process in [self.root, *self.root.children(recursive=True)]:
                memory += process.memory_full_info().pss
                files += process.num_fds()
                threads += process.num_threads()
        except psutil.Error:
            return
        self.at_s.append(now_s)
        self.bytes_.append(memory)
        self.files.append(files)
        self.threads.append(threads)

    def verdict(self) -> tuple[bool, str]:
        """Whether nothing grew, and the figures."""
        begin = len(self.at_s) // 3
        at, memory = np.array(self.at_s[begin:]), np.array(self.bytes_[begin:], dtype=float)
        slope = float(np.polyfit(at, memory, 1)[0])  # byte/s
        grew, typical = slope * float(at[-1] - at[0]), float(np.median(memory))
        leaks = slope * 3600 > MOST_GROWTH_PER_HOUR * typical and grew > LEAST_GROWTH_BYTES
        early, late = (int(np.median(part)) for part in np.array_split(np.array(self.files[begin:]), 2))
        return not leaks and late <= early, (
            f"{self.name}: {typical / 2**20:.1f} MiB (median), {slope * 3600 / 2**20:+.2f} MiB an hour; "
            f"open files {early} then {late}; threads {self.threads[begin]} then {self.threads[-1]}"
        )


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--concurrency", type=int, default=4)
    parser.add_argument("--engine", default="llamacpp")
    options = parser.parse_args()
    url_port, seconds = free_port(), options.minutes * 60
    ours = [sys.executable, "-m", "rackrate"]
    failures = 0
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as ending:
        run = Path(temporary) / "run"
        server = subprocess.Popen(
            [*ours, "serve", "smollm2-135m-instruct", "--engine", options.engine, "--port", str(url_port), "--json",
             "-q", "--requests", str(2 * options.concurrency), "--context", "1536"],
            stdout=subprocess.PIPE,
        )  # fmt: skip
        ending.callback(server.wait, 30)
        ending.callback(server.send_signal, signal.SIGINT)
        if server.stdout is None or not server.stdout.readline():
            raise RuntimeError("the engine did not start")
        client = subprocess.Popen(
            [*ours, "measure", "--url", f"http://127.0.0.1:{url_port}", "-c", str(options.concurrency), "--seconds",
             str(seconds), "--max-seconds", str(seconds), "--precision", "none", "--no-prefill", "--input-tokens",
             "lognormal:mean=64,cv=1", "--output-tokens", "lognormal:mean=32,cv=1", "--out", str(run)],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        families = [
            Family("serve and engine", psutil.Process(server.pid)),
            Family("measure", psutil.Process(client.pid)),
        ]
        began = time.monotonic()
        while client.poll() is None and time.monotonic() - began < seconds + 120:
            time.sleep(EVERY_S)
            if time.monotonic() - began < seconds:
                for family in families:
                    family.look(time.monotonic() - began)
        if client.wait() != 0:
            sys.exit("FAILED the load ended with an error")
        requests = read_run(run).requests
        failed = sum(not request.ok for request in requests)
        failures += failed > 0
        sys.stdout.write(f"{options.minutes:g} minutes, {len(requests)} requests, {failed} failed\n")
        for family in families:
            ok, text = family.verdict()
            failures += not ok
            sys.stdout.write(f"{'ok    ' if ok else 'FAILED'} {text}\n")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
