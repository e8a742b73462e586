"""Memory fits as a call: one machine, every machine, and places as people write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from contexts import context_at
from rackrate.app.checking import FitRequest, fits
from rackrate.catalog.load import load_catalog
from rackrate.catalog.places import place_of
from rackrate.errors import UserError


def test_a_model_that_does_not_fit_has_remedies_and_one_that_does_has_none(tmp_path: Path) -> None:
    found = fits(FitRequest("llama-3-8b-instruct", on=("t4", "t4x4")), context_at(tmp_path)[0])
    alone, four = found.places
    assert (alone.fit.fits, four.fit.fits) == (False, True)
    assert all(way.fit.fits for way in alone.remedies)
    assert alone.remedies
    assert four.remedies == ()
    assert found.bits_per_weight == pytest.approx(16)
    assert not found.everywhere


def test_without_a_place_every_gpu_is_tried(tmp_path: Path) -> None:
    found = fits(FitRequest("qwen3-8b", weights="awq"), context_at(tmp_path)[0])
    assert found.everywhere
    assert len(found.places) == sum(card.kind == "gpu" for card in load_catalog().accelerators.values())
    assert 4 < found.bits_per_weight < 8  # embeddings stay in 16 bits


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("t4", ("t4", 1, None)),
        ("t4x4", ("t4", 4, None)),
        ("4xt4", ("t4", 4, None)),
        ("T4:2", ("t4", 2, None)),
        ("h100-sxm*8", ("h100-sxm", 8, None)),
        ("aws/g4dn.12xlarge", ("t4", 4, "aws/g4dn.12xlarge")),
    ],
)
def test_places_as_they_are_written(text: str, place: tuple[str, int, str | None]) -> None:
    found = place_of(text, load_catalog())
    assert (found.accelerator.id, found.count, found.offer.id if found.offer else None) == place


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("t5x4", "no accelerator is called 't5'; did you mean"),
        ("t4x0", "t4x0: at least one accelerator is needed"),
        ("aws/g9", "no offer is called 'aws/g9'"),
    ],
)
def test_what_is_no_place_is_said(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        place_of(text, load_catalog())


def test_an_offer_without_accelerator_says_what_to_do_instead() -> None:
    catalog = load_catalog()
    offer = next(offer.id for offer in catalog.offers.values() if offer.accelerator is None)
    with pytest.raises(UserError) as caught:
        place_of(offer, catalog, otherwise="state its {memory}", fields=("memory",))
    assert caught.value.named(lambda field: f"--{field}") == f"{offer} has no accelerator; state its --memory"
