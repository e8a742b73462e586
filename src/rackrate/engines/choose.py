"""Which engine to serve a model with on a machine, where the user names none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rackrate.engines.safetensors import is_hub_id
from rackrate.errors import EngineError


def choose(model: str, *, gpu: bool, ready: Callable[[str], bool]) -> tuple[str, str]:
    """The engine, and why.

    Args:
        model: an embedded model, a GGUF file, a directory of safetensors, or a hub id.
        gpu: whether the machine has a GPU that vLLM serves.
        ready: whether an engine is installed.

    Raises:
        EngineError: nothing that is installed serves such weights.

    >>> choose("m.gguf", gpu=False, ready=lambda name: True)[0]
    'llamacpp'
    >>> choose("org/model", gpu=True, ready=lambda name: True)[0]
    'vllm'
    >>> choose("org/model", gpu=False, ready=lambda name: name == "transformers")[0]
    'transformers'
    """
    path = Path(model.removesuffix(":Q4_0").removesuffix(":Q8_0"))
    plain = path.is_dir() or (is_hub_id(model) and not path.exists())
    if gpu and ready("vllm"):
        return "vllm", "the machine has a GPU, and vLLM batches best on it"
    if not plain:
        wanted = [("llamacpp", "the weights are GGUF, which llama.cpp serves as they are, in the least memory")]
    else:
        wanted = [
            ("vllm", "the weights are safetensors, and vLLM batches them best"),
            ("transformers", "the weights are safetensors, and vLLM is not installed"),
        ]
    for name, why in wanted:
        if ready(name):
            return name, why
    raise EngineError(f"nothing installed serves {model}: run `rackrate engines install {wanted[0][0]}`")
