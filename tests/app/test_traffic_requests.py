"""Traffic, traces, the catalogue's lists and studies as use cases: requests through JSON, answers without a shell."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path

import pytest

from contexts import NOW, context_at
from rackrate.app import catalogue, studying, traces, traffic
from rackrate.app.catalogue import CatalogueRequest
from rackrate.app.context import Collected, Context, Provenance
from rackrate.app.request_json import Request, from_json, to_json
from rackrate.app.studying import StudyRequest
from rackrate.app.traces import TraceRequest
from rackrate.app.traffic import TrafficRequest, traffic_of
from rackrate.catalog.load import load_catalog
from rackrate.errors import CatalogError, UserError, WorkloadError


@pytest.fixture
def context(tmp_path: Path, shipped_catalogue: None) -> Context:
    return Context(
        read_catalog=load_catalog,
        provenance=Provenance("a test", "0", "3"),
        cache_dir=tmp_path,
        clock=lambda: datetime(2026, 11, 20, tzinfo=UTC),
        notify=Collected(),
    )


@pytest.mark.parametrize(
    "request_",
    [
        TrafficRequest(traffic="2/s", profile="1,2", growth=0.05, over="1y"),
        TraceRequest(Path("trace.csv")),
        CatalogueRequest("offers", ("aws", "t4")),
        StudyRequest(Path("study.yaml"), as_of="2024-06-13", draws=2000),
    ],
)
def test_a_request_comes_back_from_json(request_: Request) -> None:
    assert from_json(type(request_), to_json(request_)) == request_


def test_a_rate_is_a_month_of_it(context: Context) -> None:
    summary = traffic.summarise(TrafficRequest(traffic="2/s", lengths="100:50"), context)
    assert summary.mean_request_s == pytest.approx(2)
    assert summary.duration_s == pytest.approx(730 * 3600)
    assert (summary.mean_input_tokens, summary.mean_output_tokens) == (100, 50)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"traffic": None}, "say what is asked for: {traffic} with a rate"),
        ({"usage_model": "gpt"}, "{usage_model} and {utc_offset} go with a file"),
        ({"mean_rate": "fast"}, "{mean_rate} is a rate"),
        ({"lengths": "1"}, "{lengths} is INPUT:OUTPUT"),
        ({"weekdays": "1,x"}, "{weekdays}: '1,x' is not a list of numbers"),
        ({"weekdays": "1,2"}, "{weekdays} has seven factors"),
        ({"cached_share": "half"}, "{cached_share} is a share"),
    ],
)
def test_a_mistake_names_its_field(change: dict[str, str | None], message: str) -> None:
    request = dataclasses.replace(TrafficRequest(traffic="2/s"), **change)
    with pytest.raises(WorkloadError) as caught:
        traffic_of(request, NOW)
    assert caught.value.message.startswith(message)
    assert "{" not in caught.value.named(str.upper)


def test_a_trace_is_described_with_its_layout(tmp_path: Path, context: Context) -> None:
    file = tmp_path / "own.csv"
    file.write_text("time_s,input_tokens,output_tokens\n" + "".join(f"{i},10,20\n" for i in range(30)), "utf-8")
    found = traces.summarise(TraceRequest(file), context)
    assert (found.summary.requests, found.summary.input_tokens.mean) == (30, 10)
    assert found.layout


def test_a_list_has_what_contains_every_word(context: Context) -> None:
    found = catalogue.entries(CatalogueRequest("offers", ("aws", "g4dn.12xlarge")), context)
    assert [entry.id for entry in found.entries] == ["aws/g4dn.12xlarge"]
    assert found.nothing is None
    apis = catalogue.entries(CatalogueRequest("apis", ("gpt-4o-mini",)), context)
    assert "openai/gpt-4o-mini" in [price.ref for price in apis.apis]
    assert apis.price_list is not None


def test_a_list_without_anything_says_what_is_near(context: Context) -> None:
    found = catalogue.entries(CatalogueRequest("models", ("lama-9-8b",)), context)
    assert found.entries == ()
    assert found.nothing is not None
    assert "did you mean" in found.nothing
    with pytest.raises(CatalogError, match="no list of 'offer'; did you mean offers"):
        catalogue.entries(CatalogueRequest("offer"), context)


def test_a_study_is_evaluated_on_the_day_of_the_context(tmp_path: Path, context: Context) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(studying.template("mine"), "utf-8")
    result = studying.evaluate(StudyRequest(file, draws=1000), context)
    assert (result.study, result.evaluated, result.draws) == ("mine", "2026-11-20", 1000)
    compared = studying.compare_dates(StudyRequest(file, draws=1000), context)
    assert compared.after.prices_as_of == "2026-11-20"
    with pytest.raises(UserError) as caught:
        studying.evaluate(StudyRequest(file, as_of="someday"), context)
    assert caught.value.field == "as_of"


@pytest.mark.parametrize(
    "text", ["time,input,output\n{},5,5\n{},5,5\n", "Date,Requests,Prompt Tokens,Completion Tokens,Slug\n{},1,9,9,m\n"]
)
def test_what_is_still_to_come_is_not_recorded(tmp_path: Path, text: str) -> None:
    context, _ = context_at(tmp_path)
    path = tmp_path / "t.csv"
    path.write_text(text.replace("{}", "2027-03-01 10:00:00", 1).replace("{}", "2027-03-01 10:05:00"), encoding="utf-8")
    with pytest.raises(WorkloadError, match=r"its last record is of 2027-03-01 10:0.:00 UTC, and it is 2026-11-20"):
        traffic.summarise(TrafficRequest(str(path)), context)
    path.write_text(text.replace("{}", "2026-11-20 10:00:00", 1).replace("{}", "2026-11-20 10:05:00"), encoding="utf-8")
    assert traffic.summarise(TrafficRequest(str(path)), context).requests
