"""Bits and sizes of number formats against published tables and the sizes of published files."""

from __future__ import annotations

import pytest

from rackrate.catalog.load import load_catalog
from rackrate.errors import UserError
from rackrate.models.architecture import Architecture, of_catalogue_model
from rackrate.models.formats import (
    FORMATS,
    SPELLINGS,
    format_in_results,
    native_step_name,
    step_format,
    step_name,
    support,
    weight_format,
)
from rackrate.models.weight_sizes import bits_per_weight, weight_bytes
from rackrate.units import GIB


def model(name: str) -> Architecture:
    return of_catalogue_model(load_catalog().model(name))


@pytest.mark.parametrize(
    ("name", "bits", "tolerance"),
    [
        ("fp16", 16.0005, 1e-4),
        ("Q8_0", 8.5008, 1e-4),
        ("Q6_K", 6.5633, 1e-4),
        ("Q5_K_M", 5.7036, 1e-4),
        ("Q4_K_M", 4.8944, 1e-4),
        ("Q4_K_S", 4.6672, 1e-4),
        ("IQ4_XS", 4.4597, 0.02),  # its mix is not modelled
    ],
)
def test_bits_per_weight_are_those_of_llama_cpps_own_table(name: str, bits: float, tolerance: float) -> None:
    # github.com/ggml-org/llama.cpp, tools/quantize/README.md: Llama-3.1-8B, bits/weight
    assert bits_per_weight(model("llama-3.1-8b-instruct"), weight_format(name)) == pytest.approx(bits, rel=tolerance)


@pytest.mark.parametrize(
    ("name", "form", "gib", "tolerance"),
    [
        # "16.1 GB" of the article (lytix, June 2024); vLLM loads 14.96 to 14.99 GiB (GitHub vllm-project/vllm 10511)
        ("llama-3-8b-instruct", "fp16", 14.96, 0.002),
        # vLLM: "Loading model weights took 67.7229 GB" (it means GiB), w8a8, GitHub vllm-project/vllm 12569
        ("llama-3.1-70b-instruct", "int8", 67.7229, 0.002),
        # vLLM loads gpt-oss-20b as published in 12.87 GiB
        ("gpt-oss-20b", "mxfp4", 12.87, 0.01),
        # the checkpoint of gpt-oss-120b has 60.8 GiB (openai.com, gpt-oss model card, table 1)
        ("gpt-oss-120b", "mxfp4", 60.8, 0.002),
        # llama.cpp's own log and the file itself: 96,576,768 bytes of tensors
        ("smollm2-135m-instruct", "Q4_1", 96_576_768 / GIB, 1e-9),
    ],
)
def test_sizes_are_those_of_published_files_and_logs(name: str, form: str, gib: float, tolerance: float) -> None:
    assert weight_bytes(model(name), weight_format(form)) / GIB == pytest.approx(gib, rel=tolerance)


@pytest.mark.parametrize("name", sorted(load_catalog().models))
def test_smaller_formats_are_smaller(name: str) -> None:
    sizes = [weight_bytes(model(name), weight_format(item)) for item in ("fp32", "bf16", "fp8", "w4a16")]
    assert sizes == sorted(sizes, reverse=True)
    gguf = [weight_bytes(model(name), weight_format(item)) for item in ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_S")]
    assert gguf == sorted(gguf, reverse=True)


def test_formats_are_found_by_their_other_names() -> None:
    assert weight_format("float16") is FORMATS["fp16"]
    assert weight_format("INT4").name == "w4a16"
    assert weight_format("w8a16-g32").bits == 8.5
    with pytest.raises(UserError, match=r"no weight format is called 'q4_k_n'; did you mean"):
        weight_format("q4_k_n")
    with pytest.raises(UserError, match="no weight format"):
        weight_format("w4a16-g1")


def test_what_cards_lack() -> None:
    cards = load_catalog().accelerators
    t4, a100, h100 = cards["t4"], cards["a100-sxm-80gb"], cards["h100-sxm"]
    bf16 = support(weight_format("bf16"), t4)
    assert not bf16.runs
    assert bf16.lacks == "bf16"
    assert "fp16" in str(bf16.note)
    assert support(weight_format("fp8"), t4).lacks == "fp8"
    assert not support(weight_format("fp8"), cards["v100-sxm-16gb"]).runs
    on_a100 = support(weight_format("fp8"), a100)
    assert on_a100.runs
    assert not on_a100.native
    assert support(weight_format("fp8"), h100).native
    assert not support(weight_format("nvfp4"), t4).runs
    for name in FORMATS:
        if FORMATS[name].family == "gguf":
            assert support(FORMATS[name], t4).runs


def test_mxfp4_has_the_bits_of_its_standard_wherever_it_is_counted() -> None:
    # OCP Microscaling Formats (MX) v1.0, table 1: 32 elements of 4 bits share a scale of 8 bits
    bits = 4 + 8 / 32
    assert weight_format("mxfp4").bits == bits
    for name in (step_name("mxfp4"), native_step_name("mxfp4"), format_in_results("MXFP4 (native)") or ""):
        form = step_format(name)
        assert (form.bits, form.unquantised) == (bits, "all")


def test_spellings_are_of_formats_that_there_are() -> None:
    for spelling in SPELLINGS:
        assert step_format(spelling.form)
    words = [word for spelling in SPELLINGS for word in spelling.config]
    assert len(words) == len(set(words))


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("Q4_0 from Q4_1", "q4_0"), ("bf16 from Q4_1", "bf16"), ("F16", "bf16"), ("AWQ", "w4a16"), ("Q8_0", "q8_0"),
        ("something", None), ("", None),
    ],
)  # fmt: skip
def test_the_format_that_a_run_records(text: str, form: str | None) -> None:
    assert format_in_results(text) == form
