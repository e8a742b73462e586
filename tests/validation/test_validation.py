"""Errors as they are counted, and the shipped coefficients against published tables."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from published_row import ROW
from rackrate.catalog.load import load_catalog
from rackrate.catalog.types import Accelerator
from rackrate.errors import WorkloadError
from rackrate.models.architecture import of_catalogue_model
from rackrate.simulation.settings import EngineLimits, Requests
from rackrate.simulation.simulator import simulate
from rackrate.simulation.step import StepTime
from rackrate.steptime.coefficient_file import shipped
from rackrate.steptime.deployment import Deployment, deploy
from rackrate.steptime.engine_step import communication_s, engine_step
from rackrate.steptime.load import Load
from rackrate.steptime.own_machine import known_coefficients
from rackrate.steptime.work import Formats, Parallel, formats_on, linear_work
from rackrate.validation.comparisons import Comparison, by_class, compare_all, errors_of, load_level, quantile
from rackrate.validation.cross_validation import OTHER, LeftOut, fold_of, intervals
from rackrate.validation.names import PublishedNames
from rackrate.validation.published import read_published, understand

NAMES = PublishedNames(load_catalog())

PUBLISHED = Path(os.environ.get("RACKRATE_PUBLISHED", "nowhere"))
"""A folder of published rows, where there is one."""


def _comparison(gpu: str, observed: float, predicted: float) -> Comparison:
    case = understand({**ROW, "gpu": gpu}, NAMES, "file", 2)
    return Comparison(case, "throughput", observed, predicted, 0.5 * predicted, 1.5 * predicted)


def test_errors_of_a_large_cell_do_not_hide_a_bad_card() -> None:
    good = [_comparison("Tesla T4", 100, 101) for _ in range(9)]
    bad = [_comparison("A10G-24GB", 100, 200)]
    errors = errors_of([*good, *bad])
    assert errors is not None
    assert errors.median == pytest.approx(math.log(1.01))
    assert errors.cells == 2
    assert errors.cell_median == pytest.approx((math.log(1.01) + math.log(2)) / 2)
    assert errors.coverage == 1.0
    assert errors_of([]) is None


@given(st.lists(st.floats(0, 10), min_size=1, max_size=40), st.floats(0, 1))
def test_quantiles_are_numpys(values: list[float], share: float) -> None:
    assert quantile(values, share) == pytest.approx(float(np.quantile(values, share)), abs=1e-9)


def test_levels_of_poisson_runs() -> None:
    case = understand({**ROW, "concurrency_or_rate": "poisson_qps=2", "osl": "100"}, NAMES, "file", 2)
    assert [load_level(case, capacity) for capacity in (1000.0, 200.0, 100.0)] == ["low", "near", "over"]


def test_tensor_parallel_over_pcie_gives_less_than_half_of_ideal_and_over_nvlink_more() -> None:
    """Published: tensor parallel 4 over PCIe gives 1.6 to 1.8 times (issue 5); NVLink gives more."""
    catalog = load_catalog()
    load = Load("closed", 1, 24, 256, 128, whole=False)

    def gain(card: str) -> float:
        alone, four = (
            deploy(
                of_catalogue_model(catalog.models["llama-3-8b-instruct"]), catalog.accelerators[card], version="0.7.3",
                weights="bf16", parallel=Parallel(tensor=ranks),
            ).replay(load).output_tok_s
            for ranks in (1, 4)
        )  # fmt: skip
        return four / alone

    assert 1.2 < gain("a100-pcie-80gb") < gain("a100-sxm-80gb") < 4.0


def test_a_step_takes_what_its_description_says() -> None:
    """The terms of a deployment's step, put together as simulate/step.py describes them."""
    catalog = load_catalog()
    mixtral = of_catalogue_model(catalog.models["mixtral-8x7b-instruct"])
    check_terms(deploy(mixtral, catalog.accelerators["h100-sxm"], parallel=Parallel(2)).step)
    assert deploy(mixtral, catalog.accelerators["h100-sxm"]).step.padding_s > 0
    large = deploy(mixtral, catalog.accelerators["mi300x"], parallel=Parallel(2), version="0.6.3").step
    assert large.large_batch_over == 32
    check_terms(large)


def check_terms(step: StepTime) -> None:
    for decoding, context, prompt, pairs, ended in (
        (8, 9000, 0, 0, 0),
        (64, 80_000, 900, 405_000, 1),
        (0, 0, 300, 45_000, 1),
    ):
        tokens = decoding + prompt
        touched = 1 - step.expert_miss**tokens
        compute = step.token_compute_s * tokens + step.padding_s * touched
        memory = step.weights_s + step.experts_s * touched
        sharp = step.sharpness
        slower = step.large_batch_context if decoding > step.large_batch_over else 1.0
        plain = (compute**sharp + memory**sharp) ** (1 / sharp) + step.token_s * tokens + step.step_s
        plain += step.sequence_s * (decoding + ended) + step.context_s * context * slower + step.pair_s * pairs
        plain += step.prefill_step_s if prompt else 0.0
        assert step.seconds(decoding, context, ended, prompt, pairs) == pytest.approx(
            max(plain, step.floor_s), rel=1e-9
        )


def test_a_window_counts_for_the_share_of_the_context_that_it_shows() -> None:
    """Every other layer sees 128 tokens of a context; a simulation takes the mean for all."""
    catalog = load_catalog()
    windowed = deploy(of_catalogue_model(catalog.models["gpt-oss-20b"]), catalog.accelerators["h100-sxm"]).step
    assert windowed.window_tokens == 128
    for context in (64.0, 1000.0):
        linear = windowed.at_mean_context(context)
        assert linear.window_context_s == 0
        assert linear.seconds(8, 8 * context) == pytest.approx(windowed.seconds(8, 8 * context), rel=1e-12)
    with pytest.raises(WorkloadError, match="at_mean_context"):
        simulate(Requests([0.0], [10], [2]), windowed, EngineLimits(kv_tokens=1024))


def test_paged_attention_leaves_contexts_whole_in_large_batches() -> None:
    """Cards without FlashAttention under vLLM before 0.8: beyond 512 sequences x query heads of a rank."""
    catalog = load_catalog()
    llama = of_catalogue_model(catalog.models["llama-3-8b-instruct"])  # 32 query heads, 8 of keys and values

    def step(card: str, version: str, ranks: int = 1) -> StepTime:
        return deploy(llama, catalog.accelerators[card], version=version, parallel=Parallel(ranks)).step

    old = step("t4", "0.6.3", 2)
    assert old.large_batch_over == 32
    assert old.large_batch_context > 1.5
    each = [(old.seconds(n, 1000 * n) - old.seconds(n, 0)) / (1000 * n) for n in (32, 33)]
    assert each[1] == pytest.approx(each[0] * old.large_batch_context, rel=1e-6)
    assert step("mi300x", "0.6.3").large_batch_over == 16
    for card, version in (("a100-sxm-80gb", "0.6.3"), ("t4", "0.20.1"), ("mi300x", "0.10.0")):
        assert step(card, version).large_batch_context == 1


def test_rows_that_only_judge_count_in_the_intervals() -> None:
    def spread(more: list[LeftOut]) -> float:
        near = [LeftOut("source", "a", "measured", _comparison("t4", 100, 100 + n % 5)) for n in range(40)]
        return intervals([*near, *more])["throughput"]["measured"].high

    far = [LeftOut(OTHER, "b", "measured", _comparison("t4", 100, 180)) for _ in range(40)]
    assert spread(far) == pytest.approx(math.log(1.8), abs=0.01)
    assert spread([]) < 0.05


def test_mixtures_of_experts_have_intervals_of_their_own() -> None:
    def left(model: str, predicted: float) -> list[LeftOut]:
        case = understand({**ROW, "gpu": "H200", "model": model, "params": "46.7B(12.9B active)"}, NAMES, "file", 2)
        return [
            LeftOut("source", "a", "measured", Comparison(case, "throughput", 100, predicted, None, None))
            for _ in range(30)
        ]

    table = intervals([*left("llama-3-8b", 105), *left("mixtral-8x7b", 150)])
    known = shipped().model_copy(update={"intervals": table})
    dense, routed = known.interval("throughput", "measured"), known.interval("throughput", "measured", experts=True)
    assert dense is not None
    assert routed is not None
    assert dense.high == pytest.approx(math.log(1.05), abs=1e-3)
    assert routed.high == pytest.approx(math.log(1.5), abs=1e-3)


def test_streaming_and_a_large_vocabulary_cost_time_per_sequence() -> None:
    catalog = load_catalog()
    card = catalog.accelerators["a100-sxm-80gb"]
    made = deploy(of_catalogue_model(catalog.models["llama-3.1-8b-instruct"]), card, version="0.7.3")
    offline = engine_step(
        made.model,
        card,
        made.parallel,
        formats_on(card, "bf16"),
        known_coefficients(made),
        made.release,
        streaming=False,
    )
    assert made.step.seconds(64, 64_000) - offline.seconds(64, 64_000) == pytest.approx(
        64 * known_coefficients(made).stream_s, rel=1e-6
    )
    small = engine_step(
        replace(made.model, vocabulary=32_000), card, made.parallel, formats_on(card, "bf16"),
        known_coefficients(made), made.release,
    )  # fmt: skip
    assert small.sequence_s < made.step.sequence_s


def test_a_tenth_of_the_configurations_keeps_the_loads_of_one_together() -> None:
    rows = [{**ROW, "concurrency_or_rate": f"conc={streams}"} for streams in (1, 2, 4)]
    assert len({fold_of(understand(row, NAMES, "file", 2)) for row in rows}) == 1
    models = ("llama-2-7b", "llama-2-13b", "mistral-7b", "qwen2.5-7b", "qwen2.5-14b", "gemma-2-9b")
    assert len({fold_of(understand({**ROW, "model": model, "gpu": "H200"}, NAMES, "file", 2)) for model in models}) > 1


def test_more_load_takes_longer_steps_and_more_bandwidth_shorter_ones() -> None:
    catalog = load_catalog()
    model = of_catalogue_model(catalog.models["llama-3.1-8b-instruct"])
    slow, fast = (deploy(model, catalog.accelerators[card]).step for card in ("l4", "h100-sxm"))
    assert fast.seconds(8, 8000) < slow.seconds(8, 8000)
    assert slow.seconds(8, 8000) < slow.seconds(16, 16000) < slow.seconds(16, 16000, 1, 512, 512 * 256)


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="RACKRATE_PUBLISHED names no folder of published rows")
def test_published_tables_are_met_within_what_the_page_says() -> None:
    cases = [case for path in sorted(PUBLISHED.glob("*.csv")) for case in read_published(path, NAMES).cases][::20]
    compared, failed = compare_all(cases, shipped().values, with_machine=False)
    assert not failed
    errors = {kind: errors_of(found) for kind, found in by_class(compared).items()}
    throughput, low = errors["throughput"], errors["tpot-low"]
    assert throughput is not None
    assert low is not None
    assert throughput.median < 0.16
    assert low.median < 0.20


def test_a_replica_count_multiplies_throughput_only() -> None:
    case = understand(
        {**ROW, "concurrency_or_rate": "conc=8", "n_gpus": "4", "tp": "1", "gpu": "L40S-48GB"}, NAMES, "file", 2
    )
    assert case.parallel.data == 4
    assert case.load.value == 2
    item = replace(case, parallel=Parallel(1))
    four, alone = (compare_all([each], shipped().values, with_machine=False)[0] for each in (case, item))
    assert four[0].predicted == pytest.approx(4 * alone[0].predicted)
    assert four[1].predicted == pytest.approx(alone[1].predicted)


def test_activations_are_moved_beside_the_products_and_not_divided_where_every_rank_holds_them() -> None:
    catalog = load_catalog()
    dense = linear_work(of_catalogue_model(catalog.models["llama-3-8b-instruct"]), Formats(16, "16"))
    experts = linear_work(of_catalogue_model(catalog.models["mixtral-8x7b-instruct"]), Formats(16, "16"))
    assert dense.routed_bytes == 0 == dense.state_bytes
    # the same hidden size and layers; two copies of each token, gathered, written back and summed, in 16 bits
    assert experts.replicated_bytes == dense.replicated_bytes == 16 * 4096 * 32
    assert experts.routed_bytes == 8 * 2 * 4096 * 32
    card = catalog.accelerators["h100-sxm"]

    def activations_s(ranks: int) -> float:
        made = deploy(of_catalogue_model(catalog.models["mixtral-8x7b-instruct"]), card, parallel=Parallel(ranks))
        return made.step.token_s - communication_s(made.model, card, made.parallel, known_coefficients(made))[1]

    assert activations_s(1) / 8 < activations_s(8) < activations_s(1)


def test_recurrent_state_is_read_and_written_for_each_sequence() -> None:
    model = load_catalog().models["qwen3.5-397b-a17b"]
    assert model.fixed_state is not None
    assert (
        linear_work(of_catalogue_model(model), Formats(8, "8")).state_bytes
        == 2 * 45 * model.fixed_state.bytes_per_layer
    )


def test_a_module_of_two_dies_is_two_ranks_and_old_libraries_reach_a_rate_not_a_share() -> None:
    catalog = load_catalog()
    model, module = of_catalogue_model(catalog.models["llama-3-8b-instruct"]), catalog.accelerators["mi250"]
    values: dict[str, float] = {}

    def made(card: Accelerator, version: str) -> Deployment:
        return deploy(model, card, version=version, weights="bf16", values=values)

    def step(card: Accelerator, version: str) -> StepTime:
        return made(card, version).step

    assert module.dies == 2
    known = known_coefficients(made(module, "0.8.5"))
    single = module.model_copy(update={"dies": 1})
    assert communication_s(model, module, Parallel(), known)[0] > 0
    assert communication_s(model, single, Parallel(), known) == (0.0, 0.0)
    # seven times the rate of a die of MI250, and no quicker in products that were tuned for it
    quick = catalog.accelerators["mi300x"]
    slow = quick.model_copy(update={"peak_tflops": {"bf16": 181.0}, "tdp_w": None})
    same = quick.model_copy(update={"tdp_w": None})
    assert step(same, "0.6.4").token_compute_s == pytest.approx(step(slow, "0.6.4").token_compute_s)
    assert step(same, "0.8.5").token_compute_s == pytest.approx(
        step(slow, "0.8.5").token_compute_s * 181 / 1307.4, rel=1e-3
    )


MEASUREMENTS = Path(__file__).parents[2] / "measurements"


def test_rows_of_other_authors_are_met_within_what_the_documentation_says() -> None:
    """They come with the source, so that this runs wherever the tests do (docs/predict.md)."""
    published = [read_published(path, NAMES) for path in sorted((MEASUREMENTS / "holdout").glob("*.csv"))]
    cases = [case for table in published for case in table.cases]
    assert len(cases) > 0.95 * sum(table.rows for table in published)
    compared, failed = compare_all(cases, shipped().values, with_machine=False)
    assert not failed
    errors = {kind: errors_of(found) for kind, found in by_class(compared).items()}
    throughput, tpot = errors["throughput"], errors["tpot-low"]
    assert throughput is not None
    assert tpot is not None
    assert throughput.median < 0.20
    assert tpot.median < 0.20
