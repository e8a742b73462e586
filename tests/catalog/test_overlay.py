"""The user's own catalogue files over the shipped ones, what is said where one is wrong, and API prices by name."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rackrate.catalog.api_use import ApiUse
from rackrate.catalog.apis import ApiPrice, api_price, apis_of_model, list_apis, price_list_origin
from rackrate.catalog.load import DATA, Catalog, load_catalog
from rackrate.catalog.places import place_of
from rackrate.errors import CatalogError, UserError, nearest
from rackrate.files.yaml import read_yaml
from rackrate.workload.prompt_mix import PromptMix

Overlay = Callable[..., Catalog]

SOURCES = 'sources: [{source: "our contract", date: "2026-11"}]'
OFFER = f"""\
- id: acme/box
  provider: acme
  instance: box
  accelerator: t4
  accelerator_count: 2
  prices: [{{date: "2026-11-01", source: "our contract", on_demand_usd_h: 0.5}}]
  {SOURCES}
"""


parsed: dict[Path, Any] = {}


def parsed_once(path: Path) -> Any:
    """`read_yaml`, but the shipped files, which no test changes, are parsed only once: that takes most of the time."""
    if DATA not in path.parents:
        return read_yaml(path)
    if path not in parsed:
        parsed[path] = read_yaml(path)
    return parsed[path]


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Files are read anew, and nothing of a test stays behind in the cache."""
    monkeypatch.setattr("rackrate.catalog.load.read_yaml", parsed_once)
    load_catalog.cache_clear()
    yield
    load_catalog.cache_clear()


@pytest.fixture
def overlay(tmp_path: Path) -> Overlay:
    """Loads the catalogue with files given as `models="..."`, `offers="..."` and so on."""

    def load(**files: str) -> Catalog:
        directory = tmp_path / "mine"
        directory.mkdir(exist_ok=True)
        for name, text in files.items():
            (directory / f"{name}.yaml").write_text(text, encoding="utf-8")
        load_catalog.cache_clear()
        return load_catalog((directory,))

    return load


@pytest.fixture(scope="module")
def shipped() -> Catalog:
    return load_catalog()


# --- a new provider is one file ---


def test_a_provider_is_a_file_and_a_new_one_is_listed_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shipped: Catalog
) -> None:
    copied = tmp_path / "data"
    shutil.copytree(DATA, copied)
    (copied / "offers" / "beta.yaml").write_text(OFFER.replace("acme", "beta"), encoding="utf-8")
    monkeypatch.setattr("rackrate.catalog.load.DATA", copied)
    providers = list(dict.fromkeys(offer.provider for offer in load_catalog().offers.values()))
    assert providers == ["aws", "azure", "beta", *providers[3:]]
    assert [name for name in providers if name != "beta"] == sorted({o.provider for o in shipped.offers.values()})
    assert set(load_catalog().offers) - set(shipped.offers) == {"beta/box"}


def test_each_file_of_offers_is_of_the_provider_that_it_is_named_after() -> None:
    for file in (DATA / "offers").glob("*.yaml"):
        assert {row["provider"] for row in parsed_once(file)} == {file.stem}, file


# --- adding and changing ---


def test_a_new_entry_is_added_and_found_by_its_alias(overlay: Overlay, tmp_path: Path) -> None:
    catalog = overlay(offers=OFFER.replace("  provider", "  aliases: [acme/old-box]\n  provider"))
    assert catalog.offer("ACME/Old-Box").id == "acme/box"
    assert list(catalog.offers)[-1] == "acme/box"
    assert catalog.offers["acme/box"].price.on_demand_usd_h == 0.5
    assert catalog.overlays == (tmp_path / "mine" / "offers.yaml",)
    assert "aws/g4dn.12xlarge" in catalog.offers


def test_prices_alone_change_a_known_offer_and_nothing_else(overlay: Overlay, shipped: Catalog) -> None:
    catalog = overlay(
        offers="- id: aws/g4dn.12xlarge\n"
        '  prices: [{date: "2026-11-20", source: "our contract", on_demand_usd_h: 2.5}]\n'
    )
    changed, before = catalog.offer("aws/g4dn.12xlarge"), shipped.offer("aws/g4dn.12xlarge")
    assert changed.price.on_demand_usd_h == 2.5
    assert changed.price.source == "our contract"
    assert changed.model_copy(update={"prices": before.prices}) == before
    assert list(catalog.offers) == list(shipped.offers)


def test_later_directories_win(overlay: Overlay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overlay(offers=OFFER)
    second = tmp_path / "second"
    second.mkdir()
    (second / "offers.yaml").write_text(OFFER.replace("0.5", "0.75"), encoding="utf-8")
    catalog = load_catalog((tmp_path / "mine", second))
    assert catalog.offers["acme/box"].price.on_demand_usd_h == 0.75
    assert len(catalog.overlays) == 2


def test_an_empty_file_changes_nothing(overlay: Overlay, shipped: Catalog) -> None:
    catalog = overlay(offers="# nothing yet\n")
    assert catalog.offers == shipped.offers


def test_a_full_date_needs_no_quotes(overlay: Overlay) -> None:
    catalog = overlay(offers=OFFER.replace('"2026-11-01"', "2026-11-01").replace('"2026-11"', "2026-11"))
    assert catalog.offers["acme/box"].price.date == "2026-11-01"
    assert catalog.offers["acme/box"].sources[0].date == "2026-11"


# --- mistakes: file, line, column and key ---

MISTAKES: dict[str, tuple[str, int, int | None, str]] = {
    "unknown key": (OFFER + "  vcpu: 4\n", 8, 3, "unknown key 'vcpu'; did you mean vcpus"),
    "unknown key inside": (
        OFFER.replace("on_demand_usd_h: 0.5", "on_demand: 0.5"),
        6,
        57,
        "unknown key 'on_demand'; did you mean on_demand_usd_h",
    ),
    "unknown key of a known entry": (
        "- id: aws/g5.xlarge\n  price: 3\n",
        2,
        3,
        "unknown key 'price'; did you mean prices",
    ),
    "second entry": (OFFER + "- id: acme/other\n  provider: acme\n  ram: 5\n", 10, 3, "unknown key 'ram'"),
    "wrong type": (OFFER.replace("count: 2", "count: two"), 5, 3, "accelerator_count: should be a valid integer"),
    "negative": (OFFER.replace("usd_h: 0.5", "usd_h: -1"), 6, 57, "prices.0.on_demand_usd_h: should be greater than 0"),
    "missing key": (OFFER.replace("  instance: box\n", ""), 1, 3, "the key 'instance' is missing"),
    "written twice": (OFFER + "  provider: acme\n", 8, 3, "the key 'provider' is written twice"),
    "year without quotes": (
        OFFER.replace('"2026-11-01"', "2026"),
        6,
        13,
        "prices.0.date: should be a valid string, not 2026",
    ),
    "impossible date": (OFFER.replace("2026-11-01", "2026-13-01"), 6, 13, "a date is YYYY, YYYY-MM or YYYY-MM-DD"),
    "not a list": ("id: acme/box\nprovider: acme\n", 1, 1, "should be a list of entries"),
    "not entries": ("- just a word\n", 1, 3, "should be keys with values"),
    "tab": ("- id: acme/box\n\tprovider: acme\n", 2, 1, "not valid YAML"),
    "bracket left open": ("- id: [acme\n- id: other\n", 2, None, "not valid YAML"),
    "python object": ("- !!python/object/apply:os.getcwd []\n", 1, 3, "not valid YAML"),
    "count without accelerator": (
        OFFER.replace("  accelerator: t4\n", ""),
        1,
        3,
        "accelerator and accelerator_count go together",
    ),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_is_said_with_file_line_column_and_key(overlay: Overlay, tmp_path: Path, kind: str) -> None:
    text, line, column, said = MISTAKES[kind]
    with pytest.raises(UserError) as caught:
        overlay(offers=text)
    sentence = str(caught.value)
    place = re.match(rf"{re.escape(str(tmp_path / 'mine' / 'offers.yaml'))}:(\d+):(\d+): ", sentence)
    assert place is not None, sentence
    assert int(place[1]) == line
    assert column is None or int(place[2]) == column  # None: parsers differ
    assert said in sentence
    assert "\n" not in sentence
    assert "pydantic" not in sentence


def test_an_id_said_twice_in_one_file_is_refused(overlay: Overlay) -> None:
    with pytest.raises(UserError, match=r"offers\.yaml.*acme/box.*twice"):
        overlay(offers=OFFER + OFFER)


def test_an_infinite_price_is_refused(overlay: Overlay) -> None:
    with pytest.raises(UserError, match=r"offers\.yaml:6:\d+: .*on_demand_usd_h: "):
        overlay(offers=OFFER.replace("usd_h: 0.5", "usd_h: .inf"))


@pytest.mark.parametrize("text", ["? [a, b]\n: 1\n", "? {a: b}\n: 1\n"], ids=["list", "mapping"])
def test_a_key_that_is_no_word_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "odd.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"odd\.yaml:1:\d+: not valid YAML"):
        read_yaml(file)


@pytest.mark.parametrize("text", [b"name: \xff\xfe\n", b'name: "a\x00b"\n'], ids=["not UTF-8", "NUL"])
def test_what_is_not_text_is_refused_in_one_line(tmp_path: Path, text: bytes) -> None:
    file = tmp_path / "odd.yaml"
    file.write_bytes(text)
    with pytest.raises(UserError) as caught:
        read_yaml(file)
    assert str(caught.value).startswith(f"{file}")
    assert "\n" not in str(caught.value)


def test_a_directory_in_place_of_a_file_is_refused(overlay: Overlay, tmp_path: Path) -> None:
    (tmp_path / "mine" / "offers.yaml").mkdir(parents=True)
    with pytest.raises(UserError, match="is a directory"):
        overlay()


# --- names ---


def names_suggested(sentence: str) -> list[str]:
    listed = re.search(r"did you mean (.+?)\?", sentence)
    assert listed is not None, sentence
    return re.split(r", | or ", listed[1])


@pytest.mark.parametrize(
    ("kind", "wrong", "right"),
    [
        ("model", "lama-3-8b-instruct", "llama-3-8b-instruct"),
        ("offer", "aws/g4dn.12xlrge", "aws/g4dn.12xlarge"),
        ("offer", "g4dn.12xlarge", "aws/g4dn.12xlarge"),
        ("accelerator", "h100-sx", "h100-sxm"),
        ("accelerator", "T-4", "t4"),
    ],
)
def test_an_unknown_name_is_answered_with_near_ones(shipped: Catalog, kind: str, wrong: str, right: str) -> None:
    with pytest.raises(CatalogError) as caught:
        getattr(shipped, kind)(wrong)
    near = names_suggested(str(caught.value))
    assert 1 <= len(set(near)) == len(near) <= 3
    assert near[0] == right
    assert f"no {kind} is called {wrong!r}" in str(caught.value)
    assert set(near) <= set(getattr(shipped, f"{kind}s"))


@pytest.mark.parametrize("wrong", ["", "zzzzzz", "[bold]", "日本", "x" * 1_000])
def test_a_name_that_is_like_none_is_answered_with_none(shipped: Catalog, wrong: str) -> None:
    with pytest.raises(CatalogError, match="no offer is called") as caught:
        shipped.offer(wrong)
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize(("short", "whole"), [("a800", "a800-sxm-80gb"), ("V100s", "v100s-pcie-32gb")])
def test_a_short_name_is_the_only_accelerator_that_goes_on_from_it(shipped: Catalog, short: str, whole: str) -> None:
    assert shipped.accelerator(short).id == whole
    assert place_of(f"{short}x8", shipped).count == 8


def test_a_short_name_of_several_accelerators_names_them(shipped: Catalog) -> None:
    with pytest.raises(CatalogError, match="'h100' is 3 accelerators: say which of h100-sxm, h100-pcie, h100-nvl"):
        place_of("h100x2", shipped)


@pytest.mark.parametrize(
    ("word", "known"),
    [("laguna", ["llava", "llama", "baichuan"]), ("youtu", ["opt", "dots1", "apertus"]), ("zzz", ["a", "b"])],
)
def test_nothing_alike_is_suggested_for_what_is_like_nothing(word: str, known: list[str]) -> None:
    assert nearest(word, known) == []


def test_a_model_is_known_by_path_and_hub_id(shipped: Catalog) -> None:
    assert shipped.known_model("/models/Meta-Llama-3-8B-Instruct") is shipped.models["llama-3-8b-instruct"]
    assert shipped.known_model("meta-llama/Meta-Llama-3-8B-Instruct") is shipped.models["llama-3-8b-instruct"]
    assert shipped.known_model("my-own-model") is None


# --- API prices ---


def test_gpt_3_5_turbo_is_the_one_of_the_article(shipped: Catalog) -> None:
    price = api_price("gpt-3.5-turbo", shipped)
    assert price.ref == "openai/gpt-3.5-turbo"
    assert (price.input_usd_per_1m, price.output_usd_per_1m) == (0.5, 1.5)
    assert price.source.startswith("genai-prices ")
    assert price.date == price_list_origin()[1]


def test_the_pinned_release_is_the_installed_one() -> None:
    name, released = price_list_origin()
    assert re.fullmatch(r"genai-prices \d+\.\d+\.\d+", name)
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", released), "data/api_prices_release.yaml is of another release"


def test_an_unknown_api_is_answered_with_three_near_ones(shipped: Catalog) -> None:
    with pytest.raises(CatalogError) as caught:
        api_price("openai/gpt-4o-minni", shipped)
    near = names_suggested(str(caught.value))
    assert near[0] == "openai/gpt-4o-mini"


def test_a_model_sold_by_several_is_ambiguous(shipped: Catalog) -> None:
    with pytest.raises(CatalogError, match=r"is sold by \d+ providers: say which one") as caught:
        api_price("Qwen/Qwen3-235B-A22B-Instruct-2507", shipped)
    assert "huggingface_together/Qwen/Qwen3-235B-A22B-Instruct-2507" in str(caught.value)
    named = api_price("huggingface_together/Qwen/Qwen3-235B-A22B-Instruct-2507", shipped)
    assert named.provider == "huggingface_together"


@pytest.mark.parametrize(("name", "maker"), [("gpt-6-luna", "openai"), ("gpt-oss-120b", "openai")])
def test_a_bare_name_means_its_makers_where_others_sell_it_too(shipped: Catalog, name: str, maker: str) -> None:
    sellers = {price.provider for price in list_apis(shipped) if price.model == name}
    assert len(sellers) > 1
    assert api_price(name, shipped).provider == maker


@pytest.mark.parametrize(
    ("day", "dollars"),
    [
        (datetime(2026, 7, 29, 23, 59, tzinfo=UTC), (1.0, 6.0)),
        (datetime(2026, 7, 30, tzinfo=UTC), (0.2, 1.2)),
        (datetime(2026, 11, 1, tzinfo=UTC), (0.2, 1.2)),
    ],
)
def test_a_price_is_that_of_its_day(shipped: Catalog, day: datetime, dollars: tuple[float, float]) -> None:
    price = api_price("openai/gpt-5.6-luna", shipped, when=day)
    assert (price.input_usd_per_1m, price.output_usd_per_1m) == dollars


def test_a_long_input_costs_the_rate_of_its_tier(shipped: Catalog) -> None:
    day = datetime(2026, 11, 1, tzinfo=UTC)
    alike = [ApiUse(prompts=PromptMix.of_length(length, 1)) for length in (272_000, 272_001)]
    short, long = (api_price("openai/gpt-5.6-luna", shipped, day, use) for use in alike)
    assert (short.input_usd_per_1m, short.output_usd_per_1m) == (0.2, 1.2)
    assert (long.input_usd_per_1m, long.output_usd_per_1m) == (0.4, 1.8)


def test_every_listed_api_is_found_by_its_name(shipped: Catalog) -> None:
    day = datetime(2026, 11, 1, 12, tzinfo=UTC)
    listed = list_apis(shipped, day)
    assert len(listed) > 300
    assert len({price.ref for price in listed}) == len(listed)
    for price in listed[::40]:
        assert api_price(price.ref, shipped, day) == price


def api_entry(name: str, more: str = "", usd: float = 0.01) -> str:
    return (
        f"- id: {name}\n  provider: acme\n  model: {name}\n  input_usd_per_1m: {usd}\n  output_usd_per_1m: {usd}\n"
        f"  {SOURCES}\n{more}"
    )


def test_the_users_own_api_is_known_by_both_names(overlay: Overlay) -> None:
    catalog = overlay(apis=api_entry("house-llama"))
    for name in ("house-llama", "acme/house-llama", "ACME/House-Llama"):
        price = api_price(name, catalog)
        assert (price.input_usd_per_1m, price.source, price.date) == (0.01, "our contract", "2026-11")
    assert list_apis(catalog)[0].ref == "acme/house-llama"


@pytest.mark.parametrize("named", ["llama-3-8b-instruct", "llama-3-8b"])
def test_the_users_own_api_of_the_same_model_is_compared_with_it(overlay: Overlay, named: str) -> None:
    catalog = overlay(apis=api_entry("house-llama", f"  same_as: {named}\n"))
    sellers = apis_of_model(catalog.models["llama-3-8b-instruct"], catalog)
    assert sellers[0].ref == "acme/house-llama"  # the cheapest first, and this one is
    assert len(sellers) > 1
    assert apis_of_model(catalog.models["phi-4"], catalog) != []
    assert "acme/house-llama" not in {price.ref for price in apis_of_model(catalog.models["phi-4"], catalog)}


def test_same_as_an_unknown_model_is_refused(overlay: Overlay) -> None:
    with pytest.raises(UserError, match=r"apis\.yaml.*lama-3-8b-instruct.*llama-3-8b-instruct"):
        overlay(apis=api_entry("house-llama", "  same_as: lama-3-8b-instruct\n"))


def test_an_offer_of_an_unknown_accelerator_is_refused(overlay: Overlay) -> None:
    with pytest.raises(UserError, match=r"offers\.yaml.*a10gg.*a10g"):
        overlay(offers=OFFER.replace("t4", "a10gg"))


def test_sellers_of_a_model_come_cheapest_first(shipped: Catalog) -> None:
    sellers = apis_of_model(shipped.models["llama-3.1-8b-instruct"], shipped)
    sums = [price.input_usd_per_1m + price.output_usd_per_1m for price in sellers]
    assert len(sums) >= 3
    assert sums == sorted(sums)
    assert apis_of_model(None, shipped) == []


def test_cached_tokens_cost_their_own_price_where_there_is_one() -> None:
    price = ApiPrice("acme", "m", "m", 1.0, 2.0, 0.1, "list", "2026")
    assert price.bill_usd(1_000_000, 500_000) == pytest.approx(2.0)
    assert price.bill_usd(1_000_000, 500_000, cached_tokens=400_000) == pytest.approx(0.6 + 0.04 + 1.0)
    without = ApiPrice("acme", "m", "m", 1.0, 2.0, None, "list", "2026")
    assert without.bill_usd(1_000_000, 0, cached_tokens=400_000) == pytest.approx(1.0)
