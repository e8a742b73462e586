"""Weights as vLLM and transformers want them: a directory of safetensors, a hub id, or a GGUF file converted once."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from rackrate.engines.environment import child_environment
from rackrate.engines.install import cache_directory, environment_python, is_installed
from rackrate.engines.weights import Weights, find_weights
from rackrate.errors import EngineError
from rackrate.files import is_directory, is_there

CONVERTER = "transformers"
"""The environment whose transformers reads GGUF."""
FORMATS = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}


def find_safetensors(
    model: str, notify: Callable[[str], None], *, dtype: str = "bfloat16", install: bool = True
) -> Weights:
    """Weights for vLLM or transformers: an embedded model, a GGUF file, a directory with config.json, or a hub id.

    A GGUF file is converted once, dequantised to `dtype`, and kept beside the embedded weights: what it lost when it
    was quantised stays lost.

    Raises:
        EngineError: there is nothing of that name, or it cannot be converted.
    """
    path = Path(model).expanduser()
    if is_directory(path):
        if not is_there(path / "config.json"):
            raise EngineError(
                f"{path} has no config.json: it is not a directory of weights that vLLM or transformers read"
            )
        return Weights(path, None, FORMATS.get(dtype), None)
    if not is_there(path) and is_hub_id(model):
        return Weights(path, None, FORMATS.get(dtype), None, hub_id=model)
    gguf = find_weights(model, notify, install=install)
    return _converted(gguf, dtype, notify)


def is_hub_id(model: str) -> bool:
    """Whether a name can only be meant as OWNER/NAME at a hub: no path from the root, from home or from here.

    >>> [is_hub_id(name) for name in ("org/model-7b", "/models", "./model", "~/model", "org/m.gguf", "a/b/c", "model")]
    [True, False, False, False, False, False, False]
    """
    owner, slash, name = model.partition("/")
    return bool(slash and owner.strip("~.") and name and "/" not in name and not name.endswith(".gguf"))


def _converted(gguf: Weights, dtype: str, notify: Callable[[str], None]) -> Weights:
    target = cache_directory() / "weights" / f"{gguf.path.stem}-{(gguf.sha256 or '')[:12]}-{FORMATS[dtype]}"
    weights = Weights(target, gguf.sha256, f"{FORMATS[dtype]} from {gguf.weight_format or 'GGUF'}", gguf.model)
    if is_there(target / "config.json"):
        return weights
    if not is_installed(CONVERTER):
        raise EngineError(
            f"{gguf.path.name} must be converted first: run `{{engines install}} {CONVERTER}`", field="engines install"
        )
    notify(f"converting {gguf.path.name} to safetensors ({dtype}), once")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix="converting-", dir=target.parent))
    script = Path(__file__).parent / "launch" / "convert_gguf.py"
    try:
        ran = subprocess.run(
            [str(environment_python(CONVERTER)), str(script), str(gguf.path), str(temporary), dtype],
            stdin=subprocess.DEVNULL,
            env=child_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode != 0 or not is_there(temporary / "config.json"):
            last = "\n".join(f"  {line}" for line in ran.stderr.strip().splitlines()[-8:])
            raise EngineError(f"{gguf.path} could not be converted to safetensors; the converter's last lines:\n{last}")
        if is_there(target):  # a start that was cut short
            shutil.rmtree(target)
        temporary.replace(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return weights
