"""`plan` and `simulate` take the models that `fit` takes, and a calibration in the place of a catalogue's machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from priced_runs import Command

LLAMA: dict[str, Any] = {
    "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 8192,
    "tie_word_embeddings": False, "torch_dtype": "bfloat16",
}  # fmt: skip
"""The catalogue's llama-3-8b-instruct."""
PLAN = ("--traffic", "2/s", "--requests", "60", "--offer", "aws/g5.2xlarge", "--json")
SIMULATE = ("--on", "aws/g5.2xlarge", "--rate", "1", "--requests", "60", "--json")


def config(directory: Path, **changed: Any) -> Path:
    directory.mkdir(exist_ok=True)
    (directory / "config.json").write_text(json.dumps({**LLAMA, **changed}), encoding="utf-8")
    return directory


def test_a_config_is_planned_as_the_entry_of_the_same_shape(rackrate: Command, tmp_path: Path) -> None:
    directory = config(tmp_path / "my llama")
    listed = json.loads(rackrate("plan", "llama-3-8b-instruct", *PLAN)[1])
    code, out, error = rackrate("plan", str(directory), *PLAN)
    assert code == 0, error
    read = json.loads(out)
    assert read["model"] == "my llama"
    assert read["model_origin"].endswith("config.json")
    assert not any(api["same_model"] for api in read["apis"])
    ours, theirs = read["rows"][0], listed["rows"][0]
    assert (ours["weights"], ours["machines"], ours["usd_month"]) == (
        theirs["weights"],
        theirs["machines"],
        theirs["usd_month"],
    )
    assert ours["capacity_request_s"] == pytest.approx(theirs["capacity_request_s"], rel=0.02)


def test_a_config_is_simulated_as_the_entry_of_the_same_shape(rackrate: Command, tmp_path: Path) -> None:
    listed = json.loads(rackrate("simulate", "meta-llama/Meta-Llama-3-8B-Instruct", *SIMULATE)[1])["levels"][0]
    code, out, error = rackrate("simulate", str(config(tmp_path / "m") / "config.json"), *SIMULATE)
    assert code == 0, error
    assert json.loads(out)["levels"][0]["tpot"]["p50"] == pytest.approx(listed["tpot"]["p50"], rel=0.01)


@pytest.mark.parametrize("command", [("plan", *PLAN), ("simulate", *SIMULATE)], ids=["plan", "simulate"])
@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"intermediate_size": None}, "the key intermediate_size"),
        ({"num_hidden_layers": -1}, "num_hidden_layers should be a whole number"),
        ({"quantization_config": {"quant_method": "quip9"}}, "quantisation whose size is not known here"),
    ],
)
def test_a_config_that_says_too_little_is_one_sentence(
    rackrate: Command, tmp_path: Path, command: tuple[str, ...], changed: dict[str, Any], words: str
) -> None:
    name, *options = command
    code, _, error = rackrate(name, str(config(tmp_path / "m", **changed)), *options)
    assert code == 2
    assert words in error
    assert "config.json" in error
    assert "Traceback" not in error


@pytest.mark.parametrize("name", ["./nowhere", "missing.gguf", "llama-3-8b-instrct"])
def test_a_model_that_is_not_there_is_one_sentence(rackrate: Command, name: str) -> None:
    code, _, error = rackrate("simulate", name, *SIMULATE)
    assert code == 2
    assert "no such file" in error or "did you mean" in error.lower() or "llama-3-8b-instruct" in error


def test_a_format_without_a_name_in_step_times_is_not_taken_for_16_bits(rackrate: Command) -> None:
    tpot: dict[str, float] = {}
    for form in ("bf16", "w4a16-g32", "nf4"):
        out = rackrate("simulate", "llama-3-8b-instruct", *SIMULATE, "--weights", form)[1]
        tpot[form] = json.loads(out)["levels"][0]["tpot"]["p50"]
    assert tpot["w4a16-g32"] < 0.7 * tpot["bf16"]
    assert tpot["nf4"] < 0.7 * tpot["bf16"]


def test_llamacpp_shares_layers_and_has_formats_of_its_own(rackrate: Command) -> None:
    code, out, error = rackrate(
        "plan", "llama-3-8b-instruct", "--traffic", "0.05/s", "--requests", "60", "--offer", "aws/g4dn.12xlarge",
        "--engine", "llamacpp", "--weights", "fp16", "--slo", "p95 ttft < 30s", "--json",
    )  # fmt: skip
    assert code == 0, error
    row = json.loads(out)["rows"][0]
    assert (row["tensor_parallel"], row["weights"], row["engine"]) == (1, "fp16", "llamacpp-gpu")
    assert row["pipeline_parallel"] in {2, 4}


def test_where_is_said_once(rackrate: Command, tmp_path: Path) -> None:
    code, _, error = rackrate("simulate", "llama-3-8b-instruct", "--rate", "1")
    assert code == 2
    assert "say where" in error
    code, _, error = rackrate("simulate", "llama-3-8b-instruct", "--calibration", str(tmp_path), "--rate", "1")
    assert code == 2
    assert "no such file" in error
    code, _, error = rackrate("simulate", "llama-3-8b-instruct", "--calibration", str(tmp_path), "--tp", "2")
    assert code == 2
    assert "settled by --calibration" in error
