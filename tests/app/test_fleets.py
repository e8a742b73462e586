"""Fleets as a use case: the request through JSON, models from a file, machines of the run, mistakes by field."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rackrate.app.context import Collected, Context, Provenance
from rackrate.app.fleet_machines import parse_offer
from rackrate.app.fleets import FleetRequest, price
from rackrate.app.request_json import from_json, to_json
from rackrate.catalog.load import load_catalog
from rackrate.errors import UserError

STATED = FleetRequest(traffic="2/s", over="1d", lengths="100:50", capacity="1/s", usd_per_hour=1.0, headroom="1")


@pytest.fixture
def context(tmp_path: Path, shipped_catalogue: None) -> Context:
    return Context(
        read_catalog=load_catalog,
        provenance=Provenance("a test", "0", "3"),
        cache_dir=tmp_path,
        clock=lambda: datetime(2026, 11, 20, tzinfo=UTC),
        notify=Collected(),
    )


def test_a_request_comes_back_from_json() -> None:
    request = dataclasses.replace(STATED, rigs=(Path("rig.yaml"),), shapes=("fixed",), apis=("openai/gpt-4o-mini",))
    values = to_json(request)
    assert values["request"] == "fleet"
    assert "floor" not in values  # the default
    assert from_json(FleetRequest, values) == request


def test_two_full_replicas_cost_two_machines(context: Context) -> None:
    found = price(STATED, context)
    assert found.pricing.best.usd_month == pytest.approx(2 * 730)
    assert found.pricing.best.utilisation == pytest.approx(1)
    assert found.bills == ()
    assert not any("--" in note for note in found.notes)


def test_an_api_is_billed_for_the_same_tokens(context: Context) -> None:
    found = price(dataclasses.replace(STATED, apis=("openai/gpt-4o-mini",)), context)
    (bill,) = found.bills
    assert bill.usd == pytest.approx(bill.api.bill_usd(2 * 86400 * 100, 2 * 86400 * 50))


def test_a_long_time_is_announced(context: Context) -> None:
    price(dataclasses.replace(STATED, over="1y", growth=0.01, shapes=("fixed",)), context)
    assert isinstance(context.notify, Collected)
    assert context.notify.notes == ["pricing 525,600 steps ..."]


def test_models_of_a_file_share_machines(tmp_path: Path, context: Context) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(
        "- {name: large, capacity: 1/s, traffic: 1/s, slots: 4}\n"
        "- {name: small, capacity: 1/s, traffic: 4/s, slots: 1}\n",
        encoding="utf-8",
    )
    request = FleetRequest(models=file, over="1d", usd_per_hour=8.0, replicas_per_machine=8, headroom="1")
    best = price(request, context).pricing.best
    assert {model.name: model.slots for model in best.models} == {"large": 4, "small": 1}
    assert (best.peak_replicas, best.peak_machines) == (8, 1)
    with pytest.raises(UserError) as caught:
        price(dataclasses.replace(request, lengths="1:1"), context)
    assert caught.value.named(str.upper).startswith("LENGTHS and MODELS exclude each other")


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"traffic": None}, "traffic", "say what is asked for: {traffic}"),
        ({"capacity": None}, "capacity", "say what one replica can do: either a {run} directory, or {capacity}"),
        ({"usd_per_hour": None}, "offers", "say on which machines: {offers}, {rigs}, {contracts} or {usd_per_hour}"),
        ({"usd_per_hour": -1.0}, "usd_per_hour", "{usd_per_hour} is a number of USD per hour from 0 to"),
        ({"shapes": ("fixt",)}, "shapes", "{shapes} is one of fixed, autoscaled, mix, not 'fixt'; did you mean"),
        ({"headroom": "lots"}, "headroom", "{headroom} is a number from 1 on"),
        (
            {"hours_per_month": 800.0},
            "hours_per_month",
            "{hours_per_month} is a number of hours from 1 to 744",
        ),
        ({"offers": ("aws/g4dn.12xlarge:spto",)}, "offers", "{offers} aws/g4dn.12xlarge:spto: 'spto' is no kind of"),
        ({"offers": ("aws/g4dn.12xlarge,much=2",)}, "offers", "{offers} aws/g4dn.12xlarge,much=2: 'much' is not one"),
    ],
)
def test_a_mistake_names_its_field(context: Context, change: dict[str, object], field: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        price(dataclasses.replace(STATED, **change), context)  # pyright: ignore[reportArgumentType]
    assert field in caught.value.fields
    assert caught.value.message.startswith(message)
    assert "{" not in caught.value.named(str.upper)


def test_how_often_spot_is_interrupted_is_assumed_or_stated(context: Context) -> None:
    spot = dataclasses.replace(STATED, usd_per_hour=None, offers=("aws/g4dn.12xlarge:spot",))
    assert any(
        "0.2 to 1 interruptions a month assumed, since none are stated, and priced at 1" in note
        for note in price(spot, context).notes
    )
    stated = price(dataclasses.replace(spot, spot_interruptions=5), context)
    assert any("5 interruptions a month stated, each 180 s" in note for note in stated.notes)
    with pytest.raises(UserError, match="spot_interruptions is a number a month from 0 to"):
        price(dataclasses.replace(spot, spot_interruptions=-1), context)


def test_an_offer_has_limits() -> None:
    assert parse_offer("aws/g4dn.12xlarge:reserved-1y,most=8,replicas=4") == (
        "aws/g4dn.12xlarge",
        "reserved-1y",
        {"most": 8, "replicas": 4},
    )


def test_a_rate_by_the_month_is_that_of_the_stated_month(context: Context) -> None:
    """2,592,000 requests in a month of 720 hours are one a second; two USD per 1,000 of them."""
    asked = FleetRequest(
        capacity="2/s", traffic="2592k/month", usd_per_hour=7.2, shapes=("fixed",), hours_per_month=720, headroom="1"
    )
    (shape,) = price(asked, context).pricing.shapes
    assert shape.utilisation == pytest.approx(0.5)
    assert shape.usd_month == pytest.approx(7.2 * 720)
    assert shape.card.usd_per_1k_requests == pytest.approx(2.0)
