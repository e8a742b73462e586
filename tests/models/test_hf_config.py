"""config.json files against published numbers of parameters, and what is said of wrong ones."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from rackrate.catalog.load import load_catalog
from rackrate.errors import UserError
from rackrate.memory.fit import fit as memory_fit
from rackrate.models.architecture import Architecture, of_catalogue_model
from rackrate.models.config_values import ConfigValues
from rackrate.models.formats import weight_format
from rackrate.models.hf_config import architecture_of_config
from rackrate.models.read_model import read_model
from rackrate.models.weight_sizes import weight_bytes
from rackrate.steptime.work import Formats, linear_work

ROWS: list[dict[str, Any]] = json.loads(Path(__file__).with_name("configs.json").read_text(encoding="utf-8"))
"""The keys of published configs that matter, with where they are from; `parameters` are published counts."""
OF_CATALOGUE = [row for row in ROWS if "catalogue" in row]
OTHERS = [row for row in ROWS if "name" in row]
ROUNDED = {"nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", "nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-FP8"}
"""Published to three or four figures only."""

LLAMA: dict[str, Any] = {
    "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 8192,
    "tie_word_embeddings": False, "torch_dtype": "bfloat16",
}  # fmt: skip


def read(config: dict[str, Any], name: str = "m", **options: Any) -> Architecture:
    return architecture_of_config(ConfigValues("config.json", config), name, **options)[0]


def tolerance(name: str) -> float:
    return 1e-3 if name in ROUNDED else 1e-5


def test_every_model_of_the_catalogue_has_a_row() -> None:
    assert {row["catalogue"] for row in OF_CATALOGUE} == set(load_catalog().models)
    assert len(OTHERS) >= 15


@pytest.mark.parametrize("row", OF_CATALOGUE, ids=lambda row: row["catalogue"])
def test_parameters_of_the_config_are_the_published_ones(row: dict[str, Any]) -> None:
    model = load_catalog().model(row["catalogue"])
    found = read(row["config"])
    published = model.parameters - (model.vision_parameters or 0)
    assert found.parameters.total == pytest.approx(published, rel=tolerance(model.id))
    if model.active_parameters is not None:
        of_text = model.active_parameters - (model.vision_parameters or 0)
        assert found.active_parameters == pytest.approx(of_text, rel=tolerance(model.id))
        assert of_catalogue_model(model).active_parameters == of_text


def test_kimi_k3_has_what_was_published_of_it() -> None:
    model = load_catalog().model("kimi-k3")
    assert model.parameters == pytest.approx(2.78e12, rel=1e-3)
    assert model.active_parameters is not None
    assert model.active_parameters - model.vocabulary * model.hidden_size == pytest.approx(104e9, rel=3e-3)


@pytest.mark.parametrize("row", OF_CATALOGUE, ids=lambda row: row["catalogue"])
def test_a_step_computes_and_reads_what_the_config_says(row: dict[str, Any]) -> None:
    """Matrices that every token passes, experts, and the output layer: of the entry, and of the config as a model."""
    of_config = read(row["config"])
    parts = of_config.parameters
    linear = (
        parts.attention + parts.key_value + parts.latent + parts.state + parts.feed_forward + parts.router
    )  # norms and biases, which the work of a step has among them, are 0.3 % at most
    for model in (of_catalogue_model(load_catalog().model(row["catalogue"])), of_config):
        work = linear_work(model, Formats(16, "16"))
        assert work.token_flop == pytest.approx(2 * linear, rel=3e-3)
        assert work.head_flop == 2 * model.vocabulary * model.hidden_size
        assert work.expert_bytes == pytest.approx(2 * parts.experts, rel=1e-3)
        if of_config.experts is not None:
            share = of_config.experts.active / of_config.experts.routed
            assert work.expert_token_flop == pytest.approx(2 * parts.experts * share, rel=1e-3)


@pytest.mark.parametrize("row", OF_CATALOGUE, ids=lambda row: row["catalogue"])
def test_the_catalogue_entry_and_the_config_describe_the_same_machine_load(row: dict[str, Any]) -> None:
    of_entry = of_catalogue_model(load_catalog().model(row["catalogue"]))
    of_config = read(row["config"])
    for name in ("layers", "hidden_size", "heads", "vocabulary", "context_tokens", "widest_feed_forward", "caches",
                 "native_weights", "experts"):  # fmt: skip
        assert getattr(of_config, name) == getattr(of_entry, name), name
    form = weight_format(of_entry.native_weights)
    vision = 2 * of_entry.parameters.vision
    # the entry does not say how latent or linear attention divides into matrices and vectors
    assert weight_bytes(of_config, form) == pytest.approx(weight_bytes(of_entry, form) - vision, rel=3e-3)


@pytest.mark.parametrize("row", OTHERS, ids=lambda row: row["name"])
def test_parameters_of_other_families(row: dict[str, Any]) -> None:
    assert read(row["config"]).parameters.total == pytest.approx(row["parameters"], rel=tolerance(row["name"]))


@pytest.mark.parametrize(
    ("quantisation", "name"),
    [
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8-block"),
        ({"quant_method": "fp8"}, "fp8"),
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, "w4a16"),
        ({"quant_method": "gptq", "bits": 4, "group_size": 64}, "w4a16-g64"),
        ({"quant_method": "gptq", "bits": 8, "group_size": 128}, "w8a16"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "nf4"),
        ({"quant_method": "mxfp4"}, "mxfp4"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "nvfp4"),
        (
            {"quant_method": "compressed-tensors", "config_groups": {"group_0": {
                "weights": {"num_bits": 8, "type": "int"}, "input_activations": {"num_bits": 8}}}},
            "int8",
        ),
        (
            {"quant_method": "compressed-tensors", "config_groups": {"group_0": {
                "weights": {"num_bits": 4, "type": "int", "group_size": 32}}}},
            "w4a16-g32",
        ),
    ],
)  # fmt: skip
def test_quantisation_is_read(quantisation: dict[str, Any], name: str) -> None:
    found = read({**LLAMA, "quantization_config": quantisation})
    assert found.native_weights == name
    assert 0 < weight_bytes(found, weight_format(name)) < 2 * found.parameters.total


def test_a_quantisation_nobody_knows_is_named_unless_the_format_is_stated() -> None:
    config = {**LLAMA, "quantization_config": {"quant_method": "aqlm", "nbits": 2}}
    with pytest.raises(UserError, match=r"config\.json: quantization_config\.quant_method is 'aqlm'.*weights"):
        read(config)
    assert read(config, weights_stated=True).native_weights == "bf16"


def test_a_nested_text_config_is_found_and_vision_is_said_to_be_left_out() -> None:
    outer = {"model_type": "llava", "text_config": LLAMA, "vision_config": {"hidden_size": 1024}}
    found, notes = architecture_of_config(ConfigValues("config.json", outer), "m")
    assert found.parameters.total == 8_030_261_248
    assert any("vision" in note for note in notes)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"hidden_size": None}, "the key hidden_size .* is missing"),
        ({"quantization_config": [1]}, "quantization_config should be a JSON object, not .1."),
        ({"hidden_size": "wide"}, "hidden_size should be a whole number from 1 to .*, not 'wide'"),
        ({"num_hidden_layers": -3}, "num_hidden_layers should be a whole number from 1"),
        ({"num_hidden_layers": 10**7}, "num_hidden_layers should be at most 10,000"),
        ({"vocab_size": 10**15}, "vocab_size should be a whole number .*, not 1000000000000000"),
        ({"vocab_size": True}, "vocab_size should be a whole number"),
        ({"vocab_size": 1.5}, "vocab_size should be a whole number"),
        ({"num_key_value_heads": 5}, "num_attention_heads .32. should be a multiple of num_key_value_heads .5."),
        ({"hidden_size": 4097}, "hidden_size .4097. should be a multiple of num_attention_heads"),
        ({"tie_word_embeddings": "no"}, "tie_word_embeddings should be true or false, not 'no'"),
        ({"torch_dtype": "float8"}, "torch_dtype 'float8' is not a number format"),
        ({"layer_types": ["full_attention"]}, "layer_types should list a word for each of the 32 layers"),
        ({"layer_types": ["conv"] * 32}, "layer_types has 'conv'"),
        ({"model_type": "deepseek_v4"}, "model_type 'deepseek_v4' cannot be computed"),
        ({"model_type": "laguna"}, "model_type 'laguna' cannot be computed.*differ in heads"),
        ({"model_type": "bert"}, "model_type 'bert' cannot be computed.*no decoder"),
        ({"is_encoder_decoder": True}, "is_encoder_decoder is true"),
        ({"num_experts": 8, "num_experts_per_tok": 9}, "9 experts per token are more than the 8"),
        ({"hybrid_override_pattern": "M*"}, "hybrid_override_pattern should have"),
        ({"model_type": "deepseek_v3", "n_routed_experts": 8}, "kv_lora_rank is missing, which every deepseek_v3 has"),
        ({"model_type": "deepseek_v3", "kv_lora_rank": 512}, "num_experts .* is missing, which every deepseek_v3 has"),
        ({"model_type": "qwen3_moe"}, "num_experts .* is missing, which every qwen3_moe has"),
        ({"num_experts": 8, "num_experts_per_tok": 2, "first_k_dense_replace": 33}, "more than the 32 layers"),
        ({"num_experts": 8, "num_experts_per_tok": 2, "decoder_sparse_step": 0}, "decoder_sparse_step should be"),
        ({"num_experts": 8, "num_experts_per_tok": 2, "moe_layer_freq": "all"}, "moe_layer_freq should be"),
        ({"head_dim": 10**6}, "head_dim should be at most 65,536"),
        ({"vocab_size": 10**9, "hidden_size": 32 * 10**6}, "parameters, more than any model has"),
        ({"torch_dtype": 16}, "torch_dtype should be a word such as bfloat16, not 16"),
    ],
)
def test_a_wrong_config_is_one_sentence_with_file_and_key(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as caught:
        read({**LLAMA, **change})
    assert str(caught.value).startswith("config.json")
    assert "\n" not in str(caught.value)


def test_an_unknown_type_is_read_as_llama_and_said_so() -> None:
    found, notes = architecture_of_config(ConfigValues("config.json", {**LLAMA, "model_type": "llamma"}), "m")
    assert found.parameters.total == 8_030_261_248
    assert "the model_type 'llamma' is not known" in notes[0]
    assert "may be far off" in notes[0]
    assert "did you mean" not in notes[0]  # nobody typed it, and what is spelt alike is not built alike


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "not valid JSON"),
        ("{", "config.json:1:2: not valid JSON"),
        ("[1, 2]", "should hold a JSON object, not a list"),
        ("[" * 100_000, "not valid JSON"),
        ("{}", "the key model_type is missing"),
    ],
)
def test_files_that_are_no_config(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "config.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=sentence):
        read_model(str(file), load_catalog())


def test_what_a_config_leaves_out_is_said() -> None:
    without = {key: value for key, value in LLAMA.items() if key not in {"max_position_embeddings", "model_type"}}
    found, notes = architecture_of_config(ConfigValues("config.json", without), "m")
    assert found.context_tokens == 2048
    assert any("max_position_embeddings is missing: the context is taken as 2,048" in note for note in notes)
    assert any("the key model_type is missing; read as Llama's shape" in note for note in notes)


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(LLAMA), encoding="utf-8-sig")
    assert read_model(str(file), load_catalog()).architecture.layers == 32


@pytest.mark.parametrize(
    ("name", "listed", "weights"),
    [
        ("Qwen/Qwen2.5-32B-Instruct-AWQ", "qwen2.5-32b-instruct", "awq"),
        ("Qwen/Qwen2.5-72B-Instruct-GPTQ-Int4", "qwen2.5-72b-instruct", "gptq"),
        ("Qwen/Qwen2.5-72B-Instruct-GPTQ-Int8", "qwen2.5-72b-instruct", "w8a16"),
        ("RedHatAI/Meta-Llama-3.1-8B-Instruct-FP8-dynamic", "llama-3.1-8b-instruct", "fp8"),
        ("neuralmagic/Llama-3.3-70B-Instruct-quantized.w8a8", "llama-3.3-70b-instruct", "int8"),
        ("nvidia/Llama-3.3-70B-Instruct-NVFP4", "llama-3.3-70b-instruct", "nvfp4"),
    ],
)
def test_a_format_in_the_name_of_a_model_of_the_catalogue_is_its_format(name: str, listed: str, weights: str) -> None:
    found = read_model(name, load_catalog())
    assert found.listed is not None
    assert found.listed.id == listed
    assert found.architecture.native_weights == weights
    assert f"{listed} in {weights}" in found.notes[-1]


def test_names_and_places(tmp_path: Path) -> None:
    assert read_model("meta-llama/Meta-Llama-3-8B-Instruct", load_catalog()).architecture.name == "llama-3-8b-instruct"
    with pytest.raises(UserError, match="no model is called 'lama-3-8b'; did you mean"):
        read_model("lama-3-8b", load_catalog())
    with pytest.raises(UserError, match=r"neither a config\.json nor a GGUF file"):
        read_model(str(tmp_path), load_catalog())
    (tmp_path / "config.json").write_text(json.dumps(LLAMA), encoding="utf-8")
    found = read_model(str(tmp_path), load_catalog()).architecture
    assert found.name == tmp_path.name
    assert found == read_model(str(tmp_path / "config.json"), load_catalog()).architecture


def test_jamba_is_a_hybrid_of_the_first_mamba() -> None:
    """arXiv:2403.19887, table 1: 52B parameters, 12B active, 4 GB of cache for 256K tokens of 16 bits."""
    jamba = read(
        {
            "model_type": "jamba", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
            "num_attention_heads": 32, "num_key_value_heads": 8, "attn_layer_offset": 4, "attn_layer_period": 8,
            "expert_layer_offset": 1, "expert_layer_period": 2, "num_experts": 16, "num_experts_per_tok": 2,
            "mamba_d_state": 16, "mamba_d_conv": 4, "mamba_expand": 2, "mamba_dt_rank": "auto",
            "vocab_size": 65536, "max_position_embeddings": 262144, "tie_word_embeddings": False,
        }
    )  # fmt: skip
    assert round(jamba.parameters.total / 1e9) == 52
    assert round(jamba.active_parameters / 1e9) == 12
    grouped, state = jamba.caches
    assert (grouped.layers, state.layers) == (4, 28)
    assert grouped.layers * grouped.kv_heads * (grouped.key_dim + grouped.value_dim) * 2 * 262144 == 4 * 2**30


@pytest.mark.parametrize("row", OF_CATALOGUE, ids=lambda row: row["catalogue"])
def test_a_step_of_a_model_read_from_its_config_is_that_of_its_entry(row: dict[str, Any]) -> None:
    listed = of_catalogue_model(load_catalog().model(row["catalogue"]))
    formats = Formats(16, "16")
    of_entry, of_config = linear_work(listed, formats), linear_work(read(row["config"]), formats)
    for field in fields(of_entry):
        name = field.name
        expected = pytest.approx(getattr(of_entry, name), rel=0.02)
        assert getattr(of_config, name) == expected, name


def test_weights_published_in_32_bits_are_served_in_16() -> None:
    card = load_catalog().accelerators["l40s"]
    wide = memory_fit(read({**LLAMA, "torch_dtype": "float32"}), card, weights_file_bytes=4 * 8030261248)
    assert (wide.weights_format, wide.total_weights_bytes) == ("bf16", pytest.approx(2 * 8030261248))
    assert any("published in fp32" in note for note in wide.notes)
    assert memory_fit(read({**LLAMA, "torch_dtype": "float32"}), card, weights="fp32").total_weights_bytes > 3e10


GEMMA3: dict[str, Any] = {
    "model_type": "gemma3",
    "text_config": {
        "hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text", "num_hidden_layers": 34,
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024,
    },
    "torch_dtype": "bfloat16", "vision_config": {"hidden_size": 1152},
}  # fmt: skip


def test_what_a_text_part_leaves_out_is_the_default_of_its_class() -> None:
    """google/gemma-3-4b-it and llava-hf/llava-1.5-7b-hf as they are published."""
    gemma, notes = architecture_of_config(ConfigValues("config.json", GEMMA3), "m")
    assert gemma.parameters.total == 3_880_263_168
    assert (gemma.heads, gemma.kv_heads, gemma.head_dim, gemma.vocabulary) == (8, 4, 256, 262_208)
    assert gemma.context_tokens == 131_072  # which the factor of 8 has already reached
    assert [(group.layers, group.window_tokens) for group in gemma.caches] == [(5, None), (29, 1024)]
    assert any(
        "text_config leaves out head_dim, max_position_embeddings, num_attention_heads" in note for note in notes
    )
    assert any("gemma3_text in transformers 5." in note for note in notes)
    larger = {**GEMMA3["text_config"], "head_dim": 128, "hidden_size": 5376, "intermediate_size": 21504,
              "num_attention_heads": 32, "num_hidden_layers": 62, "num_key_value_heads": 16}  # fmt: skip
    assert read({**GEMMA3, "text_config": larger}).parameters.total == 27_009_346_304
    llava = {
        "model_type": "llava", "tie_word_embeddings": False, "vision_config": {"hidden_size": 1024},
        "text_config": {"model_type": "llama", "max_position_embeddings": 4096, "vocab_size": 32064},
    }  # fmt: skip
    assert read(llava).parameters.total == 6_738_939_904
    untyped = {**llava, "text_config": {"max_position_embeddings": 4096, "vocab_size": 32064}}
    assert read(untyped).parameters.total == 6_738_939_904


def test_a_file_of_its_own_that_lacks_sizes_is_still_refused() -> None:
    with pytest.raises(UserError, match=r"the key hidden_size .* is missing"):
        read({key: value for key, value in LLAMA.items() if key != "hidden_size"})


def test_apertus_has_no_gates() -> None:
    """swiss-ai/Apertus-8B-2509: published as 8B; xIELU has two parameters a layer, queries and keys have norms."""
    config = {
        "model_type": "apertus", "hidden_size": 4096, "intermediate_size": 21504, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 131072, "max_position_embeddings": 65536,
        "qk_norm": True, "tie_word_embeddings": False,
    }  # fmt: skip
    found = read(config)
    assert found.parameters.total == 8_053_338_176
    assert not found.gated


LONGCAT: dict[str, Any] = {
    "model_type": "longcat_flash", "vocab_size": 131072, "hidden_size": 6144, "ffn_hidden_size": 12288,
    "expert_ffn_hidden_size": 2048, "num_layers": 28, "num_attention_heads": 64, "kv_lora_rank": 512,
    "q_lora_rank": 1536, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128, "moe_topk": 12,
    "n_routed_experts": 512, "zero_expert_num": 256, "max_position_embeddings": 131072, "tie_word_embeddings": False,
}  # fmt: skip


def test_longcat_doubles_attention_and_lets_experts_idle() -> None:
    """arXiv:2509.01322: 560B parameters, 27B active on average; two MLAs in each of 28 layers."""
    found = read(LONGCAT)
    assert found.parameters.total == pytest.approx(560e9, rel=2e-3)
    assert found.active_parameters == pytest.approx(27e9, rel=0.04)  # 18.6 to 31.3 by token
    assert [(group.kind, group.layers, group.latent_values) for group in found.caches] == [("latent", 56, 576)]


@pytest.mark.parametrize(
    ("rope", "stated", "context"),
    [
        ({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}, 32768, 131_072),
        ({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}, 131_072, 131_072),
        ({"type": "yarn", "factor": 4.0}, 32768, 131_072),
        ({"rope_type": "yarn", "factor": 40, "original_max_position_embeddings": 4096}, 163_840, 163_840),
        ({"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192}, 131_072, 131_072),
        ({"type": "longrope", "short_factor": [1.0], "long_factor": [4.0]}, 131_072, 131_072),
        ({"type": "su", "factor": 32.0}, 131_072, 131_072),
        ({"type": "linear", "factor": 4.0}, 4096, 16_384),
        ({"type": "dynamic", "factor": 2.0}, 32_768, 65_536),
        ({"type": "mrope", "mrope_section": [16, 24, 24]}, 32_768, 32_768),
        ({"rope_type": "default", "rope_theta": 1e6}, 32_768, 32_768),
    ],
)
@pytest.mark.parametrize("key", ["rope_scaling", "rope_parameters"])
def test_a_context_is_extended_as_engines_extend_it(key: str, rope: dict[str, Any], stated: int, context: int) -> None:
    """vLLM, _get_and_verify_max_len; the first row is Qwen2.5's own advice (its model card)."""
    found, notes = architecture_of_config(
        ConfigValues("config.json", {**LLAMA, "max_position_embeddings": stated, key: rope}), "m"
    )
    assert found.context_tokens == context
    assert any(f"{context:,} tokens by its rope_scaling" in note for note in notes) == (context != stated)


def test_a_factor_that_is_none_is_named() -> None:
    with pytest.raises(UserError, match=r"config\.json: rope_scaling\.factor should be a number from 1 to 100,000"):
        read({**LLAMA, "rope_scaling": {"type": "yarn", "factor": -4}})


def test_windows_that_a_class_implies() -> None:
    """Qwen2 windows the layers from max_window_layers on; gpt-oss and Olmo 3 by their pattern."""
    qwen = {**LLAMA, "model_type": "qwen2", "sliding_window": 1024, "max_window_layers": 28}
    assert [(group.layers, group.window_tokens) for group in read(qwen).caches] == [(32, None)]
    windowed = read({**qwen, "use_sliding_window": True})
    assert [(group.layers, group.window_tokens) for group in windowed.caches] == [(28, None), (4, 1024)]
    olmo = read({**LLAMA, "model_type": "olmo3", "sliding_window": 1024})
    assert [(group.layers, group.window_tokens) for group in olmo.caches] == [(8, None), (24, 1024)]


def _gemma4(layers: int, every: int = 6, **sizes: Any) -> Architecture:
    kinds = [
        "full_attention" if (n + 1) % every == 0 or n == layers - 1 else "sliding_attention" for n in range(layers)
    ]
    return read(
        {
            "model_type": "gemma4_text", "num_hidden_layers": layers, "layer_types": kinds, "head_dim": 256,
            "global_head_dim": 512, "vocab_size": 262_144, "max_position_embeddings": 262_144, **sizes,
        }
    )  # fmt: skip


def test_gemma_4_differs_by_layer() -> None:
    """Its model card: 30.7B; 25.2B with 3.8B active; 8B and 5.1B with embeddings, vision and audio (about 0.5B)."""
    full = {"attention_k_eq_v": True, "hidden_size_per_layer_input": 0, "sliding_window": 1024}
    dense = _gemma4(
        60, hidden_size=5376, intermediate_size=21504, num_attention_heads=32, num_key_value_heads=16,
        num_global_key_value_heads=4, **full,
    )  # fmt: skip
    assert dense.parameters.total == pytest.approx(30.7e9, rel=2e-3)
    assert [(group.layers, group.kv_heads, group.key_dim, group.window_tokens) for group in dense.caches] == [
        (10, 4, 512, None), (50, 16, 256, 1024),
    ]  # fmt: skip
    moe = _gemma4(
        30, hidden_size=2816, intermediate_size=2112, num_attention_heads=16, num_key_value_heads=8,
        num_global_key_value_heads=2, enable_moe_block=True, num_experts=128, top_k_experts=8,
        moe_intermediate_size=704, **full,
    )  # fmt: skip
    assert moe.parameters.total == pytest.approx(25.2e9, rel=2e-3)
    assert moe.active_parameters == pytest.approx(3.8e9, rel=0.01)
    small = {"num_attention_heads": 8, "sliding_window": 512}
    e4b = _gemma4(
        42, hidden_size=2560, intermediate_size=10240, num_key_value_heads=2, num_kv_shared_layers=18, **small
    )
    assert 7.3e9 < e4b.parameters.total < 8e9
    assert sum(group.layers for group in e4b.caches) == 24
    e2b = _gemma4(
        35, 5, hidden_size=1536, intermediate_size=6144, num_key_value_heads=1, num_kv_shared_layers=20,
        use_double_wide_mlp=True, **small,
    )  # fmt: skip
    assert 4.5e9 < e2b.parameters.total < 5.1e9
    with pytest.raises(UserError, match=r"num_kv_shared_layers .35. should be fewer than the 35"):
        _gemma4(35, hidden_size=1536, intermediate_size=6144, num_key_value_heads=1, num_kv_shared_layers=35, **small)


def test_the_whole_files_word_on_tying_counts_before_the_class() -> None:
    text = {key: value for key, value in LLAMA.items() if key != "tie_word_embeddings"}
    for outer in ("llava", "internvl", "smolvlm"):
        tied = read({"model_type": outer, "tie_word_embeddings": True, "text_config": text})
        assert tied.tied_embeddings
    assert not read({"model_type": "llava", "text_config": text}).tied_embeddings


def test_a_text_part_without_a_type_is_that_of_the_whole_files_class() -> None:
    """google/paligemma-3b as published: Gemma's head size of 256 and its tied output matrix are not in the file."""
    text = {"hidden_size": 2048, "intermediate_size": 16384, "num_attention_heads": 8, "num_hidden_layers": 18,
            "num_key_value_heads": 1, "vocab_size": 257_216}  # fmt: skip
    for typed in ({"model_type": "gemma"}, {}):
        found = read({"model_type": "paligemma", "text_config": {**text, **typed}, "vision_config": {}})
        assert (found.head_dim, found.kv_heads, found.tied_embeddings) == (256, 1, True)
        assert found.parameters.total == 2_506_172_416 + (257_216 - 256_000) * 2048  # gemma-2b with more words


def test_a_whole_file_may_lack_what_its_class_has_and_it_is_said() -> None:
    config = {
        key: value for key, value in LLAMA.items() if key not in {"max_position_embeddings", "num_key_value_heads"}
    }
    found, notes = architecture_of_config(ConfigValues("config.json", {**config, "model_type": "mistral"}), "m")
    assert (found.kv_heads, found.context_tokens) == (8, 131_072)
    assert any("it leaves out max_position_embeddings, num_key_value_heads: taken from" in note for note in notes)
    assert found.window_tokens is None  # a lost `sliding_window: null` is no window


def test_words_of_opt_350m_are_narrower_than_its_layers() -> None:
    """facebook/opt-350m as published: 331,196,416; words of 512 values, projected in and out, and no last norm."""
    config = {"model_type": "opt", "hidden_size": 1024, "ffn_dim": 4096, "num_hidden_layers": 24,
              "num_attention_heads": 16, "word_embed_proj_dim": 512, "do_layer_norm_before": False,
              "vocab_size": 50272, "max_position_embeddings": 2048}  # fmt: skip
    assert read(config).parameters.total == 331_196_416


def test_bloom_names_its_width_as_its_first_config_does() -> None:
    """bigscience/bloom as published: 176,247,271,424."""
    config = {"model_type": "bloom", "n_layer": 70, "num_attention_heads": 112, "n_embed": 14336,
              "vocab_size": 250_880, "seq_length": 2048}  # fmt: skip
    assert read(config).parameters.total == 176_247_271_424


def test_norms_and_biases_that_only_a_key_asks_for() -> None:
    """As published: Command R+ 103,810,674,688, StableLM 2 12B 12,143,185,920, Phi-3.5-MoE 41,873,153,344."""
    command = {"model_type": "cohere", "hidden_size": 12288, "intermediate_size": 33792, "num_hidden_layers": 64,
               "num_attention_heads": 96, "num_key_value_heads": 8, "vocab_size": 256_000, "use_qk_norm": True,
               "max_position_embeddings": 8192, "model_max_length": 131_072}  # fmt: skip
    assert read(command).parameters.total == 103_810_674_688
    stable = {"model_type": "stablelm", "hidden_size": 5120, "intermediate_size": 13824, "num_hidden_layers": 40,
              "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 100_352, "qk_layernorm": True,
              "use_parallel_residual": True, "max_position_embeddings": 4096}  # fmt: skip
    assert read(stable).parameters.total == 12_143_185_920
    phi = {"model_type": "phimoe", "hidden_size": 4096, "intermediate_size": 6400, "num_hidden_layers": 32,
           "num_attention_heads": 32, "num_key_value_heads": 8, "num_local_experts": 16, "num_experts_per_tok": 2,
           "vocab_size": 32064, "attention_bias": True, "lm_head_bias": True,
           "max_position_embeddings": 131_072}  # fmt: skip
    assert read(phi).parameters.total == 41_873_153_344


def test_the_longest_request_that_a_config_names_is_its_context() -> None:
    """vLLM takes model_max_length before max_position_embeddings (Command R: 131,072 of 8,192)."""
    config = ConfigValues("config.json", {**LLAMA, "max_position_embeddings": 8192, "model_max_length": 131_072})
    found, notes = architecture_of_config(config, "m")
    assert (found.context_tokens, notes) == (131_072, [])


def test_a_vision_part_beside_the_sizes_of_the_text_is_said_to_be_left_out() -> None:
    """Qwen2-VL's config has the text's sizes at the top, and a vision_config beside them."""
    config = ConfigValues("config.json", {**LLAMA, "vision_config": {"depth": 32, "embed_dim": 1280}})
    assert any("vision or audio parts are not counted" in note for note in architecture_of_config(config, "m")[1])
