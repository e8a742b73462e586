# pyright: basic, reportMissingImports=false
"""Records what the public model classes say: defaults of their configs, parameters, and what a request caches.

    python tools/check_families.py --env DIR          # makes an environment of its own there (1 GB), and runs in it

Each class of transformers whose model_type rackrate knows is made on torch's meta device, which takes no memory: with
its defaults, and with the shapes of tests/models/configs.json. Written are

- src/rackrate/models/data/class_defaults.json: what a config may leave out, because it is the class's default;
- tests/models/class_facts.json: parameters and caches by class, which tests/models/test_class_facts.py compares.

Neither rackrate nor its tests need torch.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
MODELS = ROOT / "src" / "rackrate" / "models"
DEFAULTS = MODELS / "data" / "class_defaults.json"
FACTS = ROOT / "tests" / "models" / "class_facts.json"
PUBLISHED = ROOT / "tests" / "models" / "configs.json"
PACKAGES = ("torch==2.13.0", "transformers==5.24.0")

NEEDED: dict[str, dict[str, Any]] = {
    "deepseek_v2": {"num_experts_per_tok": 6, "first_k_dense_replace": 1, "moe_intermediate_size": 1408},
    "dots1": {"n_routed_experts": 128, "n_shared_experts": 2, "num_experts_per_tok": 6, "first_k_dense_replace": 1},
    "glm4_moe": {"head_dim": 128},
    "glm4v_moe": {"text_config": {"head_dim": 128}},
    "granitemoehybrid": {"layer_types": (["mamba"] * 5 + ["attention"] + ["mamba"] * 4) * 4, "num_hidden_layers": 40},
    "ministral": {"head_dim": 128},
    "gemma4_text": {"enable_moe_block": True, "num_experts": 8, "top_k_experts": 2, "moe_intermediate_size": 704},
    "lfm2": {"layer_types": ["conv", "conv", "full_attention", "conv"] * 4, "num_hidden_layers": 16},
    "lfm2_moe": {"layer_types": ["conv", "conv", "full_attention", "conv"] * 4, "num_hidden_layers": 16},
    "vaultgemma": {"tie_word_embeddings": True},
    "kimi_k25": {"tie_word_embeddings": False},
    "mistral3": {"tie_word_embeddings": False},
    "nemotron": {"head_dim": 128, "num_key_value_heads": 8},
    "nemotron_h": {"layers_block_type": ["mamba", "moe", "attention", "mlp"] * 4},
    "hunyuan_v1_dense": {"head_dim": 128},
    "hunyuan_v1_moe": {"head_dim": 128},
}
"""Where the defaults make no model, or lack a kind of layer, or tie what published models do not."""
FAILURES = (AttributeError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError)
NOT_TEXT = re.compile(r"vision|visual|audio|multi_modal|projector|image|embed_vision|embed_audio")
LISTS = {"layer_types", "mlp_layer_types", "layers_block_type", "indexer_types", "no_rope_layers", "moe_layer_freq"}


def keys_that_are_read() -> set[str]:
    """Every word in quotes of the modules that read configs."""
    words: set[str] = set()
    for file in MODELS.glob("hf_*.py"):
        words |= set(re.findall(r'"([A-Za-z_0-9]+)"', file.read_text(encoding="utf-8")))
    return words


def plain(values: Mapping[str, Any], keys: set[str]) -> dict[str, Any]:
    """The keys of a config that rackrate reads, as they would stand in a file."""
    return {
        key: value
        for key, value in values.items()
        if key in keys and (value is None or isinstance(value, bool | int | str | float) or key in LISTS)
    }


def caches_of(model: Any, torch: Any) -> list[list[Any]]:
    """[layers, kind, heads, key values, value values, window] of what three tokens leave behind, by kind of layer."""
    with torch.no_grad():
        output = model(input_ids=torch.zeros((1, 3), dtype=torch.long, device="meta"), use_cache=True)
    found: dict[tuple[Any, ...], int] = {}
    for layer in output.past_key_values.layers:
        kind = type(layer).__name__
        if getattr(layer, "keys", None) is not None and hasattr(layer.keys, "shape"):
            window = getattr(layer, "sliding_window", None)
            row = ("keys", layer.keys.shape[1], layer.keys.shape[-1], layer.values.shape[-1], window)
            found[row] = found.get(row, 0) + 1
        if "Linear" in kind:
            sizes = [
                state.numel()
                for name in ("conv_states", "recurrent_states")
                for state in dict(getattr(layer, name, None) or {}).values()
                if state is not None
            ]
            row = ("state", *sizes)
            found[row] = found.get(row, 0) + 1
    return [[number, *row] for row, number in found.items()]


def parameters_of(model: Any) -> int:
    """Parameters of the text part, tied ones once, and the buffers that a checkpoint has."""
    kept = set(model.state_dict().keys())
    found = {name: value.numel() for name, value in model.named_parameters() if not NOT_TEXT.search(name)}
    found |= {
        name: value.numel()
        for name, value in model.named_buffers()
        if name in kept and not NOT_TEXT.search(name) and "alpha" not in name
    }
    return sum(found.values())


def fact(family: str, origin: str, values: dict[str, Any], tools: Any) -> dict[str, Any] | None:
    """A row: what the class has with these values. None where transformers has no class for it."""
    torch, auto, mapping = tools
    config = mapping[family](**values)
    with torch.device("meta"):
        for kind in auto:
            try:
                model = kind.from_config(config, dtype=torch.bfloat16, attn_implementation="eager")
                break
            except ValueError as error:
                if "Unrecognized configuration class" not in str(error):
                    raise
        else:
            return None
    model.eval()
    row: dict[str, Any] = {"family": family, "origin": origin, "class": type(model).__name__}
    row["parameters"] = parameters_of(model)
    with contextlib.suppress(AttributeError, ValueError, TypeError):
        model.set_experts_implementation("batched_mm")
    try:
        row["caches"] = caches_of(model, torch)
    except FAILURES as error:  # some classes choose experts by value, which meta tensors lack
        row["caches"] = None
        row["no_caches"] = f"{type(error).__name__}: {str(error)[:80]}"
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    row["config"] = {"model_type": text.model_type, **plain(text.to_dict(), keys_that_are_read())}
    if text is not config and isinstance(getattr(config, "tie_word_embeddings", None), bool):
        row["config"]["tie_word_embeddings"] = config.tie_word_embeddings  # the whole config's word counts
    return row


def text_parts(mapping: Any) -> dict[str, str]:
    """The type of the text part of each config that has one."""
    found: dict[str, str] = {}
    for name in mapping:
        with contextlib.suppress(Exception):  # not every config can be made without a file
            made = mapping[name]()
            text = made.get_text_config()
            if text is not made and text.model_type:
                found[name] = text.model_type
    return found


def record(only: list[str]) -> None:
    """Writes both files; with `only`, anew what concerns these families or models."""
    sys.path.insert(0, str(ROOT / "src"))
    import torch
    import transformers
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    from rackrate.models.hf_families import FAMILIES

    transformers.logging.set_verbosity_error()
    tools = (torch, (AutoModelForCausalLM, AutoModelForImageTextToText), CONFIG_MAPPING)
    keys = keys_that_are_read()
    before: dict[str, Any] = json.loads(DEFAULTS.read_text(encoding="utf-8")) if only else {}
    seen: dict[str, Any] = json.loads(FACTS.read_text(encoding="utf-8")) if only else {}
    defaults: dict[str, dict[str, Any]] = before.get("defaults", {})
    parts: dict[str, str] = before.get("text_parts", {})
    rows = [row for row in seen.get("rows", []) if not {row["family"], row["origin"]} & set(only)]
    unchecked = {name: why for name, why in seen.get("unchecked", {}).items() if name not in only}
    source = f"transformers {transformers.__version__}"
    parts.update(text_parts(CONFIG_MAPPING))
    for family in sorted(FAMILIES):
        if family not in CONFIG_MAPPING:
            unchecked[family] = f"{source} has no class of its own for it"
            continue
        made = CONFIG_MAPPING[family]()
        text = made.get_text_config()
        # the class's own values: what an instance fills in (head_dim) follows from other sizes
        fields = {key: getattr(type(text), key, None) for key in text.to_dict() if key in keys}
        found = {key: value for key, value in fields.items() if isinstance(value, bool | int)}
        defaults[text.model_type] = found
        if only and family not in only:
            continue
        try:
            row = fact(family, "defaults", NEEDED.get(family, {}), tools)
        except FAILURES as error:
            sys.stderr.write(f"{family}: {type(error).__name__}: {error}\n")
            unchecked[family] = f"its class cannot be made from its defaults ({source})"
            continue
        if row is None:
            unchecked[family] = f"{source} has no class of text for it"
        else:
            rows.append(row)
    for published in json.loads(PUBLISHED.read_text(encoding="utf-8")):
        config = published["config"]
        name = published.get("catalogue") or published["name"]
        family = config["model_type"]
        if family not in CONFIG_MAPPING or (only and not {family, name} & set(only)):
            continue
        values = {key: value for key, value in config.items() if key not in {"model_type", "quantization_config"}}
        try:
            row = fact(family, name, values, tools)
        except FAILURES as error:
            sys.stderr.write(f"{name}: {type(error).__name__}: {str(error)[:200]}\n")
            continue
        if row is not None:
            del row["config"]
            rows.append(row)
    write(DEFAULTS, {"source": source, "text_parts": parts, "defaults": defaults})
    rows.sort(key=lambda row: (row["origin"] != "defaults", row["family"], row["origin"]))
    write(FACTS, {"source": f"{source}, torch {torch.__version__}, meta device", "unchecked": unchecked, "rows": rows})


def write(path: Path, values: Mapping[str, Any]) -> None:
    """One entry a line, so that a change can be read."""
    lines: list[str] = []
    for key, value in values.items():
        if isinstance(value, dict):
            inner = ",\n  ".join(f"{json.dumps(name)}: {json.dumps(item)}" for name, item in sorted(value.items()))
            lines.append(f"{json.dumps(key)}: {{\n  {inner}\n }}" if inner else f"{json.dumps(key)}: {{}}")
        elif isinstance(value, list):
            inner = ",\n  ".join(json.dumps(item) for item in value)
            lines.append(f"{json.dumps(key)}: [\n  {inner}\n ]")
        else:
            lines.append(f"{json.dumps(key)}: {json.dumps(value)}")
    path.parent.mkdir(exist_ok=True)
    path.write_text("{\n " + ",\n ".join(lines) + "\n}\n", encoding="utf-8")
    sys.stdout.write(f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes\n")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", type=Path, help="directory of the environment; made where it is not there")
    parser.add_argument("only", nargs="*", help="families or published models to record anew (all of them)")
    arguments = parser.parse_args()
    directory: Path | None = arguments.env
    if directory is None:
        record(arguments.only)
        return
    python = directory / "bin" / "python"
    if not python.exists():
        venv.create(directory, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], check=True)
    subprocess.run([python, Path(__file__).resolve(), *arguments.only], check=True)


if __name__ == "__main__":
    main()
