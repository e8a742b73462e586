"""Runs an engine that starts processes of its own, and lets none of them outlive rackrate. Run by rackrate's Python.

Arguments: `--` and the engine's command. The watchdog ends the engine and all that descends from it when its own
standard input ends (rackrate is gone, however it ended) or when it is asked to (SIGTERM); it ends with the
engine's own code.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time

import psutil

GRACE_S = 4.0
"""How long the engine may take to end by itself; rackrate kills the watchdog a second later."""
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h


def adopt_orphans() -> None:
    """Makes grandchildren whose parent dies children of this process, so that they can be found and ended (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_with_parent() -> None:
    """In the engine, before it runs: it dies if the watchdog is killed (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def end_all(engine: subprocess.Popen[bytes]) -> None:
    """Asks everything below to end, and kills what has not after `GRACE_S`."""
    below = psutil.Process().children(recursive=True)
    if engine.poll() is None:
        engine.terminate()
    deadline = time.monotonic() + GRACE_S
    while engine.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    below = list({*below, *psutil.Process().children(recursive=True)})
    for process in below:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(below, timeout=2)


def main() -> None:
    adopt_orphans()
    command = sys.argv[sys.argv.index("--") + 1 :]
    engine = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=end_with_parent)  # noqa: PLW1509
    asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    signal.signal(signal.SIGINT, lambda *_: asked.set())

    def watch_parent() -> None:
        while os.read(0, 4096):
            pass
        asked.set()

    threading.Thread(target=watch_parent, daemon=True).start()
    while not asked.wait(0.2) and engine.poll() is None:
        with contextlib.suppress(ChildProcessError):  # adopted orphans that ended; the engine itself is Popen's
            for child in psutil.Process().children():
                if child.pid != engine.pid and child.status() == psutil.STATUS_ZOMBIE:
                    os.waitpid(child.pid, os.WNOHANG)
    end_all(engine)
    code = engine.returncode
    if code is not None and code < 0:  # killed: end in the same way, so that rackrate can say so
        signal.signal(-code, signal.SIG_DFL) if -code not in {signal.SIGKILL, signal.SIGSTOP} else None
        os.kill(os.getpid(), -code)
    os._exit(code if code is not None else 1)


main()
