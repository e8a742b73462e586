"""The fit finds coefficients that it was not told, and what it is told less about it leans on its family."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from published_row import ROW
from rackrate.catalog.load import load_catalog
from rackrate.engines import vllm
from rackrate.errors import UserError
from rackrate.models.architecture import of_catalogue_model
from rackrate.steptime.coefficient_file import CoefficientFile, Spread, dump, parse_coefficients, shipped
from rackrate.steptime.deployment import deploy
from rackrate.steptime.load import Load, Observed
from rackrate.steptime.own_machine import anchored, calibrate_host
from rackrate.steptime.parameters import SHARED
from rackrate.steptime.work import Parallel
from rackrate.validation.cases import Case
from rackrate.validation.cross_validation import weighted_quantiles
from rackrate.validation.fitting import figures, fit, groups_of, predict, without
from rackrate.validation.names import PublishedNames
from rackrate.validation.published import understand

NAMES = PublishedNames(load_catalog())

TRUTH = {
    "memory": math.log(0.6), "compute16": math.log(0.5), "host_step_s@vllm-0.8": math.log(4e-3),
    "host_sequence_s@vllm-0.8": math.log(6e-5), "family:ampere:memory": 0.1,
}  # fmt: skip


def _cases(gpus: tuple[str, ...]) -> list[Case]:
    """Rows as measured by a machine whose coefficients are TRUTH."""
    found: list[Case] = []
    for gpu in gpus:
        for model in ("llama-3.1-8b", "qwen2.5-0.5b"):
            for streams in (1, 4, 16, 64):
                for prompt in ("128", "1024"):
                    row = {
                        **ROW, "gpu": gpu, "model": model, "n_gpus": "1", "tp": "1", "engine_version": "0.10.0",
                        "concurrency_or_rate": f"conc={streams}", "isl": prompt, "osl": "64",
                    }  # fmt: skip
                    case = understand(row, NAMES, "synthetic", 2)
                    got = figures(predict(case, TRUTH))
                    found.append(replace(case, observed=Observed(got["throughput"], got["tpot"], got["ttft"])))
    return found


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return _cases(("A100-SXM-80GB", "H100-SXM-80GB", "L40S-48GB"))


def test_the_fit_finds_what_made_the_rows(cases: list[Case]) -> None:
    fitted = fit(cases, iterations=6)
    assert float(np.median(np.abs(fitted.residuals))) < 0.02
    ampere = fitted.values["memory"] + fitted.values["family:ampere:memory"]
    ampere += fitted.values["accelerator:a100-sxm-80gb:memory"]
    assert ampere == pytest.approx(math.log(0.6) + 0.1, abs=0.08)
    # all of them streamed, so that only the sum of both is known
    per_sequence = sum(math.exp(fitted.values[f"{name}@vllm-0.8"]) for name in ("host_sequence_s", "stream_s"))
    assert per_sequence == pytest.approx(6e-5 + vllm.RELEASES[1].host_times.stream_s, rel=0.35)
    deviation = dict(zip(fitted.names, np.sqrt(np.diag(fitted.covariance)), strict=True))
    assert deviation["memory"] < SHARED["memory"].spread


def test_leaving_rows_out_is_close_to_fitting_without_them(cases: list[Case]) -> None:
    everything = fit(cases, iterations=5)
    rest = [case for case in cases if case.gpu != "l40s"]
    again = fit(rest, iterations=5)
    rows = np.array([case.gpu == "l40s" for case in cases for _ in range(3)])
    quick = without(everything, rows)
    for name in ("memory", "host_step_s@vllm-0.8", "host_sequence_s@vllm-0.8"):
        assert quick[name] == pytest.approx(again.values[name], abs=0.1)
    assert quick["accelerator:l40s:memory"] == pytest.approx(0.0, abs=1e-6)


def test_a_sweep_of_ones_own_machine_predicts_loads_that_it_did_not_have() -> None:
    catalog = load_catalog()
    made = deploy(
        of_catalogue_model(catalog.models["llama-3.1-8b-instruct"]), catalog.accelerators["l4"], version="0.10",
        parallel=Parallel(),
        values={**TRUTH, "family:ada:memory": -0.25, "request_s@vllm-0.8": math.log(0.02)},
    )  # fmt: skip
    known = deploy(
        of_catalogue_model(catalog.models["llama-3.1-8b-instruct"]), catalog.accelerators["l4"], version="0.10"
    )

    def measured(load: Load) -> Observed:
        got = made.replay(load)
        return Observed(got.output_tok_s, got.tpot_s, got.ttft_s)

    loads = [Load("closed", streams, 8 * streams + 16, 256, 128, whole=False) for streams in (1, 2, 4, 8, 16, 32)]
    found = calibrate_host(known, [(load, measured(load)) for load in loads])
    for load in (
        Load("closed", 12, 100, 900, 40, whole=False),
        Load("closed", 24, 150, 60, 300, whole=False),
        Load("poisson", 0.5, 200, 500, 60),
    ):
        truth, before = made.replay(load), known.replay(load)
        after = found.deployment.replay(load)
        assert after.output_tok_s == pytest.approx(truth.output_tok_s, rel=0.05)
        assert truth.tpot_s is not None
        assert before.tpot_s is not None
        assert after.tpot_s == pytest.approx(truth.tpot_s, rel=0.08)
        assert after.tpot_s is not None
        assert abs(after.tpot_s - truth.tpot_s) < abs(before.tpot_s - truth.tpot_s)
        estimate = found.predict(load)["output_tok_s"]
        assert estimate.low is not None
        assert estimate.high is not None
        assert estimate.low <= truth.output_tok_s <= estimate.high


def test_one_anchor_moves_a_prediction_towards_the_machine() -> None:
    catalog = load_catalog()
    known = deploy(
        of_catalogue_model(catalog.models["llama-3.1-8b-instruct"]), catalog.accelerators["l4"], version="0.10"
    )
    load = Load("closed", 8, 80, 256, 128, whole=False)
    plain = known.replay(load).output_tok_s
    moved = anchored(known, [(load, Observed(output_tok_s=plain * 0.8))])
    assert moved.deployment.replay(load).output_tok_s == pytest.approx(plain * 0.8, rel=0.06)


def test_nothing_measured_is_refused() -> None:
    catalog = load_catalog()
    known = deploy(of_catalogue_model(catalog.models["llama-3.1-8b-instruct"]), catalog.accelerators["l4"])
    with pytest.raises(UserError, match="nothing was measured"):
        calibrate_host(known, [(Load("closed", 1, 8, 10, 10), Observed())])


def test_the_shipped_coefficients_are_whole() -> None:
    document = shipped()
    assert parse_coefficients(dump(document), "again") == document
    assert len(document.covariance) == len(document.covariance_names)
    assert all(source.sha256 and source.rows for source in document.inputs)
    size = len(document.covariance)
    full = np.zeros((size, size))
    for row, values in enumerate(document.covariance):
        full[row, : row + 1] = values
    full += np.tril(full, -1).T
    assert np.linalg.eigvalsh(full).min() > -1e-6
    assert {"measured"} & set(document.intervals["throughput"])


def test_a_broken_file_of_coefficients_is_named() -> None:
    with pytest.raises(UserError, match=r"x\.json: not a file of coefficients: "):
        parse_coefficients("{}", "x.json")


def test_distances_and_intervals() -> None:
    document = shipped()
    assert document.distance("h100-sxm", "hopper") == "measured"
    assert document.distance("h100-nope", "hopper") == "same family"
    assert document.distance("x", "y") == "extrapolated"
    narrow = CoefficientFile.model_validate(
        {
            **document.model_dump(by_alias=True),
            "intervals": {"tpot-low": {"measured": Spread(low=-0.1, high=0.2, count=9)}},
        }
    )
    assert narrow.interval("tpot-low", "extrapolated") == Spread(low=-0.1, high=0.2, count=9)
    assert narrow.interval("ttft-low", "extrapolated") is None


def test_weighted_quantiles_agree_with_numpy_for_equal_weights() -> None:
    values = np.random.default_rng(1).normal(size=4001)
    mine = weighted_quantiles(values, np.ones(4001), (0.1, 0.5, 0.9))
    assert mine == pytest.approx(np.quantile(values, [0.1, 0.5, 0.9]).tolist(), abs=0.01)


def test_a_machine_is_known_by_its_author_and_card(cases: list[Case]) -> None:
    assert groups_of(cases[0]).machine == "a blog/a100-sxm-80gb"
    assert groups_of(cases[0], with_machine=False).machine is None


def test_coefficients_of_earlier_versions_are_read_by_their_names_of_now() -> None:
    text = dump(shipped())
    earlier = text
    for new, old in (
        ("weight_only_experts", "widened_experts"), ("large_batch_heads", "crowded_heads"),
        ("dequantise_gap_s", "widen_gap_s"), ('"machine:', '"box:'),
    ):  # fmt: skip
        assert new in text
        earlier = earlier.replace(new, old)
    assert earlier != text
    assert parse_coefficients(earlier, "earlier") == shipped()
