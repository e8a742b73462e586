"""What a config leaves out because it is the default of the model's class.

transformers writes a text part of a config without what equals its class's defaults, so Gemma 3's published files lack
their number of heads. data/class_defaults.json has the defaults; tools/check_families.py records them.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from rackrate.models.config_values import ConfigValues
from rackrate.models.hf_shape import CONTEXT, HEAD_DIM, KV_HEADS, NAMES

DATA = Path(__file__).with_name("data") / "class_defaults.json"
_OF_WHOLE_FILES = frozenset(
    {"num_key_value_heads", "head_dim", "max_position_embeddings", "max_window_layers",
     "sliding_window_pattern", "_sliding_window_pattern", "first_k_dense_replace",
     "decoder_sparse_step", "moe_layer_freq", "interleave_moe_layer_step", "moe_layer_start_index",
     "moe_layer_end_index", "moe_layer_interval"}
)  # fmt: skip
"""Numbers that a config of its own may lack; transformers always writes the others there, so a file without is damaged.
Flags are taken from the class in any case; a window never is, since many a file has lost its `sliding_window: null`."""


@cache
def _recorded() -> dict[str, Any]:
    return json.loads(DATA.read_text(encoding="utf-8"))


def with_defaults(config: ConfigValues, text: ConfigValues) -> tuple[ConfigValues, list[str]]:
    """The text part with its class's defaults, and which sizes were taken from there, of those that weigh.

    Args:
        config: the whole file.
        text: its text part, or the whole file again.
    """
    recorded = _recorded()
    nested = text is not config
    outer = config.text("model_type") or ""
    kind = text.text("model_type") or (recorded["text_parts"].get(outer, "") if nested else outer)
    there = set(text.values)
    if nested and isinstance(config.values.get("tie_word_embeddings"), bool):
        there.add("tie_word_embeddings")  # the whole file's word counts before the class's
    for names in NAMES:
        if there & set(names):
            there |= set(names)
    added = {
        key: value
        for key, value in recorded["defaults"].get(kind, {}).items()
        if key not in there and (nested or isinstance(value, bool) or key in _OF_WHOLE_FILES)
    }
    if not added:
        return text, []
    values = {**added, **text.values}
    if nested and kind:
        values.setdefault("model_type", kind)
    weighs = set[str]().union(*(NAMES if nested else (KV_HEADS, HEAD_DIM, CONTEXT)))
    if values.get("kv_lora_rank") is not None:
        weighs -= {*HEAD_DIM, *KV_HEADS}  # latent attention has sizes of its own
    sizes = sorted(key for key, value in added.items() if not isinstance(value, bool) and key in weighs)
    return ConfigValues(text.file, values, text.prefix), sizes


def text_type(outer: str) -> str:
    """The type of the text part that configs of this type have; empty where they have none."""
    return str(_recorded()["text_parts"].get(outer, ""))


def source() -> str:
    """Where the defaults are from, with the version."""
    return str(_recorded()["source"])
