"""Published rows: spellings of authors, loads, units, and rows that must not be predicted."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from published_row import ROW
from rackrate.errors import UserError
from rackrate.perf.engine_eras import era_of
from rackrate.perf.published import (
    COLUMNS,
    CannotPredictError,
    find_accelerator,
    find_model,
    read_published,
    understand,
    weight_format,
)


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
    ],
)
def test_spellings_of_accelerators(spelling: str, accelerator: str) -> None:
    assert find_accelerator(spelling).id == accelerator


@pytest.mark.parametrize("spelling", ["unknown x8 (TP8)", "", "SN40L", "AMD A (x32), AMD B (x16)"])
def test_accelerators_without_facts(spelling: str) -> None:
    with pytest.raises(CannotPredictError):
        find_accelerator(spelling)


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
    found, assumed = find_model(spelling, "")
    assert (found.id, assumed) == (model, False)


def test_an_unknown_model_takes_the_nearest_shape_and_says_so() -> None:
    found, assumed = find_model("somebody/tuned-9b", "9.2B")
    assert assumed
    assert found.parameters == pytest.approx(9.2e9, rel=1e-6)
    with pytest.raises(CannotPredictError):
        find_model("somebody/tuned", "")


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
    case = understand({**ROW, "concurrency_or_rate": text}, "file", 2)
    assert (case.load.kind, case.load.value) == (kind, value)


def test_a_row_in_si_units() -> None:
    case = understand(ROW, "file", 2)
    assert case.observed.tpot_s == pytest.approx(0.0165)
    assert case.parallel.tensor == 4
    assert case.era.id == "vllm-0.4"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"engine": "somebody's"}, "no coefficients for the engine"),
        ({"isl": ""}, "prompt or output length"),
        ({"isl": "long"}, "prompt or output length"),
        ({"output_tok_s": "", "itl_ms": ""}, "no throughput"),
        ({"concurrency_or_rate": "some"}, "load not understood"),
        ({"notes": "LOW TRUST: a range"}, "low trust"),
        ({"n_gpus": "1", "tp": "1"}, "do not fit"),
    ],
)
def test_rows_that_are_left_out_with_their_reason(change: dict[str, str], reason: str) -> None:
    big = {"model": "llama-3-70b", "params": "70.6B"} if "n_gpus" in change else {}
    with pytest.raises(CannotPredictError, match=reason):
        understand({**ROW, **big, **change}, "file", 2)


def test_formats_and_eras() -> None:
    assert [weight_format(one) for one in ("AWQ", "Q4_K_M", "fp8 (W8A8)", "bfloat16", "nvfp4", "w8a16")] == [
        "w4a16", "q4_k", "w8a8", "bf16", "fp4", "w8a16",
    ]  # fmt: skip
    assert [getattr(era_of(name, version), "id", None) for name, version in (
        ("vLLM", "0.6.2"), ("vllm", "0.8.5"), ("SGLang", "0.5.6"), ("TensorRT-LLM", ""),
        ("nim (trt-llm)", "1.0"), ("x", ""),
    )] == ["vllm-0.4", "vllm-0.8", "sglang", "trtllm", "trtllm", None]  # fmt: skip


def _write(path: Path, rows: list[dict[str, str]], columns: tuple[str, ...] = COLUMNS) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_a_file_counts_what_it_leaves_out(tmp_path: Path) -> None:
    path = _write(tmp_path / "rows.csv", [ROW, {**ROW, "gpu": "unknown"}, ROW])
    found = read_published(path)
    assert (found.rows, len(found.cases), found.left_out) == (3, 2, ((3, "the accelerator is not stated"),))


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_published(tmp_path / "none.csv")
    with pytest.raises(UserError, match="has no rows"):
        read_published(_write(tmp_path / "empty.csv", []))
    with pytest.raises(UserError, match="the columns osl, notes are missing"):
        read_published(_write(tmp_path / "other.csv", [ROW], tuple(set(COLUMNS) - {"osl", "notes"})))
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(UserError, match="cannot be read"):
        read_published(binary)
