"""`rackrate catalog`: lists, searches, JSON with sources, the user's own files, and hints where nothing is found."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pytest

from rackrate.catalog.apis import DEFAULT_APIS
from rackrate.catalog.load import Catalog, load_catalog
from rackrate.cli import main, options

KINDS = ("models", "accelerators", "offers", "apis")


@pytest.fixture(scope="module", autouse=True)
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    """What is shipped: no overlays of whoever runs the tests."""
    empty = tmp_path_factory.mktemp("configuration")

    def nowhere(_name: str) -> Path:
        return empty

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("platformdirs.user_config_path", nowhere)
        patch.delenv("RACKRATE_CATALOG", raising=False)
        load_catalog.cache_clear()
        yield load_catalog()
    load_catalog.cache_clear()


class Ran(NamedTuple):
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> list[dict[str, Any]]:
        assert self.code == 0, self.err
        return json.loads(self.out)["entries"]


Command = Callable[..., Ran]


@pytest.fixture
def listing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs `rackrate catalog ...` in this process; a traceback would be the test's."""

    def run(*words: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["rackrate", "catalog", *words])
        capsys.readouterr()
        code: object = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
        assert isinstance(code, int)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


@pytest.fixture
def overlay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Writes one of the user's own files."""

    def write(name: str, text: str) -> None:
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
        monkeypatch.setenv("RACKRATE_CATALOG", str(tmp_path))
        load_catalog.cache_clear()

    yield write
    load_catalog.cache_clear()


def refused(ran: Ran) -> str:
    """The sentence of a bad input: exit code 2, one line on standard error, nothing on standard output."""
    assert ran.code == 2, ran
    assert ran.out == ""
    assert re.fullmatch(r"rackrate: [^\n]+\n", ran.err), ran.err
    return ran.err.removeprefix("rackrate: ").rstrip("\n")


# --- lists ---


@pytest.mark.parametrize("kind", ["models", "accelerators", "offers"])
def test_a_list_has_a_row_for_every_entry(listing: Command, catalogue: Catalog, kind: str) -> None:
    ran = listing(kind)
    assert ran.code == 0
    first_words = {line.split()[0] for line in ran.out.splitlines() if line.strip()}
    assert set(getattr(catalogue, kind)) <= first_words
    assert ran.err.startswith(f"{len(getattr(catalogue, kind))} {kind}; --sources says where")


def test_the_list_of_apis_says_of_when_it_is(listing: Command) -> None:
    ran = listing("apis", "gpt-3.5-turbo")
    assert ran.code == 0
    assert re.search(r"^openai/gpt-3\.5-turbo\s+\$0\.500\s+\$1\.50\s", ran.out, re.MULTILINE)
    assert re.search(r"listed by genai-prices [\d.]+, released 20\d\d-\d\d-\d\d$", ran.err.strip())


def test_an_offer_is_shown_with_hardware_and_price(listing: Command) -> None:
    ran = listing("offers", "g4dn.12xlarge")
    row = next(line for line in ran.out.splitlines() if line.startswith("aws/g4dn.12xlarge"))
    assert re.match(r"aws/g4dn\.12xlarge\s+4 x t4\s+48\s+192\s+\$3\.91\s+\$1\.29-\$1\.33\s", row)


def test_an_accelerator_is_shown_with_what_it_lacks(listing: Command) -> None:
    row = next(line for line in listing("accelerators", "t4").out.splitlines() if line.startswith("t4 "))
    assert row.split()[:6] == ["t4", "turing", "16", "320", "65", "-"]
    assert {"bf16", "fp8"} <= set(row.split())


# --- search ---


def test_every_word_must_be_in_an_entry(listing: Command) -> None:
    found = [entry["id"] for entry in listing("models", "LLAMA", "8b", "--json").json]
    assert {"llama-3-8b-instruct", "llama-3.1-8b-instruct"} <= set(found)
    assert "llama-3.1-70b-instruct" not in found
    assert not any(name.startswith("qwen") for name in found)


def test_an_entry_is_found_by_its_alias_and_hub_id(listing: Command) -> None:
    for word in ("meta-llama/Meta-Llama-3-8B-Instruct", "llama3-8b"):
        assert "llama-3-8b-instruct" in [entry["id"] for entry in listing("models", word, "--json").json]


def test_fewer_words_find_no_fewer(listing: Command) -> None:
    narrow = {entry["id"] for entry in listing("offers", "aws", "t4", "--json").json}
    wide = {entry["id"] for entry in listing("offers", "t4", "--json").json}
    assert narrow < wide
    assert all(name.startswith("aws/") for name in narrow)


# --- JSON ---


@pytest.mark.parametrize("kind", KINDS)
def test_json_has_every_entry_with_its_sources(listing: Command, catalogue: Catalog, kind: str) -> None:
    entries = listing(kind, "--json").json
    if kind == "apis":
        assert len(entries) > 300
        for entry in entries:
            assert entry["ref"] == f"{entry['provider']}/{entry['model']}"
            assert entry["source"].startswith("genai-prices ")
            assert entry["date"].startswith("20")
            assert entry["input_usd_per_1m"] > 0
        return
    assert [entry["id"] for entry in entries] == list(getattr(catalogue, kind))
    for entry in entries:
        assert entry["sources"], entry["id"]
        for source in entry["sources"]:
            assert source["source"]
            assert re.match(r"20\d\d", source["date"])


def test_json_is_what_the_catalogue_holds(listing: Command, catalogue: Catalog) -> None:
    (entry,) = listing("offers", "aws/g4dn.12xlarge", "--json").json
    assert entry == catalogue.offers["aws/g4dn.12xlarge"].model_dump(mode="json")
    assert entry["prices"][-1]["on_demand_usd_h"] == 3.912


def test_json_goes_to_standard_output_alone(private_environment: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rackrate", "catalog", "models", "llama-3-8b", "--json"]
    ran = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=60, cwd=tmp_path, env=private_environment
    )
    assert json.loads(ran.stdout)["entries"][0]["parameters"] == 8_030_261_248
    assert ran.stderr == ""


# --- sources ---


def test_sources_are_printed_on_request(listing: Command, catalogue: Catalog) -> None:
    ran = listing("accelerators", "tesla t4", "--sources")
    for source in catalogue.accelerators["t4"].sources:
        assert source.date in ran.out
        assert source.source.split()[0] in ran.out
    assert "all others" in ran.out


def test_sources_of_an_offer_have_its_prices(listing: Command) -> None:
    ran = listing("offers", "aws/p5.48xlarge", "--sources")
    assert len(re.findall(r"^aws/p5\.48xlarge\s+price\s", ran.out, re.MULTILINE)) == 2


# --- the user's own ---

OFFER = """\
- id: acme/box
  provider: acme
  instance: box
  region: "eu[/west]"
  accelerator: t4
  accelerator_count: 2
  prices: [{date: "2026-11-01", source: "contract [/7]", on_demand_usd_h: 0.5}]
  sources: [{source: "see [bold]page 3[/x]", date: "2026-11"}]
"""


def test_the_users_own_entries_are_listed(listing: Command, overlay: Callable[[str, str], None]) -> None:
    overlay("offers", OFFER)
    (entry,) = listing("offers", "acme", "--json").json
    assert entry["prices"][0]["on_demand_usd_h"] == 0.5


def test_brackets_in_the_users_text_are_text(listing: Command, overlay: Callable[[str, str], None]) -> None:
    overlay("offers", OFFER)
    ran = listing("offers", "acme", "--sources")
    assert ran.code == 0
    assert "eu[/west]" in ran.out
    assert "see [bold]page 3[/x]" in ran.out
    assert "contract [/7]" in ran.out


def test_colons_in_the_users_text_are_colons(listing: Command, overlay: Callable[[str, str], None]) -> None:
    overlay("offers", OFFER.replace("eu[/west]", "eu:car:west"))
    assert "eu:car:west" in listing("offers", "acme").out


def test_a_mistake_in_the_users_file_is_one_sentence(
    listing: Command, overlay: Callable[[str, str], None], tmp_path: Path
) -> None:
    overlay("offers", OFFER + "  colour: red\n")
    for kind in KINDS:
        said = refused(listing(kind))
        assert said.startswith(f"{tmp_path / 'offers.yaml'}:9:3: unknown key 'colour'")


# --- nothing found ---


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (("models", "llama-3-8b-instrukt"), "llama-3-8b-instruct"),
        (("accelerators", "h100-sx5"), "h100-sxm"),
        (("offers", "g4dn.12xlrge"), "aws/g4dn.12xlarge"),
        (("apis", "openai/gpt-4o-minni"), "openai/gpt-4o-mini"),
    ],
)
def test_an_unknown_word_is_answered_with_three_near_names(listing: Command, words: tuple[str, str], near: str) -> None:
    said = refused(listing(*words))
    assert words[1] in said
    hinted = re.search(r"did you mean (\S+), (\S+) or (\S+)\?", said)
    assert hinted is not None, said
    assert near in hinted.groups()


def test_two_words_that_do_not_meet_are_both_named(listing: Command) -> None:
    said = refused(listing("models", "llama", "zzz"))
    assert said.startswith("no model contains llama and zzz")


@pytest.mark.parametrize(("kind", "near"), [("modles", "models"), ("gpu", "offers"), ("offer", "offers")])
def test_an_unknown_list_is_answered_with_those_there_are(listing: Command, kind: str, near: str) -> None:
    said = refused(listing(kind))
    alike = kind in {"modles", "offer"}
    assert said.startswith(f"there is no list of {kind!r}; {'did you mean' if alike else 'there are models, acc'}")
    assert near in said


def test_an_empty_search_is_an_empty_list_in_json_and_says_so(listing: Command) -> None:
    ran = listing("models", "zzz", "--json")
    assert (ran.code, json.loads(ran.out)["entries"]) == (2, [])
    assert "no model contains zzz" in ran.err


# --- the reader goes away ---


@pytest.mark.parametrize("words", [["apis", "--json"], ["apis"]], ids=["JSON", "table"])
def test_a_reader_that_has_enough_is_no_error(
    private_environment: dict[str, str], tmp_path: Path, words: list[str]
) -> None:
    command = [sys.executable, "-m", "rackrate", "catalog", *words]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path, env=private_environment
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.read(10)
        running.stdout.close()
        said = running.stderr.read().decode()
        assert running.wait(timeout=60) == 0, said
    assert "Traceback" not in said
    assert "Broken" not in said


def test_help_names_the_apis_that_are_compared_with() -> None:
    (option,) = get_args(options.Apis)[1:]
    assert option.show_default == " and ".join(ref.split("/")[1] for ref in DEFAULT_APIS)


def test_what_is_no_longer_sold_is_marked_in_the_list(listing: Command) -> None:
    entries = json.loads(listing("apis", "gpt-3.5-turbo", "--json").out)["entries"]
    (turbo,) = [item for item in entries if (item["provider"], item["model"]) == ("openai", "gpt-3.5-turbo")]
    assert turbo["note"] == "shut down on 2026-10-23: its price is history"
    assert turbo["status"]["status"] == "ended"
    assert "shut down on 2026-10-23" in listing("apis", "openai/gpt-3.5-turbo").out
