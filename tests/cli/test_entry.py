"""The command as it is installed."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

INTERRUPTED = """
import sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Finder())
from rackrate.__main__ import main
main()
"""


def test_ctrl_c_while_the_command_is_loaded_is_a_sentence() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "rackrate: stopped\n")


IN_THE_MIDDLE = """
import sys
import rackrate.catalog.load
def stopped(directories):
    raise KeyboardInterrupt
rackrate.catalog.load.load_catalog = stopped
sys.argv = ["rackrate", "simulate", "llama-3-8b-instruct", "--on", "l40s", "--rate", "1"]
from rackrate.__main__ import main
main()
"""


def test_ctrl_c_in_the_middle_is_a_sentence() -> None:
    done = subprocess.run([sys.executable, "-c", IN_THE_MIDDLE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "rackrate: stopped\n")


def test_too_little_memory_is_a_sentence() -> None:
    script = IN_THE_MIDDLE.replace("KeyboardInterrupt", "MemoryError")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("rackrate: this machine's memory is too small for that")


def test_the_module_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "rackrate", "--version"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith("rackrate ")


def test_compiling_is_said_before_it_is_done(tmp_path: Path) -> None:
    """Once, of an empty cache directory; what is compiled there is found afterwards."""
    say = "from rackrate.simulation.compiled import first_use; print(first_use())"

    def said(directory: Path) -> str:
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(directory)}
        done = subprocess.run([sys.executable, "-c", say], capture_output=True, text=True, check=True, env=environment)
        return done.stdout.strip()

    assert said(tmp_path) == "the simulator is compiled now, at its first use: some 20 s"
    folder = tmp_path / "simulate_0123"
    folder.mkdir()
    (folder / "scheduling.run-1.py311.nbi").write_bytes(b"")
    assert said(tmp_path) == "None"


def _in_a_shell(words: str) -> subprocess.CompletedProcess[str]:
    command = f"{shlex.quote(sys.executable)} -m rackrate {words}"
    return subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("words", "code"),
    [("--version >&-", 0), ("--help >&- 2>&-", 0), ("show nowhere 2>&-", 2), ("show nowhere 2>/dev/full", 2)],
)
def test_a_closed_or_full_stream_changes_no_exit_code(words: str, code: int) -> None:
    done = _in_a_shell(words)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_help_that_cannot_be_written_is_one_sentence() -> None:
    done = _in_a_shell("--help > /dev/full")
    assert done.stderr == "rackrate: standard output cannot be written (No space left on device)\n"
    assert done.returncode == 2
