"""The shipped catalogue against facts that do not come from it: configs, datasheets, price lists, arithmetic."""

from __future__ import annotations

import csv
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from genai_prices.data_snapshot import get_snapshot

from rackrate.catalog.load import Catalog, load_catalog
from rackrate.catalog.types import Accelerator, Entry, Model, Offer

FACTS = Path(__file__).parents[3] / "shared" / "data" / "facts"
WHEN = datetime(2026, 11, 28, tzinfo=UTC)
"""The day on which the catalogue was last read against its sources."""


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    """What is shipped."""
    shipped = load_catalog()
    assert shipped.overlays == ()
    return shipped


def entries(catalog: Catalog) -> list[Entry]:
    return [*catalog.models.values(), *catalog.accelerators.values(), *catalog.offers.values()]


def gpus(catalog: Catalog) -> list[Accelerator]:
    return [accelerator for accelerator in catalog.accelerators.values() if accelerator.kind == "gpu"]


def test_enough_is_known(catalog: Catalog) -> None:
    assert len(catalog.models) >= 25
    assert len(catalog.accelerators) >= 30
    assert sum(accelerator.kind == "cpu" for accelerator in catalog.accelerators.values()) >= 5
    assert len(catalog.offers) >= 40
    assert len({offer.provider for offer in catalog.offers.values()}) >= 5


@pytest.mark.parametrize("family", ["g4dn", "g5", "g6", "p4d", "p4de", "p5"])
def test_the_usual_instance_families_are_offered(catalog: Catalog, family: str) -> None:
    assert [offer for offer in catalog.offers if offer.startswith(f"aws/{family}.")] != []


def test_every_offer_is_of_known_hardware(catalog: Catalog) -> None:
    architectures = {item.architecture for item in catalog.cpu_architectures} | {
        accelerator.architecture for accelerator in catalog.accelerators.values() if accelerator.kind == "cpu"
    }
    for offer in catalog.offers.values():
        if offer.accelerator is not None:
            assert catalog.accelerators[offer.accelerator].kind == "gpu", offer.id
        if offer.cpu is not None:
            assert offer.cpu in architectures, offer.id


DESCRIBING = {"id", "aliases", "sources", "notes", "name", "provider", "instance", "kind", "family", "apis", "prices"}
"""Fields that name or hold things; all others are figures."""


def figures_of(entry: Entry) -> list[str]:
    figures: list[str] = []
    for name in type(entry).model_fields:
        value: Any = getattr(entry, name)
        if name in DESCRIBING or value is None or value in ((), {}):
            continue
        figures += [f"{name}.{key}" for key in value] if isinstance(value, dict) else [name]  # pyright: ignore[reportUnknownVariableType]
    return figures


def test_every_figure_has_a_source_with_a_date(catalog: Catalog) -> None:
    counted = 0
    for entry in entries(catalog):
        for figure in figures_of(entry):
            source = entry.source_of(figure)
            assert source is not None, f"{entry.id}: {figure} has no source"
            assert source.date[:2] == "20", f"{entry.id}: {figure}: {source.date}"
            counted += 1
    assert counted > 1500


def test_no_source_is_from_the_future(catalog: Catalog) -> None:
    today = WHEN.date().isoformat()
    for entry in entries(catalog):
        dated = [*entry.sources, *getattr(entry, "prices", ())]
        assert [item.date for item in dated if item.date > today] == [], entry.id


def test_sources_name_figures_that_exist(catalog: Catalog) -> None:
    for entry in entries(catalog):
        known = {figure for name in figures_of(entry) for figure in (name, name.split(".")[0])}
        named = {figure for source in entry.sources for figure in source.figures}
        assert named <= known, f"{entry.id}: sources for {sorted(named - known)}"


@pytest.mark.parametrize("kind", ["models", "accelerators", "offers"])
def test_no_name_means_two_entries(catalog: Catalog, kind: str) -> None:
    seen: Counter[str] = Counter()
    table: dict[str, Entry] = getattr(catalog, kind)
    for entry in table.values():
        assert len({entry.id, *entry.aliases}) == 1 + len(entry.aliases), f"{entry.id}: says a name twice"
        names = {entry.id.lower(), *(alias.lower() for alias in entry.aliases)}
        if isinstance(entry, Model) and entry.hub_id:
            names |= {entry.hub_id.lower(), entry.hub_id.split("/")[-1].lower()}
        seen.update(names)
    assert len(seen) > len(table)
    assert [name for name, count in seen.items() if count > 1] == []


# --- models ---


def test_llama_3_8b_is_as_its_config_says(catalog: Catalog) -> None:
    llama = catalog.model("Meta-Llama-3-8B-Instruct")
    assert llama is catalog.model("llama-3-8b") is catalog.model("meta-llama/meta-llama-3-8b-instruct")
    assert llama.parameters == 8_030_261_248
    assert (llama.layers, llama.kv_heads, llama.heads, llama.head_dim) == (32, 8, 32, 128)
    assert (llama.hidden_size, llama.intermediate_size, llama.vocabulary) == (4096, 14336, 128256)
    assert (llama.context_tokens, llama.weight_format, llama.attention) == (8192, "bf16", "gqa")


PUBLISHED = {
    # totals that the hub shows for the safetensors of each
    "llama-2-7b-chat": 6_738_415_616,
    "llama-3.1-70b-instruct": 70_553_706_496,
    "llama-3.2-1b-instruct": 1_235_814_400,
    "mistral-7b-instruct-v0.3": 7_248_023_552,
    "qwen2.5-7b-instruct": 7_615_616_512,
    "qwen3-8b": 8_190_735_360,
    "mixtral-8x7b-instruct": 46_702_792_704,
    "gemma-2-9b-it": 9_241_705_984,
    "smollm2-135m-instruct": 134_515_008,
    "phi-4": 14_659_507_200,
}


@pytest.mark.parametrize(("name", "parameters"), PUBLISHED.items())
def test_parameter_counts_are_those_of_the_published_weights(catalog: Catalog, name: str, parameters: int) -> None:
    assert catalog.models[name].parameters == parameters


OTHER_ATTENTION = {
    # query's rank, width of a head's key without rotation and of its value (q_lora_rank, qk_nope_head_dim, v_head_dim)
    # of the published config.json, which entries do not have
    "deepseek-v3": (1536, 128, 128),
    "deepseek-r1": (1536, 128, 128),
    "deepseek-v3.2": (1536, 128, 128),
    "glm-5.3": (2048, 192, 256),
    "kimi-k2-instruct": (1536, 128, 128),
    "kimi-k2.5": (1536, 128, 128),
    "kimi-k3": (1536, 128, 128),
}
LINEAR_ATTENTION = {
    # widths of queries and keys, and of values, of the published config.json; a matrix gates the output, too
    "qwen3.5-397b-a17b": (2 * 16 * 128, 64 * 128),
    "qwen3.8-27b": (2 * 16 * 128, 48 * 128),
    "kimi-k3": (2 * 96 * 128, 96 * 128),
}


def attention_parameters(model: Model) -> float:
    """Matrices of all layers' attention, from the shape."""
    h, layers = model.hidden_size, model.layers
    linear = 0.0
    if model.fixed_state is not None:
        keys, values = LINEAR_ATTENTION[model.id]
        linear = model.fixed_state.layers * h * (keys + 3 * values)
        layers -= model.fixed_state.layers
    if model.latent is None:
        queries = model.heads * (2 if model.attention == "hybrid" else 1)  # Qwen 3.5 gates what its heads give out
        return linear + layers * h * model.head_dim * (queries + 2 * model.kv_heads + model.heads)
    rank, key, value = OTHER_ATTENTION[model.id]
    up = rank * model.head_dim + model.latent.kv_lora_rank * (key + value) + h * value
    down = h * (rank + model.latent.kv_lora_rank + model.latent.rope_head_dim)
    return linear + layers * (model.heads * up + down)


def counted_parameters(model: Model, *, active: bool = False) -> float:
    """Embeddings, attention and gated feed-forwards, of all experts or of those of a token; and a vision tower."""
    h = model.hidden_size
    dense_layers = model.layers if model.experts is None else model.experts.dense_layers
    feed_forward = dense_layers * 3 * h * (model.intermediate_size or 0)
    if model.experts is not None:
        taken = model.experts.active if active else model.experts.routed
        width = model.experts.width or h
        # where they work on another width, there are matrices to it and back
        routed = 3 * taken * width * model.experts.intermediate_size + (2 * h * width if width != h else 0)
        shared = 3 * model.experts.shared * h * model.experts.intermediate_size
        feed_forward += (model.layers - dense_layers) * (routed + shared + h * model.experts.routed)
    embeddings = model.vocabulary * h * (1 if model.tied_embeddings else 2)
    return embeddings + attention_parameters(model) + feed_forward + (model.vision_parameters or 0)


def test_models_have_the_parameters_that_their_shape_gives(catalog: Catalog) -> None:
    """Norms, biases, convolutions and indexers of sparse attention are not counted: 2 % at most."""
    assert len(catalog.models) >= 50
    wrong = {model.id: counted_parameters(model) / model.parameters for model in catalog.models.values()}
    assert {name: ratio for name, ratio in wrong.items() if abs(ratio - 1) > 0.02} == {}


def test_mixtures_activate_the_parameters_that_their_shape_gives(catalog: Catalog) -> None:
    """What is not counted is 2.2 % of DeepSeek V3.2 (indexers) and of Kimi K3 (output gates of attention)."""
    mixtures = [model for model in catalog.models.values() if model.experts is not None]
    assert len(mixtures) >= 20
    wrong = {
        mixture.id: counted_parameters(mixture, active=True) / (mixture.active_parameters or 0) for mixture in mixtures
    }
    assert {name: ratio for name, ratio in wrong.items() if abs(ratio - 1) > 0.025} == {}


def test_mixtures_activate_fewer_parameters_than_they_have(catalog: Catalog) -> None:
    mixtures = [model for model in catalog.models.values() if model.experts is not None]
    assert len(mixtures) >= 10
    for mixture in mixtures:
        assert mixture.experts is not None
        assert mixture.active_parameters is not None, mixture.id
        assert mixture.active_parameters < 0.5 * mixture.parameters, mixture.id
        assert mixture.experts.active <= mixture.experts.routed, mixture.id


def test_api_names_are_sold_at_both_prices(catalog: Catalog) -> None:
    listed = {(provider.id, model.id): model for provider in get_snapshot().providers for model in provider.models}
    named = [(model.id, api) for model in catalog.models.values() for api in model.apis]
    assert len(named) > 50
    for model, api in named:
        sold = listed.get((api.provider, api.model))
        assert sold is not None, f"{model}: genai-prices has no {api.provider}/{api.model}"
        prices = sold.get_prices(WHEN)
        assert prices.input_mtok, f"{model}: {api.provider}/{api.model} has no input price"
        assert prices.output_mtok, f"{model}: {api.provider}/{api.model} has no output price"


def test_no_api_is_said_to_sell_two_models(catalog: Catalog) -> None:
    pairs = Counter((api.provider, api.model) for model in catalog.models.values() for api in model.apis)
    assert [pair for pair, count in pairs.items() if count > 1] == []


# --- accelerators ---


def test_t4_is_as_its_datasheet_says(catalog: Catalog) -> None:
    t4 = catalog.accelerator("Tesla T4")
    assert (t4.memory_gib, t4.bandwidth_gb_s, t4.tdp_w) == (16, 320, 70)
    assert t4.peak_tflops["fp16"] == 65
    assert {"bf16", "fp8"} <= set(t4.lacks)


DENSE = {
    # NVIDIA datasheets state the rate with structured sparsity; half of it is dense
    ("h100-sxm", "bf16"): 989,
    ("h100-sxm", "fp8"): 1979,
    ("h200", "bf16"): 989,
    ("a100-sxm-80gb", "bf16"): 312,
    ("a100-sxm-40gb", "fp16"): 312,
    ("l4", "fp16"): 121,
    ("l40s", "fp8"): 733,
    ("v100-sxm-16gb", "fp16"): 125,
    ("b200", "bf16"): 2250,
    ("b200", "fp8"): 4500,
    ("b200", "fp4"): 9000,
    ("mi300x", "bf16"): 1307.4,
    ("rtx-4090", "fp16"): 165.2,
}


@pytest.mark.parametrize(("what", "tflops"), DENSE.items())
def test_peaks_are_dense(catalog: Catalog, what: tuple[str, Any], tflops: float) -> None:
    name, number_format = what
    assert catalog.accelerators[name].peak_tflops[number_format] == pytest.approx(tflops, rel=0.002)


MEMORY = {
    # GB and GB/s of the datasheets
    "h100-sxm": (80, 3350),
    "a100-sxm-40gb": (40, 1555),
    "a100-sxm-80gb": (80, 2039),
    "h200": (141, 4800),
    "a10g": (24, 600),
    "l4": (24, 300),
    "l40s": (48, 864),
    "mi300x": (192, 5325),
    "rtx-4090": (24, 1008),
}


@pytest.mark.parametrize(("name", "memory"), MEMORY.items())
def test_memory_is_as_the_datasheets_say(catalog: Catalog, name: str, memory: tuple[float, float]) -> None:
    accelerator = catalog.accelerators[name]
    assert (accelerator.memory_gib, accelerator.bandwidth_gb_s) == memory


def test_b200_has_8_stacks_less_what_is_kept_back(catalog: Catalog) -> None:
    b200 = catalog.accelerators["b200"]
    assert b200.memory_gib is not None
    assert b200.bandwidth_gb_s is not None
    assert 179 <= b200.memory_gib <= 192
    assert 7500 <= b200.bandwidth_gb_s <= 8000
    assert b200.lacks == ()


def test_generations_lack_the_formats_that_came_later(catalog: Catalog) -> None:
    for gpu in gpus(catalog):
        if gpu.vendor != "nvidia":
            continue
        old = {"pascal": 0, "volta": 1, "turing": 2, "ampere": 3, "ada": 4, "hopper": 4, "blackwell": 5}[
            gpu.architecture
        ]
        assert ("bf16" in gpu.lacks) == (old < 3), gpu.id
        assert ("fp8" in gpu.lacks) == (old < 4), gpu.id
        assert ("fp4" in gpu.lacks) == (old < 5), gpu.id


PER_FP32 = {
    # tensor rate / vector rate; GeForce cards accumulate in 32 bits at half the rate of professional ones
    # (NVIDIA's whitepapers of GA102, Ada and RTX Blackwell)
    ("ampere", True): {"fp16": 2, "bf16": 2, "int8": 8},
    ("ampere", False): {"fp16": 4, "bf16": 4, "int8": 8},
    ("ada", True): {"fp16": 2, "bf16": 2, "fp8": 4, "int8": 8},
    ("ada", False): {"fp16": 4, "bf16": 4, "fp8": 8, "int8": 8},
    ("blackwell", True): {"fp16": 2, "bf16": 2, "fp8": 4, "int8": 8, "fp4": 16},
    ("blackwell", False): {"fp16": 4, "bf16": 4, "fp8": 8, "int8": 8, "fp4": 16},
}
OTHER_RATES = {"a10g", "a30", "a100", "a800", "b200", "b300", "gb", "l40", "l20", "jetson"}
"""Beginnings of ids: chips of other designs, and cards whose tensor rates NVIDIA states lower than their chip's."""


def test_tensor_rates_are_as_whitepapers_relate_them_to_vector_rates(catalog: Catalog) -> None:
    checked = 0
    for gpu in gpus(catalog):
        ratios = PER_FP32.get((gpu.architecture, "GeForce" in gpu.name))
        if gpu.vendor != "nvidia" or ratios is None or (gpu.id != "l40s" and gpu.id.startswith(tuple(OTHER_RATES))):
            continue
        for number_format, ratio in ratios.items():
            if number_format in gpu.peak_tflops:
                found = gpu.peak_tflops[number_format] / gpu.peak_tflops["fp32"]
                assert found == pytest.approx(ratio, rel=0.03), f"{gpu.id}: {number_format}"
                checked += 1
    assert checked >= 120


SPELLINGS = {
    # as nvidia-smi and published tables spell them
    "NVIDIA GeForce RTX 3070": "rtx-3070",
    "RTX 3080 Ti": "rtx-3080-ti",
    "3080 Ti 12GB": "rtx-3080-ti",
    "RTX 4070 Ti": "rtx-4070-ti",
    "NVIDIA GeForce RTX 4070 SUPER": "rtx-4070-super",
    "RTX 4070 Super-12GB": "rtx-4070-super",
    "NVIDIA GeForce RTX 4090 D": "rtx-4090-d",
    "RTX 4090D": "rtx-4090-d",
    "NVIDIA Jetson AGX Orin 64G": "jetson-agx-orin-64gb",
    "NVIDIA GB10": "gb10",
    "RTX A5000": "rtx-a5000",
    "Tesla P100-PCIE-16GB": "p100-pcie-16gb",
    "AMD Radeon AI PRO R9700": "r9700",
}


@pytest.mark.parametrize(("spelling", "name"), SPELLINGS.items())
def test_accelerators_go_by_their_usual_spellings(catalog: Catalog, spelling: str, name: str) -> None:
    assert catalog.accelerator(spelling).id == name


def test_fp8_is_twice_bf16_where_tensor_cores_have_both(catalog: Catalog) -> None:
    both = [gpu for gpu in gpus(catalog) if gpu.vendor == "nvidia" and {"fp8", "bf16"} <= set(gpu.peak_tflops)]
    assert len(both) >= 10
    for item in both:
        assert item.peak_tflops["fp8"] == pytest.approx(2 * item.peak_tflops["bf16"], rel=0.02), item.id


UNIFIED = {"gb10", "jetson-agx-orin-64gb"}
"""Their memory is that of the CPU, too: LPDDR5."""


def test_gpus_are_physically_plausible(catalog: Catalog) -> None:
    checked = 0
    for gpu in gpus(catalog):
        assert gpu.memory_gib is not None
        assert 8 <= gpu.memory_gib <= 300, gpu.id
        assert gpu.bandwidth_gb_s is not None, gpu.id
        if gpu.id in UNIFIED:
            assert gpu.bandwidth_gb_s / gpu.memory_gib < 5, gpu.id
        else:
            assert 10 <= gpu.bandwidth_gb_s / gpu.memory_gib <= 90, gpu.id  # GB/s per GiB: GDDR6 to HBM3e
        rate = gpu.peak_tflops.get("bf16") or gpu.peak_tflops.get("fp16")
        if rate is None or gpu.tdp_w is None or gpu.architecture == "pascal":
            continue
        assert 0.15 <= rate / gpu.tdp_w <= 2.6, f"{gpu.id}: {rate / gpu.tdp_w:.2f} TFLOPS per W"
        checked += 1
    assert checked >= 30


# --- offers ---


def test_g4dn_12xlarge_is_the_machine_of_the_article(catalog: Catalog) -> None:
    offer = catalog.offer("aws/g4dn.12xlarge")
    assert (offer.accelerator, offer.accelerator_count) == ("t4", 4)
    assert (offer.vcpus, offer.memory_gib) == (48, 192)
    assert offer.price.on_demand_usd_h == 3.912


def test_g4dn_16xlarge_has_one_t4(catalog: Catalog) -> None:
    offer = catalog.offer("aws/g4dn.16xlarge")
    assert (offer.accelerator, offer.accelerator_count) == ("t4", 1)
    assert offer.vcpus == 64


@pytest.mark.parametrize(
    ("name", "gpu", "count"),
    [
        ("aws/g5.12xlarge", "a10g", 4),
        ("aws/g6.48xlarge", "l4", 8),
        ("aws/p4d.24xlarge", "a100-sxm-40gb", 8),
        ("aws/p4de.24xlarge", "a100-sxm-80gb", 8),
        ("aws/p5.48xlarge", "h100-sxm", 8),
        ("azure/Standard_NC64as_T4_v3", "t4", 4),
        ("gcp/a2-highgpu-8g", "a100-sxm-40gb", 8),
    ],
)
def test_instances_have_the_gpus_that_their_providers_say(catalog: Catalog, name: str, gpu: str, count: int) -> None:
    offer = catalog.offers[name]
    assert (offer.accelerator, offer.accelerator_count) == (gpu, count)


def test_spot_is_not_dearer_than_on_demand(catalog: Catalog) -> None:
    seen = 0
    for offer in catalog.offers.values():
        for price in offer.prices:
            if price.spot_usd_h is None:
                continue
            low, high = price.spot_usd_h
            assert low <= high, offer.id
            assert price.on_demand_usd_h is None or high <= price.on_demand_usd_h, offer.id
            seen += 1
    assert seen >= 20


def test_reserving_is_not_dearer_than_on_demand(catalog: Catalog) -> None:
    for offer in catalog.offers.values():
        for price in offer.prices:
            longer = [price.on_demand_usd_h, price.reserved_1y_usd_h, price.reserved_3y_usd_h]
            known = [usd for usd in longer if usd is not None]
            assert known == sorted(known, reverse=True), offer.id


def test_prices_are_appended_newest_last(catalog: Catalog) -> None:
    several = [offer for offer in catalog.offers.values() if len(offer.prices) > 1]
    assert several != []
    for offer in several:
        dates = [price.date for price in offer.prices]
        assert dates == sorted(dates), offer.id
        assert offer.price == offer.prices[-1], offer.id


def test_gpu_hours_cost_what_gpu_hours_cost(catalog: Catalog) -> None:
    for offer in catalog.offers.values():
        if not offer.accelerator_count or offer.price.on_demand_usd_h is None:
            continue
        per_gpu = offer.price.on_demand_usd_h / offer.accelerator_count
        assert 0.05 <= per_gpu <= 20, f"{offer.id}: {per_gpu:.2f} USD per GPU-hour"


def test_the_same_gpu_does_not_cost_20_times_as_much_elsewhere(catalog: Catalog) -> None:
    by_gpu: dict[str, list[float]] = {}
    for offer in catalog.offers.values():
        if offer.accelerator and offer.price.on_demand_usd_h:
            by_gpu.setdefault(offer.accelerator, []).append(offer.price.on_demand_usd_h / offer.accelerator_count)
    assert len(by_gpu) >= 15
    for gpu, prices in by_gpu.items():
        assert max(prices) <= 10 * min(prices), f"{gpu}: {min(prices):.2f} to {max(prices):.2f} USD/h"


def test_a_cpu_hour_costs_what_a_cpu_hour_costs(catalog: Catalog) -> None:
    machines = [offer for offer in catalog.offers.values() if offer.accelerator is None]
    assert len(machines) >= 10
    for offer in machines:
        assert offer.vcpus is not None
        assert offer.price.on_demand_usd_h is not None
        assert 0.02 <= offer.price.on_demand_usd_h / offer.vcpus <= 0.15, offer.id


def fact_rows() -> list[dict[str, str]]:
    file = FACTS / "cloud_offers.csv"
    if not file.exists():
        return []
    with file.open(encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))


@pytest.mark.skipif(not FACTS.exists(), reason="the reference data is not beside the project")
def test_the_reference_table_is_not_empty() -> None:
    assert len(fact_rows()) >= 20


GPU_SPELLINGS = {
    "V100-16GB": {"v100-sxm-16gb"},
    "V100-32GB": {"v100-sxm-32gb"},
    "A100-40GB": {"a100-sxm-40gb"},
    "A100-80GB": {"a100-sxm-80gb"},
    "A100-80GB PCIe": {"a100-pcie-80gb"},
    "H100": {"h100-sxm"},
    "RTX PRO 6000": {"rtx-pro-6000"},
}
"""How the reference table calls a GPU where its name alone leaves the form factor open."""


@pytest.mark.skipif(not FACTS.exists(), reason="the reference data is not beside the project")
@pytest.mark.parametrize("row", fact_rows(), ids=lambda row: f"{row['provider']}-{row['instance']}")
def test_reference_offers_are_in_the_catalogue_at_their_price(catalog: Catalog, row: dict[str, str]) -> None:
    offer: Offer = catalog.offer(f"{row['provider']}/{row['instance']}")
    gpus_called = GPU_SPELLINGS.get(row["gpu"]) or {catalog.accelerator(row["gpu"]).id}
    assert offer.accelerator in gpus_called
    assert offer.accelerator_count == int(row["n_gpus"])
    if row["vcpu"]:
        assert offer.vcpus == int(row["vcpu"])
    if row["mem_gib"]:
        assert offer.memory_gib == float(row["mem_gib"])
    priced = [price for price in offer.prices if price.on_demand_usd_h == float(row["usd_h_on_demand"])]
    assert priced != [], f"{[price.on_demand_usd_h for price in offer.prices]} has no {row['usd_h_on_demand']}"
    if row["usd_h_spot"]:
        low, _, high = row["usd_h_spot"].partition("-")
        assert (float(low), float(high or low)) in [price.spot_usd_h for price in priced]
