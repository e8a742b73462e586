"""Which engine to serve a model with on a machine, where the user names none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rackrate.engines import known
from rackrate.engines.safetensors import is_hub_id
from rackrate.engines.spec import WeightKind
from rackrate.errors import EngineError
from rackrate.files import is_directory, is_there


def choose(model: str, *, gpu: bool, ready: Callable[[str], bool]) -> tuple[str, str]:
    """The first engine of the list that is chosen for such weights, and why.

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
    plain = is_directory(path) or (is_hub_id(model) and not is_there(path))
    of_file: WeightKind = "safetensors" if plain else "gguf"
    kinds: tuple[WeightKind, ...] = ("gpu", of_file) if gpu else (of_file,)
    for kind in kinds:
        for spec in known.ENGINES:
            if kind in spec.chosen_for and ready(spec.name):
                return spec.name, spec.chosen_for[kind]
    first = next(spec.name for spec in known.ENGINES if of_file in spec.chosen_for)
    raise EngineError(f"nothing installed serves {model}: run `{{engines install}} {first}`", field="engines install")
