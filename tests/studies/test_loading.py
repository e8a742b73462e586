"""Mistakes in a study file: one sentence each, with file, line and column."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from rackrate.catalog.load import load_catalog
from rackrate.errors import UserError
from rackrate.studies.evaluate import evaluate
from rackrate.studies.loading import load_study

GOOD = """\
study: test
title: a test
draws: 1000
inputs:
  speed: {value: [300, 500], unit: token/s}
  kwh: {value: 0.2, unit: USD/kWh}
  gpus: {offer: aws/g4dn.12xlarge, figure: accelerator_count}
claims:
  - {id: one, says: a sentence, formula: "4 * speed", published: 1600, tolerance: "5 %"}
scenarios:
  - name: rented
    model: llama-3-8b-instruct
    offer: aws/g4dn.xlarge
    tokens_per_second: speed
  - name: bought
    model: llama-3-8b-instruct
    tokens_per_second: speed * gpus
    own: {capex_usd: 3800, life_years: 5, idle_w: 100, busy_w: 300, usd_per_kwh: kwh}
  - name: Groq
    api: groq/llama3-8b-8192
questions:
  - id: q
    asks: which one
    traffic: {tokens_per_month: 1e9, input_share: 0.5}
    among: [rented, bought, Groq]
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def mistake(tmp_path: Path, old: str, new: str) -> str:
    """What is said of the good study with one place changed."""
    assert GOOD.count(old) == 1, old
    path = write(tmp_path, GOOD.replace(old, new))
    with pytest.raises(UserError) as error:
        evaluate(load_study(path), load_catalog())
    said = str(error.value)
    assert said.startswith(str(path)), said
    assert "\n" not in said
    return said.removeprefix(str(path)).removeprefix(":")


def test_the_good_one_is_good(tmp_path: Path) -> None:
    loaded = load_study(write(tmp_path, GOOD))
    assert loaded.warnings == ()
    result = evaluate(loaded, load_catalog())
    assert [row.name for row in result.questions[0].rows] == ["Groq", "bought", "rented"]


def place_of(text: str, marker: str) -> str:
    """Line and column of the `|` of a marker, such as `unit: |furlong`."""
    assert text.count(marker.replace("|", "")) == 1, marker
    at = text.index(marker.replace("|", "")) + marker.index("|")
    return f"{text.count(chr(10), 0, at) + 1}:{at - (text.rfind(chr(10), 0, at) + 1) + 1}"


@pytest.mark.parametrize(
    ("old", "new", "marker", "says"),
    [
        ("title:", "titel:", "|titel:", "unknown key 'titel'; did you mean title"),
        ("unit: token/s", "units: token/s", "|units: token/s", "unknown key 'units'; did you mean unit"),
        ("[300, 500]", "[500, 300]", "|value: [500", "the low end 500 is above the high end 300"),
        ("[300, 500]", "{norml: [1, 2]}", "|value: {norml", "or one of uniform, triangular"),
        ('"4 * speed"', '"4 * sped"', '"4 * |sped"', "no input is called 'sped'; did you mean speed"),
        ("tokens_per_second: speed * gpus", "tokens_per_second: speed * cpus", "speed * |cpus", "did you mean gpus"),
        ('"4 * speed"', '"4 * speed("', '|formula: "4 * speed("', "not a formula"),
        ('"4 * speed"', '"open(1)"', '|formula: "open', "no function is called 'open'"),
        ('"5 %"', '"a bit"', '|tolerance: "a bit"', "a tolerance is a number"),
        ("usd_per_kwh: kwh", "usd_per_kwh: 0.1 +", "|usd_per_kwh: 0.1 +", "not a formula"),
        ("offer: aws/g4dn.xlarge", "offer: aws/g4dn.xlrge", "offer: |aws/g4dn.xlrge", "did you mean aws/g4dn.xlarge"),
        ("groq/llama3-8b-8192", "groq/llama3-8b-8193", "|groq/llama3-8b-8193", "did you mean groq/llama3-8b-8192"),
        ("accelerator_count", "acelerator_count", "|acelerator_count", "did you mean accelerator_count"),
        ("life_years: 5", "life_years: 0", "life_years: |0", "life_years is 0, and should be at least 0.01"),
        ("busy_w: 300", "busy_w: 30", "busy_w: |30,", "does not draw less when busy"),
        ("[rented, bought, Groq]", "[rented, bougth]", "[rented, |bougth]", "did you mean bought"),
        ("input_share: 0.5", "input_share: 50", "input_share: |50", "input_share is 50, and should be at most 1"),
        ("tokens_per_month: 1e9, ", "", "|traffic: {input", "traffic needs tokens_per_month, or requests_per_day"),
        ("  - name: bought", "  - name: rented ", "- name: |rented \n", "the name 'rented' is written twice"),
        ("    api: groq/llama3-8b-8192", "    batch: true", "- |name: Groq", "one of offer, own, usd_per_hour"),
        ("value: 0.2, ", "value: kwh + 1, ", "|kwh: {value", "in a circle"),
        ("usd_per_kwh: kwh}", "usd_per_kwh: kwh, resale_usd: 4000}", "resale_usd: |4000", "does not sell for more"),
        (
            "api: groq/llama3-8b-8192",
            "api: groq/llama3-8b-8192\n    interruptions_per_month: 3",
            "    |interruptions_per_month: 3",
            "interruptions_per_month goes with rented machines",
        ),
        ("draws: 1000", "prices_as_of: 2024-02-31", "|prices_as_of", "a date is YYYY, YYYY-MM or YYYY-MM-DD"),
        ("value: 0.2", "value: " + "9" * 5000, "value: |999", "a number of 5,000 characters"),
    ],
)
def test_mistakes(tmp_path: Path, old: str, new: str, marker: str, says: str) -> None:
    said = mistake(tmp_path, old, new)
    assert says in said
    assert said.startswith(place_of(GOOD.replace(old, new), marker) + ": "), said


@pytest.mark.parametrize(
    ("old", "new", "marker", "says"),
    [
        ("value: 0.2", "value: 20", "value: |20,", "more than any tariff known"),
        ("says: a sentence", "unit: Quatloos, says: a sentence", "unit: |Quatloos", "the unit 'Quatloos' is not known"),
        ("usd_per_kwh: kwh", "usd_per_kwh: 18.7", "usd_per_kwh: |18.7", "was it meant in cents?"),
        ("unit: token/s", "unit: furlong", "unit: |furlong", "the unit 'furlong' is not known"),
        ("says: a sentence", "unit: USD, says: a sentence", 'formula: "|4 * speed', "token / time"),
        ('formula: "4 * speed"', 'formula: "speed + kwh"', 'formula: "|speed + kwh', "cannot be added"),
        ('formula: "4 * speed"', 'formula: "2 * (speed + kwh)"', '"2 * (|speed + kwh', "cannot be added"),
    ],
)
def test_units_that_cannot_be_are_warned_of(tmp_path: Path, old: str, new: str, marker: str, says: str) -> None:
    assert GOOD.count(old) == 1
    text = GOOD.replace(old, new)
    path = write(tmp_path, text)
    (warning,) = load_study(path).warnings
    assert says in warning
    assert warning.startswith(f"{path}:{place_of(text, marker)}: "), warning


def test_a_price_in_cents_that_comes_of_a_formula_is_warned_of(tmp_path: Path) -> None:
    text = GOOD.replace("value: 0.2, unit: USD/kWh", "value: gpus * 6, unit: USD/kWh")
    path = write(tmp_path, text)
    (warning,) = (warning for warning in evaluate(load_study(path), load_catalog()).warnings if "tariff" in warning)
    assert warning.startswith(f"{path}:{place_of(text, 'value: |gpus * 6')}: 24 USD per kWh is more than any tariff")


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", ":1:1: the file is empty"),
        (b"# nothing\n", ":1:1: the file is empty"),
        (b"- 1\n- 2\n", ":1:1: should be keys with values, not [1, 2]"),
        (b'study: t\ntitle: "caf\xe9"\n', ":2:12: is not UTF-8 text (byte 0xe9)"),
        ("study: t\n".encode("utf-16"), ":1:1: is not UTF-8 text (byte 0xff)"),
        (b"study: t\ntitle: a test\ntitle: twice\n", ":3:1: not valid YAML: the key 'title' is written twice"),
        (
            b"study: t\ntitle: a test\ninputs: &a {x: {value: 1, notes: *a}}\n",
            ":3:9: not valid YAML: an alias (*name) stands",
        ),
        (b"study: t\ntitle: a test\ninputs: " + b"[" * 5000 + b"]" * 5000, ":3:72: not valid YAML: more than 64 lists"),
        (b"!!python/object/apply:os.getcwd []\n", ":1:1: not valid YAML: the tag 'tag:yaml.org,2002:python/"),
    ],
)
def test_what_is_no_study_is_said_with_its_place(tmp_path: Path, raw: bytes, says: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_bytes(raw)
    with pytest.raises(UserError) as error:
        load_study(path)
    assert str(error.value).startswith(f"{path}{says}"), str(error.value)
    assert "\n" not in str(error.value)


def test_anchors_that_would_unfold_to_a_billion_values_are_refused_at_once(tmp_path: Path) -> None:
    layers = ["  a: &a [x, x, x, x, x, x, x, x, x, x]"]
    for before, name in itertools.pairwise("abcdefghi"):
        layers.append(f"  {name}: &{name} [{', '.join(['*' + before] * 10)}]")
    path = write(tmp_path, "study: t\ntitle: a test\ninputs:\n" + "\n".join(layers) + "\n")
    with pytest.raises(UserError, match=r"study\.yaml:9:6: .*stand for more than 200,000 values"):
        load_study(path)


def test_a_scenario_that_needs_what_is_not_known_is_refused(tmp_path: Path) -> None:
    said = mistake(tmp_path, "speed: {value: [300, 500], unit: token/s}", "speed: {unknown: nobody measured it}")
    assert said == "14:24: tokens_per_second needs speed, which is not known: nobody measured it"


def test_formulas_in_blocks_are_pointed_at_by_their_start(tmp_path: Path) -> None:
    said = mistake(tmp_path, 'formula: "4 * speed"', "formula: &f 'sped * 4'")
    assert said.startswith("9:")
