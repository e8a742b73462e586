"""The GPUs that this machine has, as their drivers' own programs list them: nvidia-smi, rocm-smi."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

TIMEOUT_S = 20.0
PROGRAMS = ("nvidia-smi", "rocm-smi")
_MIB = 2**20


@dataclass(frozen=True)
class FoundGpu:
    """One GPU, as its driver names it."""

    vendor: Literal["nvidia", "amd"]
    name: str
    memory_bytes: int
    free_bytes: int
    """What no program holds now."""


def found_gpus() -> tuple[FoundGpu, ...]:
    """Every GPU of this machine; none where there is no driver, or it does not answer."""
    nvidia = _output("nvidia-smi", "--query-gpu=name,memory.total,memory.free", "--format=csv,noheader,nounits")
    amd = _output("rocm-smi", "--showproductname", "--showmeminfo", "vram", "--json")
    return (*read_nvidia(nvidia), *read_rocm(amd))


def read_nvidia(text: str) -> tuple[FoundGpu, ...]:
    """The GPUs of `nvidia-smi --query-gpu=name,memory.total,memory.free --format=csv,noheader,nounits` [MiB].

    >>> read_nvidia("Tesla T4, 15360, 15101\\n")
    (FoundGpu(vendor='nvidia', name='Tesla T4', memory_bytes=16106127360, free_bytes=15834546176),)
    >>> read_nvidia("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.")
    ()
    """
    gpus: list[FoundGpu] = []
    for line in text.splitlines():
        name, *figures = (word.strip() for word in line.rsplit(",", 2))
        if len(figures) == 2 and all(figure.isdigit() for figure in figures):
            total, free = (int(figure) * _MIB for figure in figures)
            gpus.append(FoundGpu("nvidia", name, total, free))
    return tuple(gpus)


def read_rocm(text: str) -> tuple[FoundGpu, ...]:
    """The GPUs of `rocm-smi --showproductname --showmeminfo vram --json` [byte], in the words of ROCm 5 and 6.

    Graphics inside a processor is left out: it has no memory of its own but a carved-out part below a GiB.

    >>> read_rocm('{"card0": {"VRAM Total Memory (B)": "206141652992", "VRAM Total Used Memory (B)": "297971712", '
    ...     '"Card Series": "AMD Instinct MI300X"}, "system": {"Driver version": "6.7.0"}}')[0].name
    'AMD Instinct MI300X'
    >>> read_rocm("ERROR:root:Driver not initialized")
    ()
    """
    try:
        found: Any = json.loads(text or "{}")
    except ValueError:
        return ()
    gpus: list[FoundGpu] = []
    for key, value in cast("Mapping[str, Any]", found if isinstance(found, dict) else {}).items():
        if not key.startswith("card") or not isinstance(value, dict):
            continue
        card = {str(name).lower(): str(figure) for name, figure in cast("Mapping[str, Any]", value).items()}
        total, used = card.get("vram total memory (b)", ""), card.get("vram total used memory (b)", "")
        name = card.get("card series") or card.get("card model")
        if name and total.isdigit() and int(total) >= 1024 * _MIB:
            gpus.append(FoundGpu("amd", name, int(total), int(total) - (int(used) if used.isdigit() else 0)))
    return tuple(gpus)


def _output(name: str, *arguments: str) -> str:
    """What a driver's program prints; nothing where there is none or it fails."""
    program = shutil.which(name)
    if program is None:
        return ""
    try:
        return subprocess.run(
            [program, *arguments], capture_output=True, text=True, timeout=TIMEOUT_S, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
