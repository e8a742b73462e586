"""Memory fit against the article, published per-token figures, brute force, and laws that any fit obeys."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rackrate.catalog.load import load_catalog
from rackrate.catalog.types import Accelerator
from rackrate.engines.llamacpp import MEMORY as LLAMACPP
from rackrate.engines.vllm import MEMORY as VLLM
from rackrate.errors import UserError
from rackrate.memory.engine_memory import driver_memory, engine_memory
from rackrate.memory.fit import fit
from rackrate.memory.kv_cache import kv_bytes_per_token, kv_bytes_per_token_on_rank, request_bytes
from rackrate.memory.remedies import remedies, smallest_count
from rackrate.memory.sharding import best_parallelism, parallelisms, stage_layers, tp_problem, weights_on_rank
from rackrate.models.architecture import Architecture, of_catalogue_model
from rackrate.models.formats import weight_format
from rackrate.models.weight_sizes import weight_bytes
from rackrate.units import GIB

MODELS = load_catalog().models
CARDS = {name: card for name, card in load_catalog().accelerators.items() if card.kind == "gpu"}
ARCHITECTURES = {name: of_catalogue_model(model) for name, model in MODELS.items()}

MEMORIES = {name: engine_memory(name) for name in ("vllm", "sglang", "llamacpp", "transformers")}


def model(name: str) -> Architecture:
    return ARCHITECTURES[name]


def card(name: str) -> Accelerator:
    return CARDS[name]


def test_the_article() -> None:
    """Llama-3-8B in fp16 (16.1 GB) fits four T4 but not one; 70B fits neither (lytix, June 2024)."""
    small, large = model("llama-3-8b-instruct"), model("llama-3-70b-instruct")
    assert round(weight_bytes(small, weight_format("fp16")) / 1e9, 1) == 16.1
    item, four = fit(small, card("t4")), fit(small, card("t4"), tp=4)
    assert (item.fits, four.fits) == (False, True)
    assert item.weights_format == "fp16"
    assert "the weights (fp16) take 14.96 GiB on one t4" in item.reasons[0]
    assert not fit(large, card("t4")).fits
    assert not fit(large, card("t4"), tp=4).fits


@pytest.mark.parametrize(
    ("name", "bytes_per_token"),
    [
        ("llama-3-8b-instruct", 131_072),  # vLLM: 4.60 GiB are 37,696 tokens
        ("llama-2-7b-chat", 524_288),  # 800 KB for the 13B with 40 layers of 40 heads: PagedAttention, arXiv:2309.06180
        ("llama-2-13b-chat", 819_200),
        ("deepseek-v3", 70_272),  # arXiv:2412.19437 and the 70 KB per token of arXiv:2505.09343, table 1
        ("qwen2.5-72b-instruct", 327_680),  # 327.680 KB, the same table
        ("llama-3.1-405b-instruct", 516_096),  # 516.096 KB, the same table
    ],
)
def test_published_bytes_per_token(name: str, bytes_per_token: int) -> None:
    assert kv_bytes_per_token_on_rank(model(name), 2.0) == bytes_per_token


def test_sliding_windows_stop_growing_and_states_do_not_grow() -> None:
    gemma = model("gemma-3-27b-it")
    full = next(group for group in gemma.caches if group.window_tokens is None)
    growth = request_bytes(gemma.caches, 9000, 2.0) - request_bytes(gemma.caches, 8000, 2.0)
    assert growth == pytest.approx(1000 * kv_bytes_per_token(full.layers, full.kv_heads, full.key_dim, 2.0))
    hybrid = model("qwen3.8-27b")
    state = next(group for group in hybrid.caches if group.kind == "state")
    fixed = request_bytes(hybrid.caches, 1, 2.0) - kv_bytes_per_token_on_rank(hybrid, 2.0)
    assert fixed == pytest.approx(state.layers * state.state_bytes)


def test_llama_cpp_keeps_a_micro_batch_beyond_a_window() -> None:
    gemma = model("gemma-3-27b-it")
    there = fit(gemma, card("h100-sxm"), engine=LLAMACPP, weights="Q4_K_M", context_tokens=8192)
    windows, full = 52 * 16 * 256 * 2, 10 * 16 * 256 * 2
    assert there.request_bytes == windows * (1024 + 512) + full * 8192


def test_latent_vectors_are_on_every_rank_and_kv_heads_are_copied_when_ranks_outnumber_them() -> None:
    deepseek, qwen = model("deepseek-v3"), model("qwen3-235b-a22b")
    assert kv_bytes_per_token_on_rank(deepseek, 2.0, tp=8) == kv_bytes_per_token_on_rank(deepseek, 2.0)
    assert kv_bytes_per_token_on_rank(qwen, 2.0, tp=8) == kv_bytes_per_token_on_rank(qwen, 2.0, tp=4)
    assert weights_on_rank(qwen, weight_format("bf16"), 8) > weights_on_rank(qwen, weight_format("bf16"), 1) / 8


def test_what_a_card_lacks_is_a_reason_or_a_note() -> None:
    small = model("llama-3-8b-instruct")
    refused = fit(small, card("t4"), tp=4, weights="bf16")
    assert any("no bf16 units" in reason for reason in refused.reasons)
    weight_only = fit(small, card("t4"), tp=4, weights="fp8")
    assert weight_only.fits
    assert any("no fp8 units" in note for note in weight_only.notes)
    assert not fit(small, card("v100-sxm-32gb"), weights="awq").fits


def test_wrong_numbers_are_sentences() -> None:
    small = model("llama-3-8b-instruct")
    with pytest.raises(UserError, match="tp must be at least 1"):
        fit(small, card("t4"), tp=0)
    with pytest.raises(UserError, match="context_tokens must be at least 1"):
        fit(small, card("t4"), context_tokens=-5)
    with pytest.raises(UserError, match="no KV cache format"):
        fit(small, card("t4"), kv="fp3")
    with pytest.raises(UserError, match="has no memory of its own"):
        fit(small, load_catalog().accelerators["epyc-9654"])
    with pytest.raises(UserError, match="no memory facts for the engine 'tgi'"):
        engine_memory("tgi")
    with pytest.raises(UserError, match="too many"):
        best_parallelism(small, 37)
    long = fit(small, card("h100-sxm"), context_tokens=9000)
    assert not long.fits
    assert "longer than the model's context of 8,192" in long.reasons[0]


def test_engines_differ_where_they_differ() -> None:
    small, where = model("llama-3-8b-instruct"), card("a10g")
    by_engine = {name: fit(small, where, engine=engine) for name, engine in MEMORIES.items()}
    assert by_engine["vllm"].usable_bytes == pytest.approx(0.9 * driver_memory(where))
    assert by_engine["sglang"].kv_bytes > by_engine["vllm"].kv_bytes  # its working memory is outside
    assert any("does not split matrices" in reason for reason in fit(small, where, tp=2, engine=LLAMACPP).reasons)
    assert any("format of llama.cpp" in reason for reason in fit(small, where, weights="Q4_K_M").reasons)
    assert any(
        "not a format of llama.cpp" in reason for reason in fit(small, where, weights="fp8", engine=LLAMACPP).reasons
    )


@given(
    name=st.sampled_from(sorted(MODELS)),
    where=st.sampled_from(sorted(CARDS)),
    count=st.sampled_from([1, 2, 4, 8]),
    context=st.integers(1, 100_000),
    form=st.sampled_from([None, "fp8", "w4a16"]),
    engine_name=st.sampled_from(["vllm", "sglang"]),
)
@settings(max_examples=150, deadline=None)
def test_laws_of_any_fit(name: str, where: str, count: int, context: int, form: str | None, engine_name: str) -> None:
    shape, engine = model(name), MEMORIES[engine_name]
    context = min(context, shape.context_tokens)
    tp, pp = best_parallelism(shape, count)
    found = fit(shape, card(where), tp=tp, pp=pp, weights=form, context_tokens=context, engine=engine)
    # it fits exactly where nothing speaks against it, and then one request at least has room
    assert found.fits == (found.reasons == ())
    if found.fits:
        assert found.requests >= 1
        assert found.largest_context >= context
        assert found.spare_bytes >= 0
    assert found.requests == found.requests_of(context)
    if found.kv_bytes > 0:
        # as many as said, and not one more
        each = found.request_bytes
        assert found.requests * each <= found.kv_bytes < (found.requests + 1) * each
        assert found.kv_tokens >= found.requests * context
    # memory adds up
    inside = found.weights_bytes + found.overhead_bytes + found.kv_bytes
    outside = found.activation_bytes if engine.activations_inside else 0.0
    assert inside == pytest.approx(found.usable_bytes - outside, rel=1e-9, abs=2)
    # the ranks together hold the model at least once
    assert found.weights_bytes * found.accelerators >= 0.99 * found.total_weights_bytes
    # longer requests are never more, smaller formats never leave less
    assert found.requests_of(context + 64) <= found.requests
    smaller = fit(shape, card(where), tp=tp, pp=pp, weights="w4a16", context_tokens=context, engine=engine)
    if form != "w4a16":
        assert smaller.kv_bytes >= found.kv_bytes or found.weights_format in {"w4a16-g32-experts", "mxfp4"}


@given(
    name=st.sampled_from(["llama-3-8b-instruct", "gemma-2-9b-it", "deepseek-v3", "qwen3.8-27b", "gpt-oss-20b"]),
    gib=st.floats(1, 2000),
)
@settings(max_examples=60, deadline=None)
def test_the_largest_context_is_the_largest(name: str, gib: float) -> None:
    shape = model(name)
    found = fit(shape, card("h100-sxm"), memory_bytes=gib * GIB)
    longest = found.largest_context
    assert 0 <= longest <= shape.context_tokens
    if longest:
        assert found.requests_of(longest) >= 1
    if longest < shape.context_tokens:
        assert found.requests_of(longest + 1) == 0


@given(layers=st.integers(1, 200), pp=st.integers(1, 32))
def test_stages_hold_every_layer_and_differ_by_one(layers: int, pp: int) -> None:
    counts = stage_layers(layers, pp)
    assert sum(counts) == layers
    assert len(counts) == pp
    assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize("name", sorted(MODELS))
def test_ranks_and_stages_add_up_to_the_model(name: str) -> None:
    shape, form = model(name), weight_format("bf16")
    whole = weight_bytes(shape, form)
    assert weights_on_rank(shape, form) == pytest.approx(whole, rel=0.002)  # padding of the vocabulary
    stages = stage_layers(shape.layers, 2)
    halves = [
        weights_on_rank(shape, form, layers=layers, embedding=number == 0, head=number == 1)
        for number, layers in enumerate(stages)
    ]
    tied_copy = 2 * shape.parameters.embedding if shape.parameters.head == 0 else 0
    assert sum(halves) == pytest.approx(whole + tied_copy, rel=0.002)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 8, 16])
@pytest.mark.parametrize("name", ["llama-3-8b-instruct", "smollm2-135m-instruct", "qwen2.5-7b-instruct"])
def test_parallelisms_are_all_that_divide(name: str, count: int) -> None:
    shape = model(name)
    brute = {
        (tp, pp) for tp in range(1, count + 1) for pp in range(1, count + 1)
        if tp * pp == count and shape.heads % tp == 0 and pp <= shape.layers
        and (shape.kv_heads % tp == 0 or tp % shape.kv_heads == 0)
    }  # fmt: skip
    assert set(parallelisms(shape, count)) == brute
    for tp, _ in brute:
        assert tp_problem(shape, tp) is None


def test_remedies_are_true() -> None:
    large, where = model("llama-3-70b-instruct"), card("t4")
    failed = fit(large, where, tp=4)
    ways = remedies(large, where, failed, weights=None, engine=VLLM, others=CARDS.values())
    assert {way.kind for way in ways} == {"format", "count", "accelerator"}
    assert all(way.fit.fits and way.text for way in ways)
    more = next(way.fit for way in ways if way.kind == "count")
    assert more.accelerators == 16
    assert not fit(large, where, tp=8).fits
    single = next(way.fit for way in ways if way.kind == "accelerator")
    less = [item for item in CARDS.values() if (item.memory_gib or 0) < (card(single.accelerator).memory_gib or 0)]
    assert not any(fit(large, item).fits for item in less)


def test_a_request_too_long_is_answered_with_the_longest_and_with_a_smaller_cache() -> None:
    shape = model("llama-3.1-8b-instruct")
    failed = fit(shape, card("a10g"), context_tokens=40_000)
    ways = remedies(shape, card("a10g"), failed, weights=None, engine=VLLM, others=())
    by_kind = {way.kind: way.fit for way in ways}
    assert by_kind["context"].context_tokens == failed.largest_context < 40_000
    assert by_kind["kv"].kv_format == "fp8"
    assert by_kind["count"].accelerators == 2


def test_the_smallest_count_is_the_smallest() -> None:
    shape = model("llama-3-70b-instruct")
    found = smallest_count(shape, card("a100-sxm-80gb"))
    assert found is not None
    assert found.accelerators == 2
    assert smallest_count(model("deepseek-v3"), card("rtx-3060-12gb")) is None


def test_every_model_gets_an_answer_on_every_card() -> None:
    for shape in ARCHITECTURES.values():
        for where in CARDS.values():
            found = fit(shape, where)
            assert found.fits == (not found.reasons)
            assert math.isfinite(found.kv_bytes)
