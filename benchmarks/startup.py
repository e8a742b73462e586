"""How long the command takes to start, as a ratio to a bare Python. `python benchmarks/startup.py`."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 15


def seconds(command: list[str]) -> float:
    """One run of a command, start to end. [s]"""
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    """Prints medians of interleaved runs."""
    rackrate = str(Path(sys.executable).parent / "rackrate")
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "rackrate --help": [rackrate, "--help"],
        "rackrate catalog offers T4": [rackrate, "catalog", "offers", "T4"],
        "rackrate price --tokens-per-second": [
            rackrate, "price", "--tokens-per-second", "60.6", "--offer", "aws/g4dn.12xlarge",
        ],
    }  # fmt: skip
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            times[name].append(seconds(command))
    bare = statistics.median(times["python -c pass"])
    for name, values in times.items():
        median = statistics.median(values)
        sys.stdout.write(
            f"{name:38} median {median * 1000:6.0f} ms  (min {min(values) * 1000:.0f})  "
            f"{median / bare:5.1f}x bare Python\n"
        )


if __name__ == "__main__":
    main()
