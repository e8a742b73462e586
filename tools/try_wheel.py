"""Builds the wheel and the sdist, installs the wheel in an empty environment, and runs the main commands there.

    python tools/try_wheel.py [--keep FOLDER]    # as `make dist`; prints what the base install takes, with bytecode

Fails where a command does, where a file that it needs is not in the wheel, or where the base takes over 400 MB.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
MOST_MB = 400

COMMANDS = (
    ("--help",),
    ("catalog", "models"),
    ("price", "run", "--api", "openai/gpt-4o-mini", "--force"),
    ("report", "run", "-o", "report.html", "--force"),
    ("fit", "llama-3.1-8b-instruct", "--on", "l4"),
    ("plan", "llama-3.1-8b-instruct", "--traffic", "1/s", "--offer", "aws/g6.xlarge"),
    (
        "plan",
        "llama-3.1-8b-instruct",
        "--traffic",
        "1/s",
        "--offer",
        "aws/g6.xlarge",
    ),  # its time is that of a warm start
)
MADE = ("simulate", "llama-3.1-8b-instruct", "--on", "aws/g6.xlarge", "-c", "1,4", "--requests", "20", "--out", "run")


def megabytes(folder: Path) -> float:
    """What the files of a folder take on disk, in blocks of 4 KiB."""
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*") if path.is_file()) / 1e6


def main() -> None:
    """Builds, installs, runs."""
    parser = argparse.ArgumentParser(description="Builds, installs and tries the wheel.")
    parser.add_argument("--keep", type=Path, help="where wheel and sdist are left (dist)", default=ROOT / "dist")
    dist: Path = parser.parse_args().keep.resolve()
    with tempfile.TemporaryDirectory(prefix="rackrate-wheel-") as directory:
        place = Path(directory)
        environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
        environment |= {"XDG_CACHE_HOME": str(place / "cache"), "PYTHONDONTWRITEBYTECODE": ""}

        def run(*words: str | Path) -> float:
            began = time.perf_counter()
            done = subprocess.run(
                [str(word) for word in words], cwd=place, env=environment, capture_output=True, text=True, check=False
            )
            if done.returncode:
                sys.exit(f"{' '.join(map(str, words))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
            return time.perf_counter() - began

        subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", str(dist)], cwd=ROOT, check=True)

        def say(text: str) -> None:
            sys.stdout.write(text)
            sys.stdout.flush()

        wheel = max(dist.glob("rackrate-*.whl"), key=lambda path: path.stat().st_mtime)
        run(sys.executable, "-m", "venv", place / "env")
        python = place / "env" / "bin" / "python"
        began = megabytes(place / "env")
        run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel)
        taken = megabytes(place / "env") - began
        say(f"the base install takes {taken:.0f} MB with bytecode (pip itself {began:.0f} MB)\n")
        if taken > MOST_MB:
            sys.exit(f"that is more than {MOST_MB} MB")
        for words in (MADE, *COMMANDS):
            seconds = run(place / "env" / "bin" / "rackrate", *words)
            say(f"{seconds:6.2f} s  rackrate {' '.join(words)}\n")


if __name__ == "__main__":
    main()
