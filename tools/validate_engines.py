"""Slow checks on engines in environments of their own, part of `make validate`. Those not installed are skipped.

1. Each answers through `rackrate measure`, and its own token counter, where it has one, agrees with the usage within
   1 %.
2. vLLM at its best serves at least ten times what the naive loop does.
3. kill -9 of the process that started vLLM leaves none of its processes behind.
4. vLLM with tensor parallel 3 answers (the embedded model has 9 heads and 3 KV heads: 2 is refused, 3 divides).
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from rackrate.engines.known import launcher
from rackrate.engines.process import free_port

MODEL = "smollm2-135m-instruct"
LOADS = {"naive": "1,2", "transformers": "1,8", "vllm": "1,64"}
LEAST_RATIO = 10.0


def say(ok: bool, text: str) -> bool:
    """Prints a check, and passes on whether it failed."""
    sys.stdout.write(f"{'ok    ' if ok else 'FAILED'} {text}\n")
    sys.stdout.flush()
    return not ok


def measure(engine: str, out: Path) -> dict[str, Any]:
    """A short sweep, as a user would run it."""
    command = [
        sys.executable, "-m", "rackrate", "measure", "--engine", engine, "--model", MODEL, "--concurrency",
        LOADS[engine], "--input-tokens", "64", "--output-tokens", "64", "--seconds", "8", "--max-seconds", "30",
        "--warmup", "2", "--no-prefill", "--out", str(out), "--json", "-",
    ]  # fmt: skip
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        raise RuntimeError(ran.stderr.strip().splitlines()[-1] if ran.stderr else "it failed")
    return json.loads(ran.stdout)


def best(view: dict[str, Any]) -> float:
    """Output token/s at the best load."""
    return max(level["output_tok_s"] or 0.0 for level in view["levels"])


def check_engines(names: list[str], place: Path) -> int:
    """Checks 1 and 2."""
    failures, rates = 0, dict[str, float]()
    for name in names:
        view = measure(name, place / name)
        rates[name] = best(view)
        miscounts: list[float] = [level["miscount"] for level in view["levels"] if level["miscount"] is not None]
        worst = max(map(abs, miscounts), default=None)
        counted = f"usage and its own counter differ by {worst:.2%}" if worst is not None else "it has no counter"
        answered = view["requests"]["finished"] > 0 and not view["requests"]["failed"]
        failures += say(answered and (worst or 0.0) <= 0.01, f"{name}: {rates[name]:.1f} output token/s; {counted}")
    if {"naive", "vllm"} <= set(rates):
        ratio = rates["vllm"] / rates["naive"]
        failures += say(ratio >= LEAST_RATIO, f"vLLM serves {ratio:.1f} times what the naive loop does")
    return failures


def serving(port: int, *words: str) -> subprocess.Popen[bytes]:
    """`rackrate serve --engine vllm`, ready."""
    command = [sys.executable, "-m", "rackrate", "serve", MODEL, "--engine", "vllm", "--port", str(port), "--requests"]
    process = subprocess.Popen([*command, "4", "--context", "256", "-q", "--json", *words], stdout=subprocess.PIPE)
    if process.stdout is None or not process.stdout.readline():  # the facts are printed once it is ready
        raise RuntimeError("it did not start")
    return process


def alive(process: psutil.Process) -> bool:
    """Whether it still runs."""
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def check_kill(place: Path) -> int:
    """Check 3."""
    del place
    process = serving(free_port())
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 15
    while any(map(alive, family)) and time.monotonic() < deadline:
        time.sleep(0.2)
    left = [item.pid for item in family if alive(item)]
    return int(
        say(not left and len(family) > 2, f"kill -9: of {len(family)} processes {len(left)} are left after 15 s")
    )


def check_tensor_parallel(place: Path) -> int:
    """Check 4."""
    port = free_port()
    process = serving(port, "--set", "tensor_parallel=3", "--set", "threads_bind=nobind", "--set", "eager=on")
    try:
        command = [
            sys.executable, "-m", "rackrate", "measure", "--url", f"http://127.0.0.1:{port}", "-c", "2",
            "--requests", "8", "--input-tokens", "48", "--output-tokens", "16", "--warmup", "1",
            "--out", str(place / "tp3"), "--json", "-",
        ]  # fmt: skip
        view = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
    return int(
        say(
            view["requests"]["finished"] == 8,
            f"vLLM with tensor parallel 3 answered {view['requests']['finished']} of 8",
        )
    )


def main() -> None:
    """Runs the checks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["engines", "kill", "tp"], action="append")
    only = parser.parse_args().only or ["engines", "kill", "tp"]
    ready = [name for name in LOADS if launcher(name).is_ready()]
    for name in set(LOADS) - set(ready):
        sys.stdout.write(f"skipped: {name} is not installed (rackrate engines install {name})\n")
    failures = 0
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        if "engines" in only:
            failures += check_engines(ready, place)
        if "vllm" in ready:
            failures += check_kill(place) if "kill" in only else 0
            failures += check_tensor_parallel(place) if "tp" in only else 0
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
