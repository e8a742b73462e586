"""Pricing, comparing, importing and runs side by side as calls: the answer, what refuses it, which field is wrong."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from contexts import context_at
from priced_runs import BLENDED_C7A_LARGE, CPU, FOUR_T4, INPUT_TOK_S, OUTPUT_TOK_S, write_run
from rackrate.app.comparing import CompareRequest, compare
from rackrate.app.importing import ImportRequest, import_results
from rackrate.app.pricing import PriceRequest, price
from rackrate.app.side_by_side import SideBySideRequest, side_by_side
from rackrate.errors import CatalogError, PriceError, RunError, UserError
from rackrate.units import usd_per_million

RESULTS = Path(__file__).parents[1] / "importers" / "data"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "cpu", CPU)


def test_a_run_is_priced_on_the_machines_that_are_named(tmp_path: Path, run: Path) -> None:
    context, _ = context_at(tmp_path)
    found = price(PriceRequest(run, offers=("aws/c7a.large",)), context)
    assert [machine.cost.name for machine in found.machines] == ["aws/c7a.large"]
    assert found.machines[0].full.blended_usd == pytest.approx(BLENDED_C7A_LARGE)
    stated = price(PriceRequest(run, usd_per_hour=2.0), context)
    whole = usd_per_million(2.0, INPUT_TOK_S + OUTPUT_TOK_S)
    assert stated.machines[0].full.blended_usd == pytest.approx(whole)


def test_a_stated_throughput_is_priced_without_a_run(tmp_path: Path) -> None:
    context, _ = context_at(tmp_path)
    found = price(PriceRequest(tokens_per_second=1000.0, usd_per_hour=3.6), context)
    assert found.machines[0].full.blended_usd == pytest.approx(1.0)  # 3.6 M tokens an hour


@pytest.mark.parametrize(
    ("changes", "kind", "fields"),
    [
        ({"run": None}, PriceError, ("run", "tokens_per_second")),
        ({"tokens_per_second": 5.0}, PriceError, ("run", "tokens_per_second")),
        ({"offers": ("aws/c7a.larg",)}, CatalogError, ("catalog",)),
        ({"usd_per_hour": -1.0}, UserError, ("usd_per_hour",)),
        ({"utilisation": 1.5}, UserError, ("utilisation",)),
        ({"price_kind": "cheap"}, UserError, ("price_kind",)),
    ],
)
def test_the_field_of_a_price_that_is_wrong_is_named(
    tmp_path: Path, run: Path, changes: dict[str, object], kind: type[UserError], fields: tuple[str, ...]
) -> None:
    with pytest.raises(kind) as caught:
        price(replace(PriceRequest(run), **changes), context_at(tmp_path)[0])  # pyright: ignore[reportArgumentType]
    assert caught.value.fields == fields
    assert "--" not in str(caught.value)


def test_a_run_is_not_priced_on_a_machine_that_it_did_not_run_on(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "t4", FOUR_T4)
    context, _ = context_at(tmp_path)
    with pytest.raises(PriceError) as caught:
        price(PriceRequest(directory, offers=("aws/c7a.large",)), context)
    assert "as_if" in caught.value.fields
    assert price(PriceRequest(directory, offers=("aws/c7a.large",), as_if=True), context).machines


def test_machines_and_apis_are_ranked_for_the_same_requests(tmp_path: Path, run: Path) -> None:
    context, _ = context_at(tmp_path)
    asked = CompareRequest(run, offers=("aws/c7a.large",), usd_per_hour=2.0, apis=("openai/gpt-4o-mini",))
    found = compare(asked, context)
    costs = {row.name: row.usd_month.value or 0.0 for row in found.question.rows}
    assert {"stated price", "aws/c7a.large", "openai/gpt-4o-mini"} <= set(costs)  # and who sells the run's own model
    assert costs["stated price"] / costs["aws/c7a.large"] == pytest.approx(2.0 / 0.10264, rel=1e-3)
    assert compare(asked, context) == found  # the seed is the request's


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"as_of": "soon"}, "as_of"),
        ({"discounts": ("openai/gpt-4o-mini=2",)}, "discounts"),
        ({"tokens_per_month": "lots"}, "tokens_per_month"),
        ({"peak_to_mean": 0.5}, "peak_to_mean"),
    ],
)
def test_the_field_of_a_comparison_that_is_wrong_is_named(
    tmp_path: Path, run: Path, changes: dict[str, object], field: str
) -> None:
    with pytest.raises(UserError) as caught:
        compare(
            replace(CompareRequest(run, apis=("openai/gpt-4o-mini",)), **changes),  # pyright: ignore[reportArgumentType]
            context_at(tmp_path)[0],
        )
    assert field in caught.value.fields


def test_results_of_another_tool_become_a_run(tmp_path: Path) -> None:
    context, _ = context_at(tmp_path)
    asked = ImportRequest((RESULTS / "vllm-detailed.json",), out=tmp_path / "run", on="aws/g5.xlarge")
    found = import_results(asked, context)
    header = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert header["command"] == context.provenance.command
    assert header["machine"]["offer"] == "aws/g5.xlarge"
    assert found.kept.run.requests
    assert price(PriceRequest(found.directory, offers=("aws/g5.xlarge",), force=True), context).machines
    with pytest.raises(RunError):
        import_results(asked, context)  # a run is there
    with pytest.raises(CatalogError):
        import_results(replace(asked, out=tmp_path / "other", on="aws/none"), context)
    (tmp_path / "no.json").write_text("{}", encoding="utf-8")
    with pytest.raises(RunError, match=r"no\.json"):
        import_results(ImportRequest((tmp_path / "no.json",), out=tmp_path / "third"), context)


def test_runs_stand_side_by_side_and_one_without_a_price_says_why(tmp_path: Path, run: Path) -> None:
    context, _ = context_at(tmp_path)
    other, t4 = tmp_path / "again", write_run(tmp_path / "t4", FOUR_T4)
    shutil.copytree(run, other)
    found = side_by_side(SideBySideRequest((run, other, t4), offers=("aws/c7a.large",)), context)
    assert [item.directory for item in found.runs] == [run, other, t4]
    assert len({item.label for item in found.runs}) == 3
    assert [item.pricing is not None for item in found.runs] == [True, True, False]
    assert "not priced" in (found.runs[2].failure or "")
    with pytest.raises(UserError, match="twice"):
        side_by_side(SideBySideRequest((run, run)), context)
    with pytest.raises(CatalogError):
        side_by_side(SideBySideRequest((run,), offers=("aws/none",)), context)
