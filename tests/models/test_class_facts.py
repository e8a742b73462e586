"""Every family that is known, against its public model class, and against figures that publishers print.

class_facts.json was recorded by tools/check_families.py: each class of transformers on torch's meta device, with its
defaults and with the published shapes of configs.json; its parameters, and the cache that three tokens leave behind.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rackrate.errors import UserError
from rackrate.memory.kv_cache import group_token_bytes
from rackrate.models.architecture import CacheGroup
from rackrate.models.config_values import ConfigValues
from rackrate.models.hf_config import architecture_of_config
from rackrate.models.hf_families import FAMILIES

HERE = Path(__file__).parent
FACTS: dict[str, Any] = json.loads((HERE / "class_facts.json").read_text(encoding="utf-8"))
ROWS: list[dict[str, Any]] = FACTS["rows"]
PUBLISHED: list[dict[str, Any]] = json.loads((HERE / "configs.json").read_text(encoding="utf-8"))
CONFIGS: dict[str, dict[str, Any]] = {row.get("catalogue") or row["name"]: row["config"] for row in PUBLISHED}

OTHERWISE_CHECKED = {
    # published counts in configs.json, or the same shape as a family that is checked
    "baichuan": "Llama's shape", "chatglm": "the shape of glm", "decilm": "Llama's shape", "deepseek": "Llama's shape",
    "internlm2": "Llama's shape", "kimi_k2": "the shape of deepseek_v3", "mimo": "the shape of qwen2",
    "yi": "Llama's shape",
}  # fmt: skip
"""Families without a class of their own in the recorded version of transformers, and what they are like."""
CLASS_IS_WRONG = {"longcat_flash"}
"""Its class keeps gate and up projections for the 256 experts that do nothing, which no checkpoint has; the published
count is among those of configs.json."""


def name_of(row: dict[str, Any]) -> str:
    return f"{row['family']}-{row['origin']}"


def read(row: dict[str, Any]) -> Any:
    config = row.get("config") or CONFIGS[row["origin"]]
    return architecture_of_config(ConfigValues("config.json", config), "m")[0]


def test_every_family_that_is_known_is_checked() -> None:
    checked = {row["family"] for row in ROWS} | {row["config"]["model_type"] for row in ROWS if "config" in row}
    assert set(FAMILIES) - checked == set(OTHERWISE_CHECKED)
    assert len(checked) >= 60


@pytest.mark.parametrize("row", [row for row in ROWS if row["family"] not in CLASS_IS_WRONG], ids=name_of)
def test_parameters_are_those_of_the_class(row: dict[str, Any]) -> None:
    assert read(row).parameters.total == pytest.approx(row["parameters"], rel=1e-6)


def bytes_of(group: CacheGroup) -> float:
    return group_token_bytes(group, 2.0) / 2


@pytest.mark.parametrize("row", [row for row in ROWS if row["caches"]], ids=name_of)
def test_values_cached_of_a_token_are_those_of_the_class(row: dict[str, Any]) -> None:
    """By window: values of one token in all layers. Indexers and fixed states are not in the class's cache as such."""
    found = read(row)
    mine: dict[int | None, float] = {}
    for group in found.caches:
        if group.kind == "state" or group.token_bytes:
            continue
        window = group.window_tokens
        window = None if window is not None and window >= found.context_tokens else window
        mine[window] = mine.get(window, 0) + bytes_of(group)
    theirs: dict[int | None, float] = {}
    states: dict[float, int] = {}
    for layers, kind, *sizes in row["caches"]:
        if kind == "state":
            convolved, recurrent = (*sizes, 0)[:2]
            width = 3 if row["family"].startswith("lfm2") else 4
            # engines keep one input less than the convolution is wide, in 16 bits
            states[4 * recurrent + 2 * convolved * (width - 1) / width] = layers
            continue
        heads, key, value, window = sizes
        window = None if window is not None and window >= found.context_tokens else window
        theirs[window] = theirs.get(window, 0) + layers * heads * (key + value)
    assert mine == theirs
    assert {group.state_bytes: group.layers for group in found.caches if group.kind == "state"} == states


ALL_CONFIGS: list[dict[str, Any]] = [row["config"] for row in ROWS if "config" in row] + list(CONFIGS.values())
ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1,
    3,
    1.5,
    10**30,
    float("inf"),
    float("nan"),
    "",
    "word",
    [],
    [[1]],
    [{}],
    {},
    {"a": 1},
)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_no_value_of_a_config_is_worse_than_a_user_error(data: st.DataObject) -> None:
    config = dict(data.draw(st.sampled_from(ALL_CONFIGS)))
    if "text_config" in config and data.draw(st.booleans()):
        config["text_config"] = dict(config["text_config"])
    inner: dict[str, Any] = config["text_config"] if isinstance(config.get("text_config"), dict) else config
    for _ in range(data.draw(st.integers(1, 3))):
        key = data.draw(st.sampled_from(sorted(inner)))
        inner = {**inner, key: data.draw(st.sampled_from(ODD))}
    with contextlib.suppress(UserError):
        architecture_of_config(ConfigValues("config.json", inner), "m")
