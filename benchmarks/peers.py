"""Load generators side by side on one scripted server. `python benchmarks/peers.py` writes docs/bench.md.

Each tool runs on one core and the server (scripted.py) on another: chat completions, streaming, usage on, 64 output
tokens. The truth is the server's log: when a request was read, and when each token was written. Results are kept
in a file as they come, so that the benchmark can be done in pieces (`--tools`, `--cases`) and taken up again.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
import psutil
from peer_tools import (
    ROOT,
    TOKENS,
    TOOLS,
    Case,
    Json,
    Tool,
    environments,
    install,
    make_tokenizer,
    program,
    surroundings,
    version,
)

TTFT_S, ITL_S = 0.05, 0.01
PORT = 8197
_TASKSET = shutil.which("taskset") or ""
_NO_DELAY = ("--ttft-ms", "0", "--itl-ms", "0")
_LONGEST_S = 150.0
_OTHERS = 0.15
"""Of a core: what the machine itself takes; more disturbs a measurement."""
_CLOSE_S = 0.0002
"""Arrivals closer than this count as a clump: 1 - exp(-200/s * 0.2 ms) = 3.9 % of a Poisson process's gaps."""

CASES = (
    Case("1", 12, streams=1),
    Case("16", 96, streams=16),
    Case("64", 256, streams=64),
    Case("128", 512, streams=128),
    Case("256", 1024, streams=256),
    Case("no-delay", 2048, streams=64, server=_NO_DELAY),
    Case("packets", 4096, streams=64, server=(*_NO_DELAY, "--chunks-per-write", "16")),
    Case("poisson", 1000, rate=200.0),
)


@dataclass
class Result:
    """One tool, one case. Seconds, tokens per second; what the server saw unless it says otherwise."""

    tool: str
    case: str
    tool_version: str
    date: str
    fault: str | None = None
    """Why there is no result."""
    answers: int = 0
    tok_s: float | None = None
    """Of the stretch in which all streams were busy (first tenth and last tenth of the answers left out)."""
    first_request_s: float | None = None
    """From the command to the first request read."""
    cpu_s_per_1000: float | None = None
    """CPU of the tool, all its processes, from the first request to the last token. [s per 1,000 tokens]"""
    peak_bytes: int | None = None
    """Proportional set size of all its processes together."""
    ttft_error_mean_s: float | None = None
    """What the tool says, less the truth."""
    ttft_error_p99_s: float | None = None
    itl_error_p99_s: float | None = None
    other_cores: float | None = None
    """Cores that everything but the tool and the server took meanwhile."""
    rate: float | None = None
    gap_cv: float | None = None
    close_gaps: float | None = None


class Watch(threading.Thread):
    """CPU and memory of a process and all its descendants, read ten times a second, and the CPU of all others."""

    def __init__(self, pid: int, server_pid: int) -> None:
        super().__init__(daemon=True)
        self._root = psutil.Process(pid)
        self._server = psutil.Process(server_pid)
        self._others: list[tuple[float, float]] = []
        self._ended = threading.Event()
        self._of: dict[int, float] = {}
        self.cpu: list[tuple[float, float]] = []
        """(time, CPU seconds until then)"""
        self.peak_bytes = 0

    def run(self) -> None:
        turn = 0
        while not self._ended.wait(0.1):
            used = 0
            try:
                tree = [self._root, *self._root.children(recursive=True)]
            except psutil.Error:
                continue
            for process in tree:
                try:
                    times = process.cpu_times()
                    self._of[process.pid] = times.user + times.system
                    if turn % 5 == 0:
                        used += process.memory_full_info().pss
                except psutil.Error:
                    continue
            now, ours = time.perf_counter(), sum(self._of.values())
            self.cpu.append((now, ours))
            every, server = psutil.cpu_times(), self._server.cpu_times()
            busy = every.user + every.nice + every.system + every.irq + every.softirq
            self._others.append((now, busy - ours - server.user - server.system))
            self.peak_bytes = max(self.peak_bytes, used)
            turn += 1

    def stop(self) -> None:
        """Ends it."""
        self._ended.set()
        self.join()

    def cpu_between(self, start_s: float, end_s: float) -> float | None:
        """CPU seconds of the tool between two moments."""
        return _between(self.cpu, start_s, end_s)

    def others_between(self, start_s: float, end_s: float) -> float | None:
        """CPU seconds of everything but the tool and the server, between two moments."""
        return _between(self._others, start_s, end_s)


def _between(readings: list[tuple[float, float]], start_s: float, end_s: float) -> float | None:
    if len(readings) < 2:
        return None
    times, used = zip(*readings, strict=True)
    return float(np.interp(end_s, times, used) - np.interp(start_s, times, used))


def run(tool: Tool, case: Case, core: int, server_core: int) -> Result:
    """One tool on one case."""
    result = Result(tool.name, case.name, version(tool), datetime.now(UTC).isoformat(timespec="seconds"))
    with tempfile.TemporaryDirectory() as place:
        out, log = Path(place), Path(place) / "truth.jsonl"
        server = subprocess.Popen(
            [
                _TASKSET, "-c", str(server_core), sys.executable, str(ROOT / "benchmarks" / "scripted.py"),
                "--port", str(PORT), "--log", str(log), *case.server,
            ],
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            time.sleep(1.0)
            words = tool.command(case, f"http://127.0.0.1:{PORT}", out)
            with (out / "said.txt").open("wb") as said:
                began_s = time.perf_counter()
                process = subprocess.Popen(
                    [_TASKSET, "-c", str(core), program(tool, words[0]), *words[1:]],
                    stdout=said,
                    stderr=said,
                    env=surroundings(tool),
                    cwd=out,
                    start_new_session=True,
                )
                watch = Watch(process.pid, server.pid)
                watch.start()
                try:
                    code: int | str = process.wait(_LONGEST_S)
                except subprocess.TimeoutExpired:
                    code = f"it took more than {_LONGEST_S:.0f} s"
                finally:
                    watch.stop()
                    _end_session(process.pid)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()
        if code != 0:
            tail = (out / "said.txt").read_text(errors="replace").strip().splitlines()[-3:]
            result.fault = f"{code}: {' / '.join(tail)}"[-300:]
            return result
        _read_truth(result, tool, case, out, log, watch, began_s)
    return result


def _end_session(pid: int) -> None:
    """Ends what a tool has left running, in the session that was made for it."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _read_truth(result: Result, tool: Tool, case: Case, out: Path, log: Path, watch: Watch, began_s: float) -> None:
    rows = [cast("Json", json.loads(line)) for line in log.read_text().splitlines()[1:]]
    rows = [row for row in rows if row["done_s"] is not None and row["streamed"]]
    # probes and warm-up requests come first; what was asked for is the end of the log
    rows.sort(key=lambda row: row["read_s"])
    result.first_request_s = rows[0]["read_s"] - began_s
    rows = rows[-case.requests :]
    result.answers = len(rows)
    result.peak_bytes = watch.peak_bytes
    first_s, last_s = rows[0]["read_s"], max(row["done_s"] for row in rows)
    tokens = sum(row["tokens"] for row in rows)
    used = watch.cpu_between(first_s, last_s)
    # in a shorter run, the ten readings a second say too little
    result.cpu_s_per_1000 = used / tokens * 1000 if used is not None and last_s - first_s > 1.0 else None
    others = watch.others_between(first_s, last_s)
    if others is not None and last_s - first_s > 1.0:
        result.other_cores = others / (last_s - first_s)
    done = np.sort([row["done_s"] for row in rows])
    low, high = int(len(done) * 0.1), int(len(done) * 0.9)
    if case.streams and case.streams > 1:
        result.tok_s = _rate(rows, float(done[low]), float(done[high]))
    if not case.server:
        said = tool.read(out)
        ttft = np.array([row["writes_s"][0] - row["read_s"] for row in rows])
        gaps = np.concatenate([np.diff(row["writes_s"]) for row in rows])
        if said.ttft_mean_s is not None:
            result.ttft_error_mean_s = said.ttft_mean_s - float(ttft.mean())
        if said.ttft_p99_s is not None:
            result.ttft_error_p99_s = said.ttft_p99_s - float(np.percentile(ttft, 99))
        if said.itl_p99_s is not None:
            result.itl_error_p99_s = said.itl_p99_s - float(np.percentile(gaps, 99))
    if case.rate:
        between = np.diff([row["read_s"] for row in rows])
        result.rate = float(1 / between.mean())
        result.gap_cv = float(between.std() / between.mean())
        result.close_gaps = float((between < _CLOSE_S).mean())


def _rate(rows: list[Json], start_s: float, end_s: float) -> float:
    """Tokens written between two moments, per second."""
    count = 0
    for row in rows:
        writes = np.array(row["writes_s"])
        inside = int(((writes >= start_s) & (writes < end_s)).sum())
        count += row["tokens"] * inside / len(writes)
    return count / (end_s - start_s)


# the page
def _figure(value: float | None, scale: float, digits: int, *, sign: bool = False) -> str:
    if value is None:
        return "-"
    return f"{value * scale:{'+' if sign else ''},.{digits}f}"


def table(results: dict[str, dict[str, Result]]) -> str:
    """Every tool in a column."""
    names = [tool.name for tool in TOOLS if tool.name in results]
    labels = {name: f"{name} {next(iter(results[name].values())).tool_version}" for name in names}

    def row(label: str, cases: list[str], value: str, scale: float, digits: int, *, sign: bool = False) -> str:
        cells: list[str] = []
        for name in names:
            found = [results[name].get(case) for case in cases]
            cells.append(
                " / ".join(
                    _figure(getattr(match, value), scale, digits, sign=sign) if match is not None else "not run"
                    for match in found
                )
            )
        return f"| {label} | {' | '.join(cells)} |"

    levels = ["1", "16", "64", "128", "256"]
    scripted = 128 * TOKENS / (TTFT_S + ITL_S * (TOKENS - 1))
    lines = [
        f"| | {' | '.join(labels[name] for name in names)} |",
        f"| --- |{' ---: |' * len(names)}",
        row("CPU ms per 1,000 tokens, 128 streams", ["128"], "cpu_s_per_1000", 1000, 1),
        row(f"tokens/s at 128 streams, of {scripted:,.0f} scripted", ["128"], "tok_s", 1, 0),
        row(
            "error of mean TTFT at 1 / 16 / 64 / 128 / 256 streams, ms", levels, "ttft_error_mean_s", 1000, 1, sign=True
        ),
        row("error of p99 TTFT at 128 streams, ms", ["128"], "ttft_error_p99_s", 1000, 1, sign=True),
        row("error of p99 ITL at 128 streams, ms", ["128"], "itl_error_p99_s", 1000, 1, sign=True),
        row("tokens/s, server without delay, 64 streams, a write per token", ["no-delay"], "tok_s", 1, 0),
        row("the same, 16 tokens a packet", ["packets"], "tok_s", 1, 0),
        row("Poisson, 200/s asked for: requests/s", ["poisson"], "rate", 1, 1),
        row("CV of the gaps (ideal 1)", ["poisson"], "gap_cv", 1, 2),
        row("gaps under 0.2 ms (ideal 3.9 %), %", ["poisson"], "close_gaps", 100, 1),
        row("command to first request, s", ["128"], "first_request_s", 1, 1),
        row("peak memory at 128 streams (PSS, all processes), MB", ["128"], "peak_bytes", 1e-6, 0),
    ]  # fmt: skip
    return "\n".join(lines)


def ratios(results: dict[str, dict[str, Result]]) -> str:
    """What each peer takes of what rackrate takes, at 128 streams."""
    ours = results.get("rackrate", {}).get("128")
    if ours is None:
        return ""
    lines = [
        "| at 128 streams, against rackrate | CPU per token | memory | time to the first request |",
        "| --- | ---: | ---: | ---: |",
    ]
    for tool in TOOLS:
        item = results.get(tool.name, {}).get("128")
        if item is None or item is ours or item.fault:
            continue
        pairs = [
            (getattr(item, name), getattr(ours, name)) for name in ("cpu_s_per_1000", "peak_bytes", "first_request_s")
        ]
        cells = [f"{peer / own:.1f} x" if peer and own else "-" for peer, own in pairs]
        lines.append(f"| {tool.name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def page(results: dict[str, dict[str, Result]], further: str) -> str:
    """docs/bench.md."""
    dates = sorted(case.date for cases in results.values() for case in cases.values())
    faults = [
        f"- {item.tool}, {item.case}: {item.fault}"
        for cases in results.values()
        for item in cases.values()
        if item.fault
    ]
    disturbed = [
        f"{item.tool} {item.case} ({item.other_cores:.2f} cores)"
        for cases in results.values()
        for item in cases.values()
        if item.other_cores is not None and item.other_cores > _OTHERS
    ]
    memory = psutil.virtual_memory().total / 1e9
    return "\n".join(
        [
            "# Beside other load generators",
            "",
            "<!-- written by benchmarks/peers.py -->",
            "",
            f"Measured {dates[0][:16]} to {dates[-1][:16]} UTC on {_cpu_name()}, {os.cpu_count()} cores, "
            f"{memory:.0f} GB, Linux {platform.release().split('-')[0]}, Python {platform.python_version()}, "
            "by `make bench`. Every tool had one core, the server (`benchmarks/scripted.py`) the other: chat "
            f"completions, streaming, usage on, {TTFT_S * 1000:.0f} ms to the first token and {ITL_S * 1000:.0f} ms "
            f"between tokens, {TOKENS} output tokens. The truth is the server's own log; an error is what the "
            "tool reports less what the server did. `-` where the tool does not say.",
            "",
            table(results),
            "",
            ratios(results),
            "",
            "CPU counts all processes of a tool from the first request to the last token, memory is the peak of "
            "their proportional set sizes. With a write per token and no delay the kernel's send call limits this "
            "server (to 170,000 to 320,000 tokens a second so far): whoever comes near was not the limit. The tokens/s "
            "leave out the first and last tenth of the answers, when not all streams are busy.",
            "",
            *(
                [f"Other processes took more than {_OTHERS:g} of a core during: {', '.join(disturbed)}.", ""]
                if disturbed
                else []
            ),
            *(["Not measured:", "", *faults, ""] if faults else []),
            *([further, ""] if further else []),
        ]
    )


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "an unnamed CPU"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "an unnamed CPU")


def main() -> None:
    """Measures what is missing, then writes the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tools", help="such as rackrate,vllm", default=",".join(tool.name for tool in TOOLS))
    parser.add_argument("--cases", help="such as 1,128,poisson", default=",".join(case.name for case in CASES))
    parser.add_argument("--again", action="store_true", help="measure also what is there")
    parser.add_argument("--state", type=Path, default=environments() / "peers.json", help="where results are kept")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "bench.md")
    asked = parser.parse_args()
    if (os.cpu_count() or 1) < 2 or not _TASKSET:
        raise SystemExit("needs two cores and taskset (Linux)")
    results: dict[str, dict[str, Result]] = {}
    if asked.state.exists():
        kept = cast("dict[str, dict[str, dict[str, Any]]]", json.loads(asked.state.read_text()))
        results = {tool: {case: Result(**item) for case, item in cases.items()} for tool, cases in kept.items()}
    for tool in sorted(TOOLS, key=lambda item: item.name != "vllm"):  # whose environment makes the tokenizer
        if tool.name not in asked.tools.split(","):
            continue
        fault = install(tool)
        if fault is None and tool.name != "rackrate":
            fault = make_tokenizer()
        for case in CASES:
            mine = results.setdefault(tool.name, {})
            before = mine.get(case.name)
            undisturbed = before is not None and not before.fault and (before.other_cores or 0.0) <= _OTHERS
            if case.name not in asked.cases.split(",") or (undisturbed and not asked.again):
                continue
            sys.stderr.write(f"{tool.name}, {case.name} ...")
            sys.stderr.flush()
            if fault is not None:
                mine[case.name] = Result(tool.name, case.name, "?", datetime.now(UTC).isoformat(), fault=fault)
            else:
                mine[case.name] = run(tool, case, core=0, server_core=1)
            entry = mine[case.name]
            sys.stderr.write(f" {entry.fault or 'done'}\n")
            asked.state.parent.mkdir(parents=True, exist_ok=True)
            asked.state.write_text(json.dumps({t: {c: asdict(r) for c, r in o.items()} for t, o in results.items()}))
    further = environments() / "capacity.md"
    asked.page.write_text(page(results, further.read_text() if further.exists() else ""), encoding="utf-8")
    sys.stdout.write(table(results) + "\n")


if __name__ == "__main__":
    main()
