"""Mixtures of experts: what their formats spare, what their kernels compute besides, how their ranks talk."""

from __future__ import annotations

import math

import pytest

from published_row import ROW
from rackrate.catalog.load import load_catalog
from rackrate.errors import CatalogError
from rackrate.models.architecture import of_catalogue_model
from rackrate.models.formats import weight_format
from rackrate.models.weight_sizes import bytes_by_kind
from rackrate.steptime.deployment import deploy
from rackrate.steptime.engine_step import communication_s
from rackrate.steptime.own_machine import known_coefficients
from rackrate.steptime.replay import kv_capacity_tokens
from rackrate.steptime.work import Parallel, formats_on, linear_work
from rackrate.units import GIB
from rackrate.validation.names import PublishedNames
from rackrate.validation.published import understand

NAMES = PublishedNames(load_catalog())

CATALOG = load_catalog()
MODELS = {name: of_catalogue_model(model) for name, model in CATALOG.models.items()}
MIXTURES = sorted(name for name, model in CATALOG.models.items() if model.experts is not None)


@pytest.mark.parametrize("format_name", ["fp8", "nvfp4", "mxfp4", "w4a16-g32-experts"])
@pytest.mark.parametrize("name", MIXTURES)
def test_a_step_reads_what_the_checkpoint_holds(name: str, format_name: str) -> None:
    """Two ways to the same bytes: the step's, from the entry's totals; the memory's, from the shape's matrices."""
    model = MODELS[name]
    kinds = bytes_by_kind(model, weight_format(format_name))
    work = linear_work(model, formats_on(CATALOG.accelerators["b200"], format_name))
    held = sum(kinds.values()) - kinds["vision"] - (0 if model.tied_embeddings else kinds["embedding"])
    # latent attention's output projection is quantised in NVFP4, which the memory does not tell apart
    assert work.weight_bytes + work.expert_bytes == pytest.approx(held, rel=0.045)


@pytest.mark.parametrize(
    ("name", "format_name", "gigabytes"),
    [
        ("gpt-oss-120b", "mxfp4", 65.2),  # openai/gpt-oss-120b, its 15 safetensors files
        ("kimi-k2.5", "w4a16-g32-experts", 595),  # moonshotai/Kimi-K2.5; ISTA-DASLab's NVFP4 of it is the same size
        ("kimi-k2.5", "nvfp4", 590),  # wafer-ai/Kimi-K2.6-NVFP4, 119 shards
    ],
)
def test_published_checkpoints_are_so_large(name: str, format_name: str, gigabytes: float) -> None:
    total = sum(bytes_by_kind(MODELS[name], weight_format(format_name)).values())
    assert total / 1e9 == pytest.approx(gigabytes, rel=0.03)


def test_an_exact_entry_is_the_same_read_as_rounded() -> None:
    for name, listed in CATALOG.models.items():
        assert of_catalogue_model(listed, rounded=True) == MODELS[name], name


def test_rounded_totals_say_how_many_parameters_are_experts() -> None:
    """Of 30B with 3B active of a published table, whatever the shapes say; too few for the shapes is refused else."""
    changes = {"parameters": 30_000_000_000, "active_parameters": 3_000_000_000}
    listed = CATALOG.model("qwen3-30b-a3b").model_copy(update=changes)
    with pytest.raises(CatalogError, match="fewer than its shapes need"):
        of_catalogue_model(listed)
    model = of_catalogue_model(listed, rounded=True)
    assert model.parameters.total == 30_000_000_000
    assert model.expert_parameters == 27_000_000_000 * 16 / 15  # 8 of 128 are active
    work = linear_work(model, formats_on(CATALOG.accelerators["b200"], "bf16"))
    assert work.expert_bytes == 2 * model.expert_parameters


def test_dense_models_and_gguf_files_spare_nothing() -> None:
    b200 = CATALOG.accelerators["b200"]
    assert linear_work(MODELS["llama-3.1-70b-instruct"], formats_on(b200, "nvfp4")).wide_bytes == 0
    assert linear_work(MODELS["gpt-oss-120b"], formats_on(b200, "q4_k_m")).wide_bytes == 0
    assert linear_work(MODELS["mixtral-8x7b-instruct"], formats_on(b200, "awq")).wide_bytes == 0


def test_filling_tiles_costs_full_batches_arithmetic_and_single_requests_nothing() -> None:
    step = deploy(MODELS["deepseek-r1"], CATALOG.accelerators["h200"], parallel=Parallel(8, expert=8)).step
    assert step.padding_s > 0

    def share(sequences: int) -> float:
        """What the filled tiles cost, of the step."""
        without = step.__class__(**{**vars(step), "padding_s": 0.0})
        return 1 - without.seconds(sequences, 0) / step.seconds(sequences, 0)

    assert share(1) < 0.01
    assert share(1) < share(64) < share(256)
    assert (
        deploy(MODELS["llama-3.1-70b-instruct"], CATALOG.accelerators["h200"], parallel=Parallel(8)).step.padding_s == 0
    )


def test_replicas_of_attention_hold_what_is_no_expert_whole() -> None:
    model, card = MODELS["deepseek-r1"], CATALOG.accelerators["h200"]
    work = linear_work(model, formats_on(card, "fp8", "fp8"))
    made = deploy(model, card, parallel=Parallel(1, data=8, expert=8), kv="fp8")
    kv_capacity = kv_capacity_tokens(card, made.parallel, made.scheduler, work, 3.0)
    free = (card.memory_gib or 0) * GIB * made.scheduler.memory_share - 3.0 * GIB
    assert kv_capacity == pytest.approx((free - work.weight_bytes - work.expert_bytes / 8) / work.context_bytes)


def test_tokens_of_replicated_attention_travel_further_than_sums() -> None:
    model, card = MODELS["deepseek-r1"], CATALOG.accelerators["h200"]
    known = known_coefficients(deploy(model, card))
    spread_s, spread_token_s = communication_s(model, card, Parallel(1, data=8, expert=8), known)
    divided_s, divided_token_s = communication_s(model, card, Parallel(8), known)
    assert spread_token_s == pytest.approx(4 * divided_token_s)  # 2 x 7 of 2 x 2 x 7/8
    assert spread_s == pytest.approx(divided_s)


def parallel_of(**columns: str) -> tuple[int, int, int, int]:
    found = understand({**ROW, "weight_dtype": "fp4", **columns}, NAMES, "file", 2).parallel
    return found.tensor, found.pipeline, found.data, found.expert


def test_how_tables_name_replicated_attention() -> None:
    kimi = {"model": "kimi-k2.5", "gpu": "B200-SXM-180GB"}
    # a table that multiplies tp and dp, and moe_tp and moe_ep, which name the same ranks
    assert parallel_of(**kimi, n_gpus="16", tp="4", notes="dp=4; moe_tp=1; moe_ep=16") == (1, 1, 4, 4)
    assert parallel_of(**kimi, n_gpus="64", tp="64", notes="dp=1; moe_tp=8; moe_ep=8") == (8, 1, 1, 8)
    assert parallel_of(**kimi, n_gpus="8", tp="4", notes="dp=2; moe_tp=1; moe_ep=8") == (4, 1, 2, 8)
    # stages beside replicas, in notes and in the column
    qwen = {"model": "qwen3-235b-a22b", "gpu": "RTX PRO 6000", "n_gpus": "4"}
    for columns in (
        {"tp": "1 (attention DP2 + EP2)", "notes": "published per GPU: 1 x 4 GPUs; DEP2 PP2"},
        {"tp": "1 (attention DP2 + EP2, PP2)", "notes": ""},
    ):
        assert parallel_of(**qwen, **columns) == (1, 2, 2, 2)


def test_a_models_own_four_bits_are_those_of_its_checkpoint() -> None:
    card = {"gpu": "H200", "n_gpus": "8", "tp": "8"}

    def format_of(model: str, dtype: str) -> str:
        return understand({**ROW, **card, "model": model, "weight_dtype": dtype}, NAMES, "file", 2).weights

    assert format_of("kimi-k2.5", "int4") == "w4a16-g32-experts"
    assert format_of("gpt-oss-120b", "fp4") == "mxfp4"
    assert format_of("deepseek-r1", "fp4") == "fp4"
    assert math.isclose(formats_on(CATALOG.accelerators["b200"], "mxfp4").weight_bits, 4.25)
