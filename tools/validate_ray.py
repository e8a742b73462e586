"""Runs the test of a load over two Ray nodes, in an environment of its own that has the extra `ray` (285 MB)."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Makes the environment, runs the test, and returns its exit code."""
    with tempfile.TemporaryDirectory() as place:
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        python = str(Path(place) / "bin" / "python")
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", f"{ROOT}[ray]", "pytest", "pytest-timeout", "hypothesis"],
            check=True,
        )
        test = ROOT / "tests" / "measurement" / "test_ray.py"
        command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "default", str(test)]
        return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
