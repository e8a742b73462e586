"""Token/s of the embedded engine by how long its threads spin, quiet and beside busy processes.

`python benchmarks/embedded_spin.py --busy 0` and `--busy 3`. One engine for each count, all started before; short runs
are interleaved, forwards and backwards, so that what else the machine does meets all of them alike. Medians count.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from rackrate.engines import llamacpp
from rackrate.engines.known import launcher
from rackrate.engines.process import RunningEngine
from rackrate.engines.settings import LaunchOptions
from rackrate.engines.weights import EMBEDDED

AT_ONCE = 4
LIBRARY = "library"
"""Stands for libgomp's own count."""


def answer(port: int, tokens: int) -> int:
    """Tokens of one answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    asked = {"model": "m", "prompt": "one two three four " * 8, "max_tokens": tokens, "ignore_eos": True}
    connection.request("POST", "/v1/completions", json.dumps(asked), {"Content-Type": "application/json"})
    found = json.loads(connection.getresponse().read())
    connection.close()
    return int(found["usage"]["completion_tokens"])


def main() -> None:
    """Prints medians and extremes, one line a count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts", default=f"{LIBRARY},0,100,1000,10000")
    parser.add_argument("--busy", type=int, default=0, help="processes that compute without end beside it")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=24)
    given = parser.parse_args()
    counts = given.counts.split(",")
    weights = launcher("llamacpp").find(EMBEDDED[0].model, print)
    rates: dict[str, list[float]] = {count: [] for count in counts}
    with ExitStack() as stack, ThreadPoolExecutor(AT_ONCE) as threads:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ports: dict[str, int] = {}
        for count in counts:
            command = llamacpp.command(weights, "m", LaunchOptions(slots=AT_ONCE, context_tokens=512))
            command = replace(command, environment={} if count == LIBRARY else {"GOMP_SPINCOUNT": count})
            engine = stack.enter_context(RunningEngine(command, place / f"{count}.log"))
            engine.wait_until_ready()
            ports[count] = command.port
        for _ in range(given.busy):
            process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            stack.callback(process.kill)
        for turn in range(given.rounds + 1):
            for count in counts if turn % 2 else reversed(counts):
                began = time.perf_counter()
                done = sum(threads.map(answer, [ports[count]] * AT_ONCE, [given.tokens] * AT_ONCE))
                if turn:  # the first round warms up
                    rates[count].append(done / (time.perf_counter() - began))
    for count, found in rates.items():
        sys.stdout.write(
            f"{count:>8}  {given.busy} busy  median {statistics.median(found):6.1f} tok/s  "
            f"({min(found):.1f} to {max(found):.1f}, {len(found)} runs)\n"
        )


if __name__ == "__main__":
    main()
