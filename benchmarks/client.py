"""What the load client gets of a server whose timing is known. `python benchmarks/client.py [--seconds 8]`.

The scripted server of the tests runs in a process of its own: 50 ms to the first token, 10 ms between tokens, 64
tokens. Printed: tokens a second against what the script allows, the error of the median TTFT, and the client's CPU.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TTFT_S, ITL_S, TOKENS = 0.05, 0.01, 64


def main() -> None:
    """Measures 1, 16, 64 and 128 streams and prints a row each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--port", type=int, default=8199)
    arguments = parser.parse_args()
    server = subprocess.Popen(
        [
            sys.executable, str(ROOT / "tests" / "scripted_server.py"), "--port", str(arguments.port),
            "--ttft", str(TTFT_S), "--itl", str(ITL_S),
        ],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        with tempfile.TemporaryDirectory() as place:
            levels = measure(f"http://127.0.0.1:{arguments.port}", arguments.seconds, Path(place))
    finally:
        server.terminate()
        server.wait()
    span = TTFT_S + ITL_S * (TOKENS - 1)
    sys.stdout.write("streams  tok/s got  of scripted  TTFT p50 error ms  p99 error ms  client CPU of a core\n")
    for level, facts in zip(levels["levels"], levels["client_cpu"], strict=True):
        scripted = level["concurrency"] * TOKENS / span
        sys.stdout.write(
            f"{level['concurrency']:7}  {level['output_tok_s']:9.0f}  {level['output_tok_s'] / scripted:11.3f}  "
            f"{(level['ttft']['p50'] - TTFT_S) * 1000:17.2f}  {(level['ttft']['p99'] - TTFT_S) * 1000:12.2f}  "
            f"{facts:8.2f}\n"
        )


def measure(url: str, seconds: float, place: Path) -> dict[str, Any]:
    """One run of the command line, as a user would."""
    subprocess.run(
        [
            sys.executable, "-m", "rackrate", "measure", "--url", url, "--input-tokens", "64", "--output-tokens",
            str(TOKENS), "--concurrency", "1,16,64,128", "--seconds", str(seconds), "--no-prefill",
            "--out", str(place / "run"), "--json", str(place / "summary.json"),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    view = json.loads((place / "summary.json").read_text())
    header = json.loads((place / "run" / "run.json").read_text())
    view["client_cpu"] = [level["client_cpu_share"] for level in header["levels"]]
    return view


if __name__ == "__main__":
    main()
