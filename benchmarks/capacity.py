"""How long each tool takes to say what rate a server sustains. `python benchmarks/capacity.py`, before peers.py.

The server is a queue whose answer is known: c slots, each answer takes the same time, Poisson arrivals: M/D/c. The
objective is "p95 ttft < LIMIT", so the true capacity is the rate at which the 95th percentile of the wait reaches
LIMIT - TTFT; it is simulated here (a million arrivals a rate), by nothing of rackrate's.
"""

from __future__ import annotations

import argparse
import heapq
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
from peer_tools import MODEL, ROOT, TOOLS, Json, Tool, environments, install, program, surroundings, tokenizer_directory

SLOTS, TTFT_S, ITL_S, TOKENS = 8, 0.04, 0.005, 32
LIMIT_S = 0.2
SERVICE_S = TTFT_S + ITL_S * (TOKENS - 1)
PORT = 8198
_LONGEST_S = 900.0


@dataclass
class Found:
    """What a tool found."""

    tool: str
    how: str
    seconds: float
    """From the command to its end."""
    levels: int
    capacity: float | None
    """Requests per second; None where its levels do not enclose the objective."""
    fault: str | None = None
    points: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    """Of each load its rate and its 95th percentile of TTFT. [request/s, s]"""


Answer = tuple[int, float | None, list[tuple[float, float]]]
"""Loads tried, the capacity, and the points it is from."""


def true_capacity(arrivals: int = 1_000_000) -> float:
    """The largest Poisson rate at which 95 % of the waits are within the limit. [request/s]"""
    gaps = np.random.default_rng(0).exponential(1.0, arrivals)
    low, high = 0.5 * SLOTS / SERVICE_S, SLOTS / SERVICE_S
    for _ in range(12):
        rate = (low + high) / 2
        free = [0.0] * SLOTS
        waits = np.empty(arrivals)
        for at, due in enumerate(np.cumsum(gaps / rate).tolist()):
            start = max(due, free[0])
            heapq.heapreplace(free, start + SERVICE_S)
            waits[at] = start - due
        low, high = (rate, high) if np.percentile(waits, 95) <= LIMIT_S - TTFT_S else (low, rate)
    return (low + high) / 2


def crossing(points: Sequence[tuple[float, float]]) -> float | None:
    """Where a figure that rises with the rate reaches the limit, on straight lines between levels."""
    ordered = sorted(points)
    for (rate, value), (next_rate, next_value) in pairwise(ordered):
        if value <= LIMIT_S < next_value:
            return rate + (next_rate - rate) * (LIMIT_S - value) / (next_value - value)
    return None


def _load(path: Path) -> Json:
    return cast("Json", json.loads(path.read_text(encoding="utf-8")))


def rackrate(url: str, out: Path, _: list[str]) -> list[str]:
    """The search for a rate."""
    return [
        "python", "-m", "rackrate", "measure", "--url", url, "--model", MODEL, "--slo",
        f"p95 ttft < {LIMIT_S * 1000:g}ms", "--input-tokens", "64", "--output-tokens", str(TOKENS), "--no-prefill",
        "--out", str(out / "run"), "--json", str(out / "summary.json"),
    ]  # fmt: skip


def read_rackrate(out: Path) -> Answer:
    """As `rackrate show` says it: the highest rate that was sustained below the lowest that was not."""
    levels = _load(out / "summary.json")["levels"]
    opened = [level for level in levels if level["kind"] == "open"]
    failed = [level["rate"] for level in opened if not level["slo_met"] or "overloaded" in level["caveats"]]
    held = [level["rate"] for level in opened if level["rate"] not in failed]
    held = [rate for rate in held if not failed or rate < min(failed)]
    return (
        len(levels),
        max(held, default=None),
        [(item["rate"], item["ttft"]["p95"]) for item in opened if item["ttft"]],
    )


def guidellm(url: str, out: Path, _: list[str]) -> list[str]:
    """Its sweep, Poisson, eight loads of 15 s."""
    return [
        "guidellm", "run", "--backend", f"kind=openai_http,target={url},model={MODEL}", "--profile",
        "kind=sweep,sweep_size=8,strategy_type=poisson", "--constraint", "kind=max_duration,seconds=15", "--tokenizer",
        f"kind=huggingface_auto,model={tokenizer_directory()}", "--data",
        f"kind=synthetic_text,prompt_tokens=64,output_tokens={TOKENS}", "--output",
        f"kind=json,path={out / 'result.json'}", "--disable-console-interactive",
    ]  # fmt: skip


def read_guidellm(out: Path) -> Answer:
    """The 95th percentile of TTFT by rate."""
    benchmarks = _load(out / "result.json")["benchmarks"]
    points: list[tuple[float, float]] = []
    for benchmark in benchmarks:
        rate: Any = benchmark["config"]["strategy"].get("rate")
        if rate:
            ttft = benchmark["metrics"]["time_to_first_token_ms"]["successful"]["percentiles"]["p95"]
            points.append((float(rate), ttft / 1000))
    return len(benchmarks), crossing(points), points


def vllm(url: str, out: Path, server: list[str]) -> list[str]:
    """Its sweep over request rates, eight loads of 300 requests, which starts the server itself."""
    bench = (
        f"vllm bench serve --backend openai-chat --base-url {url} --endpoint /v1/chat/completions --model {MODEL} "
        f"--tokenizer {tokenizer_directory()} --dataset-name random --random-input-len 64 --random-output-len {TOKENS} "
        "--num-prompts 300 --ignore-eos --percentile-metrics ttft --metric-percentiles 95"
    )
    return [
        "vllm", "bench", "sweep", "serve_workload", "--serve-cmd", " ".join(server), "--bench-cmd", bench,
        "--workload-var", "request_rate", "--workload-iters", "8", "--num-runs", "1", "-o", str(out / "sweep"),
    ]  # fmt: skip


def read_vllm(out: Path) -> Answer:
    """The 95th percentile of TTFT by rate."""
    found = [
        _load(path)
        for path in (out / "sweep").rglob("*.json")
        if "summary" not in path.name and "p95" in path.read_text()
    ]
    points = [
        (float(match["request_rate"]), match["p95_ttft_ms"] / 1000) for match in found if match["request_rate"] != "inf"
    ]
    return len(found), crossing(points), points


SEARCHES = {
    "rackrate": ('measure --slo "p95 ttft < 200ms"', rackrate, read_rackrate),
    "guidellm": ("sweep, 8 loads of 15 s, Poisson", guidellm, read_guidellm),
    "vllm": ("bench sweep serve_workload, 8 loads of 300 requests", vllm, read_vllm),
}


def measure(tool: Tool) -> Found:
    """One search on a fresh server."""
    how, command, read = SEARCHES[tool.name]
    server_words = [
        sys.executable, str(ROOT / "benchmarks" / "scripted.py"), "--port", str(PORT), "--slots", str(SLOTS),
        "--ttft-ms", str(TTFT_S * 1000), "--itl-ms", str(ITL_S * 1000),
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        out = Path(place)
        words = command(f"http://127.0.0.1:{PORT}", out, server_words)
        server = None
        if tool.name != "vllm":
            server = subprocess.Popen(server_words, stderr=subprocess.DEVNULL)
            time.sleep(1.0)
        began_s = time.perf_counter()
        environment = surroundings(tool)
        environment["PATH"] = f"{Path(program(tool, words[0])).parent}:{environment['PATH']}"
        try:
            with (out / "said.txt").open("wb") as said:
                code = subprocess.run(
                    [program(tool, words[0]), *words[1:]], stdout=said, stderr=said, env=environment, cwd=out,
                    timeout=_LONGEST_S, check=False,
                ).returncode  # fmt: skip
        except subprocess.TimeoutExpired:
            return Found(tool.name, how, _LONGEST_S, 0, None, "took too long")
        finally:
            if server is not None:
                server.send_signal(signal.SIGTERM)
                server.wait()
        seconds = time.perf_counter() - began_s
        if code != 0:
            tail = (out / "said.txt").read_text(errors="replace").strip().splitlines()[-2:]
            return Found(tool.name, how, seconds, 0, None, f"exit {code}: {' / '.join(tail)}"[-200:])
        levels, capacity, points = read(out)
    return Found(tool.name, how, seconds, levels, capacity, points=sorted(points))


def part(found: Sequence[Found], truth: float) -> str:
    """The part of docs/bench.md."""
    lines = [
        "## Time to an answer",
        "",
        f'What Poisson rate does a server sustain within "p95 ttft < {LIMIT_S * 1000:g}ms"? It has {SLOTS} slots, '
        f"{SERVICE_S * 1000:g} ms an answer and a queue: {SLOTS / SERVICE_S:.1f} requests/s at most, and {truth:.1f} "
        "within the objective (M/D/c, simulated). Of a sweep, the answer is where p95 crosses the limit on straight "
        "lines between its loads.",
        "",
        "| tool | how | time | loads | answer, requests/s | error |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for match in found:
        answer = f"{match.capacity:.1f}" if match.capacity is not None else match.fault or "its loads do not enclose it"
        error = f"{match.capacity / truth - 1:+.1%}" if match.capacity is not None else "-"
        lines.append(f"| {match.tool} | {match.how} | {match.seconds:.0f} s | {match.levels} | {answer} | {error} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measures the tools asked for, and keeps what others found before."""
    parser = argparse.ArgumentParser(description="How long each tool takes to find a server's capacity.")
    parser.add_argument("--tools", default=",".join(SEARCHES))
    parser.add_argument("--state", type=Path, default=environments() / "capacity.json")
    asked = parser.parse_args()
    kept: dict[str, Any] = json.loads(asked.state.read_text()) if asked.state.exists() else {}
    truth = cast("float", kept.get("truth") or true_capacity())
    found = {name: Found(**item) for name, item in kept.get("found", {}).items()}
    for tool in TOOLS:
        if tool.name in SEARCHES and tool.name in asked.tools.split(","):
            fault = install(tool)
            found[tool.name] = measure(tool) if fault is None else Found(tool.name, "-", 0.0, 0, None, fault)
            asked.state.write_text(
                json.dumps({"truth": truth, "found": {name: asdict(item) for name, item in found.items()}})
            )
    text = part([found[name] for name in SEARCHES if name in found], truth)
    asked.state.with_suffix(".md").write_text(text, encoding="utf-8")  # peers.py puts it into docs/bench.md
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
