"""Slower checks against the real engine: `make validate`. Prints what it found; exits 1 where a check fails.

1. Client and server agree on tokens: summed usage against the engine's own counters, over a sweep.
2. Two sweeps of the same load agree within their 95 % intervals widened to what a shared machine drifts (25 %).
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from rackrate.engines import llamacpp
from rackrate.engines.process import RunningEngine
from rackrate.engines.settings import LaunchOptions
from rackrate.engines.weights import EMBEDDED, find_weights
from rackrate.runs.store import read_run

DRIFT = 0.25


def measure(url: str, out: Path) -> dict[str, Any]:
    """A sweep of three levels on a running server."""
    command = [
        sys.executable, "-m", "rackrate", "measure", "--url", url, "--input-tokens", "64", "--output-tokens", "32",
        "--concurrency", "1,4,8", "--seconds", "15", "--warmup", "2", "--out", str(out),
    ]  # fmt: skip
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    shown = subprocess.run(
        [sys.executable, "-m", "rackrate", "show", str(out), "--json"], check=True, capture_output=True, text=True
    )
    return json.loads(shown.stdout)


def counter(url: str, name: str) -> float:
    """A counter of the engine's /metrics."""
    with urlopen(url + "/metrics", timeout=10) as answer:  # noqa: S310 - our own server
        text = answer.read().decode()
    return float(re.findall(rf"^{llamacpp.SPEC.metrics[name][0]} (\S+)$", text, re.MULTILINE)[0])


def served(run: Path) -> int:
    """Output tokens of a run, by the usage of its requests."""
    return sum(request.output_tokens or 0 for request in read_run(run).requests)


def say(text: str) -> None:
    """Prints without ending the line."""
    sys.stdout.write(text)
    sys.stdout.flush()


def main() -> None:
    """Runs the checks."""
    failures = 0
    weights = find_weights(EMBEDDED[0].model, say)
    command = llamacpp.command(weights, EMBEDDED[0].model, LaunchOptions(slots=8, context_tokens=256))
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        with RunningEngine(command, place / "engine.log") as engine:
            engine.wait_until_ready()
            views: list[dict[str, Any]] = []
            for number in (1, 2):
                before = counter(command.url, "output_tokens")
                views.append(measure(command.url, place / f"run{number}"))
                counted = counter(command.url, "output_tokens") - before
                output = served(place / f"run{number}")
                unrecorded = 24 + 1 + 2 * 32  # probes and warm-up
                apart = (counted - unrecorded - output) / output
                ok = abs(apart) <= 0.01
                failures += not ok
                say(f"sweep {number}: server counted {counted:.0f} output tokens, {unrecorded} of them not recorded; ")
                say(f"client {output:.0f}; apart {apart * 100:+.2f} % {'ok' if ok else 'FAILED (limit 1 %)'}\n")
        for first, second in zip(views[0]["levels"], views[1]["levels"], strict=True):
            item, other = first["output_tok_s"], second["output_tok_s"]
            half = (first["output_tok_s_half_width"] or 0.0) + (second["output_tok_s_half_width"] or 0.0)
            ok = abs(item - other) <= half + DRIFT * item
            failures += not ok
            say(f"{first['kind']} {first['concurrency']}: {item:.1f} and {other:.1f} output tok/s, ")
            say(f"intervals +-{half:.1f} together {'ok' if ok else 'FAILED'}\n")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
