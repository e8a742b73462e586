"""Published rows: spellings of authors, loads, units, and rows that must not be predicted."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from published_row import ROW
from rackrate.catalog.load import load_catalog
from rackrate.engines.releases import release_of
from rackrate.errors import UserError
from rackrate.models.formats import format_in_results
from rackrate.validation.fitting import observations
from rackrate.validation.names import CannotPredictError, PublishedNames, stated_sizes
from rackrate.validation.published import COLUMNS, read_published, understand

NAMES = PublishedNames(load_catalog())


@pytest.mark.parametrize(
    ("spelling", "accelerator"),
    [
        ("NVIDIA A100-SXM4-40GB", "a100-sxm-40gb"),
        ("A100-PCIE-80GB", "a100-pcie-80gb"),
        ("H100-80GB", "h100-sxm"),
        ("NVIDIA H100 80GB HBM3", "h100-sxm"),
        ("Tesla T4", "t4"),
        ("T4-16GB", "t4"),
        ("NVIDIA GeForce RTX 4090 D", "rtx-4090-d"),
        ("RTX-3090-24GB", "rtx-3090"),
        ("AMD Instinct MI300X 192GB HBM3", "mi300x"),
        ("Virtualized NVIDIA H200-SXM-141GB", "h200"),
        ("Intel-Max-1550", "max-1550"),
        ("A10G-24GB", "a10g"),
        ("nvidia-h100-80gb", "h100-sxm"),
        ("MI300X OAM", "mi300x"),
        ("RTX 4090 x2", "rtx-4090"),
        ("Intel Arc A770", "arc-a770"),
        ("NVIDIA DGX Spark", "gb10"),
    ],
)
def test_spellings_of_accelerators(spelling: str, accelerator: str) -> None:
    assert NAMES.accelerator(spelling).id == accelerator


@pytest.mark.parametrize("spelling", ["unknown x8 (TP8)", "", "SN40L", "AMD A (x32), AMD B (x16)"])
def test_accelerators_without_facts(spelling: str) -> None:
    with pytest.raises(CannotPredictError):
        NAMES.accelerator(spelling)


@pytest.mark.parametrize(
    ("spelling", "model"),
    [
        ("llama-2-7b", "llama-2-7b-chat"),
        ("RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w4a16", "llama-3.1-8b-instruct"),
        ("Qwen/Qwen2.5-0.5B-Instruct", "qwen2.5-0.5b"),
        ("nvidia/DeepSeek-R1-NVFP4", "deepseek-r1"),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", "mixtral-8x7b-instruct"),
    ],
)
def test_spellings_of_models(spelling: str, model: str) -> None:
    found, assumed = NAMES.model(spelling, "")
    assert (found.id, assumed) == (model, False)


def test_an_unknown_model_takes_the_nearest_shape_and_says_so() -> None:
    found, assumed = NAMES.model("somebody/tuned-9b", "9.2B")
    assert assumed
    assert found.parameters == pytest.approx(9.2e9, rel=1e-6)
    with pytest.raises(CannotPredictError):
        NAMES.model("somebody/tuned", "")


@pytest.mark.parametrize(
    ("spelling", "model"),
    [
        ("DeepSeek R1", "deepseek-r1"),
        ("Llama 4 Scout", "llama-4-scout"),
        ("llama3:8b", "llama-3-8b-instruct"),
        ("Meta-Llama-3-8B-Instruct.Q4_K_M.gguf", "llama-3-8b-instruct"),
        ("TheBloke/Llama-2-13B-chat-GPTQ", "llama-2-13b-chat"),
        ("neuralmagic/Meta-Llama-3.1-70B-Instruct-quantized.w8a8", "llama-3.1-70b-instruct"),
        ("amd/Llama-3.1-405B-Instruct-MXFP4", "llama-3.1-405b-instruct"),
        ("deepseek-r1:14b", "qwen2.5-14b-instruct"),
        ("facebook/opt-6.7b", "opt-6.7b"),
        ("bigscience/bloom-7b1", "bloom-7b1"),
        ("tiiuae/falcon-40b", "falcon-40b"),
        ("THUDM/glm-4-9b-chat", "glm-4-9b"),
    ],
)
def test_spellings_of_more_models(spelling: str, model: str) -> None:
    found, assumed = NAMES.model(spelling, "")
    assert (found.id, assumed) == (model, False)


@pytest.mark.parametrize(
    ("params", "name", "sizes"),
    [
        ("8.03B", "", [8.03e9]),
        ("1T(32B active)", "", [1e12, 32e9]),
        ("494M", "", [494e6]),
        ("6740000000", "", [6.74e9]),
        ("70", "", [70e9]),
        ("", "tuned-30b-a3b-awq", [30e9, 3e9]),
        ("", "tuned-7B-v2", [7e9]),
        ("", "qwen-next", []),
        ("", "w4a16-8bit", []),
    ],
)
def test_sizes_as_they_are_stated(params: str, name: str, sizes: list[float]) -> None:
    assert stated_sizes(params, name) == pytest.approx(sizes)


def test_added_models_have_the_parameters_that_their_shape_says() -> None:
    """Embeddings, attention and feed-forward of the typed shapes come to the typed parameters, within what biases,
    gates or their absence change."""
    for name in (
        "opt-6.7b",
        "llama-65b",
        "yi-34b",
        "qwen1.5-72b",
        "mistral-large-2407",
        "deepseek-llm-67b",
        "gemma-7b",
    ):
        model, _ = NAMES.model(name, "")
        assert model.intermediate_size is not None
        gates = 2 if model.family == "opt" else 3
        layer = 2 * model.hidden_size * model.head_dim * (model.heads + model.kv_heads)
        layer += gates * model.hidden_size * model.intermediate_size
        embeddings = model.vocabulary * model.hidden_size * (1 if model.tied_embeddings else 2)
        assert model.parameters == pytest.approx(model.layers * layer + embeddings, rel=0.02), name


def test_an_engine_that_has_no_coefficients_is_predicted_as_vllm_and_not_fitted() -> None:
    case = understand({**ROW, "engine": "somebody's", "engine_version": "", "date": "2024-03"}, NAMES, "file", 2)
    assert case.release.id == "vllm-0.4"
    assert observations([case]) == []


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("batch=16", "static", 16),
        ("conc=64", "closed", 64),
        ("closed_loop_conc=8", "closed", 8),
        ("conc=1 (sequential)", "closed", 1),
        ("offline batch=100 (all sent at once)", "burst", 0),
        ("poisson_qps=5", "poisson", 5),
        ("infinite rate, 3000 req", "burst", 0),
        ("rps=2.5, 200 req", "poisson", 2.5),
    ],
)
def test_loads(text: str, kind: str, value: float) -> None:
    case = understand({**ROW, "concurrency_or_rate": text}, NAMES, "file", 2)
    assert (case.load.kind, case.load.value) == (kind, value)


def test_a_row_in_si_units() -> None:
    case = understand(ROW, NAMES, "file", 2)
    assert case.observed.tpot_s == pytest.approx(0.0165)
    assert case.parallel.tensor == 4
    assert case.release.id == "vllm-0.4"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"isl": ""}, "prompt or output length"),
        ({"isl": "long"}, "prompt or output length"),
        ({"output_tok_s": "", "itl_ms": ""}, "no throughput"),
        ({"concurrency_or_rate": "some"}, "load not understood"),
        ({"concurrency_or_rate": "poisson_qps=0"}, "out of all proportion"),
        ({"concurrency_or_rate": "batch=99999999"}, "out of all proportion"),
        ({"notes": "LOW TRUST: a range"}, "low trust"),
        ({"notes": "SPECULATIVE: MTP 3 tokens"}, "speculative decoding"),
        ({"notes": "EAGLE3, 4 steps"}, "speculative decoding"),
        ({"n_gpus": "1", "tp": "1"}, "do not fit"),
    ],
)
def test_rows_that_are_left_out_with_their_reason(change: dict[str, str], reason: str) -> None:
    big = {"model": "llama-3-70b", "params": "70.6B"} if "n_gpus" in change else {}
    with pytest.raises(CannotPredictError, match=reason):
        understand({**ROW, **big, **change}, NAMES, "file", 2)


def test_a_parallelism_of_nothing_is_one() -> None:
    assert understand({**ROW, "tp": "0.5", "n_gpus": "1"}, NAMES, "file", 2).parallel.tensor == 1


def test_a_format_in_the_name_or_the_model_s_own_counts_where_the_column_says_less() -> None:
    def format_of(**changed: str) -> str:
        card = {"gpu": "H200", "n_gpus": "8", "tp": "8"}
        return understand({**ROW, **card, **changed}, NAMES, "file", 2).weights

    assert format_of(model="TheBloke/Llama-2-70B-Chat-AWQ", weight_dtype="float16") == "w4a16"
    assert format_of(model="deepseek-ai/DeepSeek-R1", params="671B", weight_dtype="") == "fp8"
    assert format_of(weight_dtype="") == "bf16"
    assert format_of(weight_dtype="fp8") == "fp8"


def test_an_empty_prompt_has_one_token_and_steps_without_graphs_are_launched() -> None:
    assert understand({**ROW, "isl": "0"}, NAMES, "file", 2).load.prompt_tokens == 1
    assert understand({**ROW, "notes": "no speculative decoding"}, NAMES, "file", 2).release.captured
    assert not understand({**ROW, "notes": "ENFORCE-EAGER"}, NAMES, "file", 2).release.captured


def test_replicated_attention_and_spread_experts_may_stand_in_the_column() -> None:
    card = {"gpu": "H200", "n_gpus": "8", "tp": "1 (attention DP8 + EP8)"}
    parallel = understand({**ROW, **card, "model": "deepseek-r1", "weight_dtype": "fp8"}, NAMES, "file", 2).parallel
    assert (parallel.tensor, parallel.data, parallel.expert) == (1, 8, 8)


def test_a_mixture_of_unknown_size_takes_the_shape_of_a_mixture() -> None:
    routed, assumed = NAMES.model("north-9", "30.5B(MoE 128 experts, 8 active)")
    assert assumed
    assert routed.experts is not None
    assert NAMES.model("north-9", "30.5B")[0].experts is None


def test_offline_runs_stream_to_nobody() -> None:
    loads = {text: understand({**ROW, "concurrency_or_rate": text}, NAMES, "file", 2).load for text in (
        "batch=16", "offline batch=100", "conc=8", "poisson_qps=2",
    )}  # fmt: skip
    assert [load.streamed for load in loads.values()] == [False, False, True, True]


def test_formats_and_eras() -> None:
    assert [format_in_results(item) for item in (
        "AWQ", "Q4_K_M", "fp8 (W8A8)", "bfloat16", "nvfp4", "mxfp4", "w8a16",
    )] == ["w4a16", "q4_k", "w8a8", "bf16", "fp4", "mxfp4", "w8a16"]  # fmt: skip
    assert [getattr(release_of(name, version), "id", None) for name, version in (
        ("vLLM", "0.6.2"), ("vllm", "0.8.5"), ("SGLang", "0.5.6"), ("TensorRT-LLM", ""),
        ("nim (trt-llm)", "1.0"), ("x", ""),
    )] == ["vllm-0.4", "vllm-0.8", "sglang", "trtllm-1", "trtllm-0", None]  # fmt: skip


def _write(path: Path, rows: list[dict[str, str]], columns: tuple[str, ...] = COLUMNS) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_a_file_counts_what_it_leaves_out(tmp_path: Path) -> None:
    path = _write(tmp_path / "rows.csv", [ROW, {**ROW, "gpu": "unknown"}, ROW])
    found = read_published(path, NAMES)
    assert (found.rows, len(found.cases), found.left_out) == (3, 2, ((3, "the accelerator is not stated"),))


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_published(tmp_path / "none.csv", NAMES)
    with pytest.raises(UserError, match="has no rows"):
        read_published(_write(tmp_path / "empty.csv", []), NAMES)
    with pytest.raises(UserError, match="the columns osl, notes are missing"):
        read_published(_write(tmp_path / "other.csv", [ROW], tuple(set(COLUMNS) - {"osl", "notes"})), NAMES)
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(UserError, match="cannot be read"):
        read_published(binary, NAMES)
