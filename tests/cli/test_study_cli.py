"""`rackrate study` and `rackrate compare`: what they print, write and refuse."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from priced_runs import CPU, FOUR_T4, INPUT_TOK_S, OUTPUT_TOK_S, PREFILL_SHARE, Command, refused, write_run

STUDIES = Path(__file__).parents[2] / "studies"
TOK_S = INPUT_TOK_S + OUTPUT_TOK_S

pytestmark = pytest.mark.usefixtures("shipped_catalogue")


@pytest.fixture
def command(rackrate: Command) -> Command:
    return rackrate


@pytest.fixture(scope="module")
def t4_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(
        tmp_path_factory.mktemp("runs") / "t4", FOUR_T4, model="llama-3-8b", catalogue_id="llama-3-8b-instruct"
    )


class Page(HTMLParser):
    """What a page loads from elsewhere, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.words: list[str] = []
        self.specs = ""
        self._inside: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._inside = given.get("id") if tag == "script" else tag
        for name in ("src", "href"):
            link = given.get(name) or ""
            if link and not link.startswith(("data:", "#")):
                self.loads.append(link)

    def handle_data(self, data: str) -> None:
        if self._inside == "specs":
            self.specs += data
        elif self._inside not in {None, "style"}:
            self.words.append(data)


def read_page(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


# --- study ---


def test_the_articles_claims_are_printed_with_their_verdicts(command: Command) -> None:
    ran = command("study", "run", STUDIES / "lytix-2024.yaml", "--draws", 2000)
    assert ran.code == 0
    assert "29 claims: 14 reproduced, 11 do not follow, 4 cannot be checked" in ran.out
    for figure in ("$167.18", "$17.93", "$88.65", "$0.637", "66.58", "157,075,200"):
        assert figure in ran.out, figure
    assert ran.err == ""


def test_a_study_as_json(command: Command) -> None:
    view = command("study", "run", STUDIES / "lytix-2024.yaml", "--json", "--draws", 2000).json
    assert view["schema"] == "rackrate.study/1"
    (loss,) = [claim for claim in view["claims"] if claim["id"] == "loss-per-day"]
    assert loss["computed"]["value"] == pytest.approx(88.652, abs=5e-4)
    assert view["claim_counts"] == {"reproduced": 14, "does not follow": 11, "cannot be checked": 4}
    assert {"name", "usd_per_1m", "p_beats_api", "crossing", "against"} <= set(view["questions"][0]["rows"][0])
    assert set(view["definitions"]) >= {claim["verdict"] for claim in view["claims"]}


def test_the_same_seed_gives_the_same_bytes(command: Command, tmp_path: Path) -> None:
    words = ("study", "run", STUDIES / "on-prem-vs-api.yaml", "--draws", 2000, "--json")
    first = command(*words, "-o", "a.html").out
    assert command(*words, "-o", "b.html").out == first
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert command(*words, "--seed", 2).out != first


def test_the_page_needs_no_network_and_shows_it_all(command: Command, tmp_path: Path) -> None:
    assert command("study", "run", STUDIES / "lytix-2024.yaml", "--draws", 2000, "-o", "r.html").code == 0
    page = read_page(tmp_path / "r.html")
    assert page.loads == []
    text = " ".join(page.words)
    for words in ("does not follow", "$88.65/day", "cannot be checked", "What it hangs on", "another model"):
        assert words in text, words
    specs: dict[str, Any] = json.loads(page.specs)
    assert set(specs) == {f"{kind}-{n}" for kind in ("ranking", "tornado") for n in range(4)}


def test_what_a_study_says_is_escaped(command: Command, tmp_path: Path) -> None:
    text = (STUDIES / "on-prem-vs-api.yaml").read_text(encoding="utf-8")
    evil = "</script><script>alert(1)</script>"
    (tmp_path / "e.yaml").write_text(
        text.replace("name: Novita", f"name: 'Novita{evil}'").replace(", Novita,", f", 'Novita{evil}',"),
        encoding="utf-8",
    )
    assert command("study", "run", "e.yaml", "--draws", 1000, "-o", "e.html").code == 0
    assert "<script>alert" not in (tmp_path / "e.html").read_text(encoding="utf-8")


def test_the_template_runs_as_it_is(command: Command, tmp_path: Path) -> None:
    assert command("study", "new", "mine.yaml").code == 0
    assert "study: mine" in (tmp_path / "mine.yaml").read_text(encoding="utf-8")
    checked = command("study", "validate", "mine.yaml")
    assert (checked.code, checked.err) == (0, "")
    assert "no mistake found" in checked.out
    view = command("study", "run", "mine.yaml", "--json", "--draws", 2000).json
    assert view["warnings"] == []
    assert view["claims"][0]["verdict"] == "reproduced"
    assert [row["crossing"] is not None for row in view["questions"][0]["rows"] if not row["is_api"]] == [True, True]
    assert "exists; it is not overwritten" in refused(command("study", "new", "mine.yaml"))


def test_a_diff_says_what_flipped(command: Command, tmp_path: Path) -> None:
    (tmp_path / "d.yaml").write_text(
        "study: d\ntitle: a test\nprices_as_of: 2026-02-01\nscenarios:\n"
        "  - {name: box, model: m, usd_per_hour: 1, tokens_per_second: 1000}\n"
        "  - name: api\n    model: m\n    prices:\n"
        "      - {date: 2026-01-01, source: a list, input_usd_per_1m: 10, output_usd_per_1m: 10}\n"
        "      - {date: 2026-06-01, source: a list, input_usd_per_1m: 0.1, output_usd_per_1m: 0.1}\n"
        "questions:\n  - {id: q, asks: which, traffic: {tokens_per_month: 1e9}}\n",
        encoding="utf-8",
    )
    view = command("study", "diff", "d.yaml", "--as-of", "2026-11-23", "--json", "--draws", 2000).json
    assert (view["schema"], view["flipped"]) == ("rackrate.study-diff/1", 1)
    assert view["changes"][0]["id"] == "q"
    assert view["before"]["prices_as_of"] == "2026-02-01"
    ran = command("study", "diff", "d.yaml", "--as-of", "2026-11-23", "--draws", 2000)
    assert "1 of 1 verdicts flipped" in ran.out
    study = STUDIES / "lytix-2024.yaml"
    view = command("study", "diff", study, "--as-of", "2026-11-23", "--json", "--draws", 5000).json
    assert (view["flipped"], view["before"]["prices_as_of"]) == (0, "2024-06-13")
    assert view["changes"][0]["figures"]
    same = command("study", "diff", study, "--as-of", "2024-06-15", "--json", "--draws", 2000).json
    assert {change["id"] for change in same["changes"] if change["flipped"]} <= {"asked-properly-today"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("study", "rum", "x.yaml"), "did you mean run"),
        (("study", "run", "none.yaml"), "no such file"),
        (("study", "run", STUDIES / "lytix-2024.yaml", "--as-of", "yesterday"), "--as-of is a date"),
        (("study", "run", STUDIES / "lytix-2024.yaml", "--as-of", "2024-02-31"), "--as-of is a date"),
        (
            ("study", "run", STUDIES / "lytix-2024.yaml", "-o", "page.pdf"),
            "give a name that ends in .html, .md, .json or .csv",
        ),
        (("study", "diff", STUDIES / "lytix-2024.yaml", "-o", "page.html"), "-o goes with `rackrate study run`"),
        (("study", "validate", STUDIES / "lytix-2024.yaml", "--json"), "--json goes with"),
        (("study", "run", STUDIES / "lytix-2024.yaml", "--draws", "10"), "between 1,000 and 1,000,000"),
        (("study", "run", STUDIES / "lytix-2024.yaml", "--seed", "-1"), "--seed is a whole number from 0"),
    ],
)
def test_bad_words_get_a_sentence(command: Command, words: tuple[object, ...], says: str) -> None:
    assert says in refused(command(*words))


def test_a_mistake_in_a_file_is_one_line_with_its_place(command: Command, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(
        "study: x\ntitle: a test\nclaims:\n  - {id: a, says: a b c, formula: 1 + speed, published: 1}\n",
        encoding="utf-8",
    )
    assert refused(command("study", "run", "x.yaml")).startswith("x.yaml:4:39: no input is called 'speed'")


def test_a_scenario_may_be_a_measured_run(command: Command, tmp_path: Path, t4_run: Path) -> None:
    (tmp_path / "runs").symlink_to(t4_run.parent)
    (tmp_path / "r.yaml").write_text(
        "study: r\ntitle: a test\nscenarios:\n"
        "  - {name: measured, offer: aws/g4dn.12xlarge, run: runs/t4}\n"
        "  - {name: Groq, api: groq/llama3-8b-8192}\n"
        "questions:\n  - {id: q, asks: which, traffic: {tokens_per_month: 1e8, input_share: 0.5}}\n",
        encoding="utf-8",
    )
    view = command("study", "run", "r.yaml", "--json", "--draws", 2000).json
    rows = {row["name"]: row for row in view["questions"][0]["rows"]}
    # a quarter of the run's time was prefill: input alone at 160 / 0.25, output alone at 80 / 0.75 token/s
    busy_s = 5e7 / (INPUT_TOK_S / PREFILL_SHARE) + 5e7 / (OUTPUT_TOK_S / (1 - PREFILL_SHARE))
    assert rows["measured"]["utilisation"]["value"] == pytest.approx(busy_s / (3600 * 730), rel=1e-6)
    assert rows["measured"]["model"] == "llama-3-8b-instruct"
    assert "measured 2026-11-23 by rackrate 0.1.0: runs/t4" in rows["measured"]["source"]
    assert rows["Groq"]["same_model"] is True
    (tmp_path / "r.yaml").write_text((tmp_path / "r.yaml").read_text().replace("runs/t4", "runs/t5"), encoding="utf-8")
    assert refused(command("study", "run", "r.yaml")).startswith("r.yaml:4:53: ")


def test_a_study_refuses_a_run_priced_by_another_machine_as_price_does(
    command: Command, tmp_path: Path, t4_run: Path
) -> None:
    (tmp_path / "runs").symlink_to(t4_run.parent)
    study = (
        "study: r\ntitle: a test\nscenarios:\n  - {name: other, offer: aws/g5.xlarge, run: runs/t4}\n"
        "questions:\n  - {id: q, asks: which, traffic: {tokens_per_month: 1e8, input_share: 0.5}}\n"
    )
    (tmp_path / "r.yaml").write_text(study, encoding="utf-8")
    assert "a figure belongs to its machine" in refused(command("study", "run", "r.yaml"))
    (tmp_path / "r.yaml").write_text(study.replace("runs/t4}", "runs/t4, as_if: true}"), encoding="utf-8")
    view = command("study", "run", "r.yaml", "--json", "--draws", 2000).json
    assert "priced as if: aws/g5.xlarge is 1 x a10g" in " ".join(view["questions"][0]["rows"][0]["notes"])


# --- compare ---


def test_a_share_of_full_load_is_one_machine_whatever_it_serves(command: Command) -> None:
    """A faster machine then serves more, not the same with fewer machines."""
    view = command(
        "compare", "--tokens-per-second", "300..500", "--offer", "aws/g4dn.xlarge", "--offer", "aws/g5.xlarge", "--json"
    ).json
    rows = {row["name"]: row for row in view["rows"]}
    cheap, dear = rows["aws/g4dn.xlarge"], rows["aws/g5.xlarge"]
    assert cheap["machines"] == {"value": 1.0, "low": 1.0, "high": 1.0, "finite_share": 1.0}
    assert cheap["usd_per_1m"]["low"] == pytest.approx(0.526 / 500 / 3600 * 1e6, rel=1e-3)
    assert cheap["usd_per_1m"]["high"] == pytest.approx(0.526 / 300 / 3600 * 1e6, rel=1e-3)
    assert dear["p_cheapest"] == 0.0  # fast or slow together: the dearer one is never the cheaper one


def test_a_run_is_compared_on_its_offers_with_who_sells_the_model(command: Command, t4_run: Path) -> None:
    view = command("compare", t4_run, "--utilisation", "0.3", "--json", "--as-of", "2026-11-20").json
    assert view["schema"] == "rackrate.compare/1"
    rows = {row["name"]: row for row in view["rows"]}
    machine = rows["aws/g4dn.12xlarge"]
    assert machine["usd_month"]["value"] == pytest.approx(3.912 * 730)
    assert machine["utilisation"]["value"] == pytest.approx(0.3, rel=1e-6)
    volume = 0.3 * TOK_S * 3600 * 730
    assert view["tokens_month"]["value"] == pytest.approx(volume, rel=1e-6)
    assert view["input_share"] == pytest.approx(INPUT_TOK_S / TOK_S)
    seller = rows["openrouter/meta-llama/llama-3-8b-instruct"]
    assert seller["same_model"] is True
    assert seller["usd_month"]["value"] == pytest.approx(volume * (2 / 3 * 0.03 + 1 / 3 * 0.06) / 1e6, rel=1e-6)
    assert "groq/llama3-8b-8192" not in rows  # which shut it down in 2025
    assert rows["openai/gpt-6-luna"]["same_model"] is False
    costs = [row["usd_month"]["value"] for row in view["rows"]]
    assert costs == sorted(costs)
    same = [row for row in view["rows"] if row["is_api"] and row["same_model"]]
    assert len(same) == 7  # all who sell it today; of more the eight cheapest


def test_a_limit_that_forbids_to_break_even_is_named(command: Command, tmp_path: Path) -> None:
    """A box of 1 USD/h serves 2,628M tokens a month; at 0.5 USD per 1M it pays from 1,460M on, 56 % busy."""
    text = (
        "study: d\ntitle: a test\nscenarios:\n"
        "  - {name: box, model: m, usd_per_hour: 1, tokens_per_second: 1000, max_load: LOAD}\n"
        "  - name: api\n    model: m\n    prices:\n"
        "      - {date: 2026-01-01, source: a list, input_usd_per_1m: 0.5, output_usd_per_1m: 0.5}\n"
        "questions:\n  - {id: q, asks: which, traffic: {tokens_per_month: 1e8, peak_to_mean: PEAK}}\n"
    )

    def said(load: str, peak: str) -> str:
        (tmp_path / "p.yaml").write_text(text.replace("LOAD", load).replace("PEAK", peak), encoding="utf-8")
        return " ".join(command("study", "run", "p.yaml", "--draws", 1000).out.split())

    assert "box: costs what api does at 1.46 G tokens a month, 56 % busy, for good from 2.92 G" in said("1", "1")
    would = "box: would cost what api does if each machine were 56 % busy all month (1.46 G tokens a month), but"
    assert f"{would} the peak (2 x mean) allows 50 %: no break-even" in said("1", "2")
    assert f"{would} max_load (50 % of full load) allows 50 %: no break-even" in said("0.5", "1")
    assert f"{would} the peak (2 x mean) and max_load (80 % of full load) allow 40 %" in said("0.8", "2")
    never = text.replace(
        "input_usd_per_1m: 0.5, output_usd_per_1m: 0.5", "input_usd_per_1m: 0.1, output_usd_per_1m: 0.1"
    )
    (tmp_path / "n.yaml").write_text(never.replace("LOAD", "1").replace("PEAK", "2"), encoding="utf-8")
    assert "box: never breaks even with api, however full it is." in command("study", "run", "n.yaml").out


def test_a_rig_is_compared_over_its_life(command: Command, tmp_path: Path) -> None:
    """The verdict and the payback say the same, at today's prices and at falling ones."""
    (tmp_path / "rig.yaml").write_text(
        "name: rig\ncapex_usd: 24000\nlife_years: 4\ndiscount_rate: 0.08\n"
        "idle_w: 300\nbusy_w: 1100\nusd_per_kwh: 0.17\n",
        encoding="utf-8",
    )
    words = ("compare", "--tokens-per-second", 3000, "--own", "rig.yaml", "--model", "llama-3.1-8b-instruct",
             "--tokens-per-month", "4e9", "--api", "openai/gpt-6-luna", "--as-of", "2026-11-20")  # fmt: skip

    def over(*more: object) -> tuple[Any, Any]:
        view = command(*words, *more, "--json").json
        (mine,) = [row for row in view["rows"] if row["name"] == "rig"]
        return view, mine

    view, mine = over()
    assert (view["horizon"]["months"], view["horizon"]["life_of"]) == (48.0, "rig")
    assert view["horizon"]["discount_rate"]["value"] == 0.08
    falling, dearer = over("--api-price-decline", "0.6..0.9", "--horizon-years", 6)
    assert (falling["horizon"]["months"], falling["horizon"]["life_of"]) == (72.0, None)
    assert dearer["levelised_usd_month"] == mine["levelised_usd_month"]  # bought again at the same price
    for each, row in ((view, mine), (falling, dearer)):
        assert (row["crossing"]["payback_discounted_months"]["value"] is not None) == (
            each["verdict"] == "self-hosting"
        )
    shown = command(*words, "--api-price-decline", "0.3")
    assert "API prices falling by 30 % a year, resale counted" in shown.out
    assert "over 48 months, the life of rig; in the first month alone in" in " ".join(shown.out.split())


def test_compare_agrees_with_price(command: Command, t4_run: Path) -> None:
    """The same break-even, from the other command."""
    words = (t4_run, "--offer", "aws/g4dn.12xlarge", "--api", "openai/gpt-3.5-turbo", "--json")
    (machine,) = command("price", *words).json["machines"]
    (api,) = [api for api in machine["apis"] if api["api"] == "openai/gpt-3.5-turbo"]
    rows = {row["name"]: row for row in command("compare", *words, "--all-apis").json["rows"]}
    mine = rows["aws/g4dn.12xlarge"]
    assert mine["usd_per_1m"]["value"] == pytest.approx(machine["full_load"]["blended_usd"], rel=1e-6)
    assert rows["openai/gpt-3.5-turbo"]["usd_per_1m"]["value"] == pytest.approx(api["blended_usd_per_1m"], rel=1e-6)
    against = {item["api"]: item["tokens_per_month"] for item in mine["against"]}
    assert against["openai/gpt-3.5-turbo"] == pytest.approx(api["break_even"]["tokens_per_month"])


def test_discounts_and_batches(command: Command, t4_run: Path) -> None:
    base = ("compare", t4_run, "--json", "--as-of", "2026-11-20", "--api", "openai/gpt-4o-mini")
    plain = {row["name"]: row for row in command(*base).json["rows"]}["openai/gpt-4o-mini"]
    words = ("--discount", "openai=0.2", "--tokenizer-ratio", "openai/gpt-4o-mini=0.9", "--batch")
    less = {row["name"]: row for row in command(*base, *words).json["rows"]}["openai/gpt-4o-mini"]
    ratio = less["usd_month"]["value"] / plain["usd_month"]["value"]
    assert ratio == pytest.approx(0.5 * 0.8 * 0.9)
    assert "batch" in less["price"]
    assert any("20%" in note for note in less["notes"])


def test_a_stated_range_has_an_interval(command: Command, tmp_path: Path) -> None:
    words = (
        "compare", "--tokens-per-second", "300..500", "--model", "llama-3-8b-instruct", "--offer", "aws/g4dn.xlarge",
        "--tokens-per-month", "2e9..4e9", "--peak-to-mean", "2", "-o", "c.html",
    )  # fmt: skip
    ran = command(*words)
    assert ran.code == 0
    assert "wrote c.html" in ran.err
    assert "verdict: api" in ran.out
    assert re.search(r"aws/g4dn\.xlarge +rented +\$[\d,.]+ +\$[\d,.]+ to \$[\d,.]+", ran.out)
    assert read_page(tmp_path / "c.html").loads == []


def test_a_rig_of_ones_own(command: Command, tmp_path: Path, t4_run: Path) -> None:
    (tmp_path / "rig.yaml").write_text(
        "name: the rack\ncapex_usd: 3800\nresale_usd: 300\nspare_share: 0.1\nlife_years: 5\nidle_w: 100\nbusy_w: 300\n"
        "usd_per_kwh: 0.2\n",
        encoding="utf-8",
    )
    view = command("compare", t4_run, "--own", "rig.yaml", "--utilisation", "0.5", "--json").json
    (rack,) = [row for row in view["rows"] if row["kind"] == "owned"]
    (priced,) = command("price", t4_run, "--own", "rig.yaml", "-u", "0.5", "--json").json["machines"]
    assert rack["usd_month"]["value"] == pytest.approx(priced["at_load"]["usd_month"], rel=1e-9)
    assert rack["crossing"]["life_months"] == 60


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "either a RUN directory, or --tokens-per-second"),
        (("--tokens-per-second", "500..300", "--usd-per-hour", "1"), "a number above 0 or a range LOW..HIGH"),
        (("--tokens-per-second", "60", "--usd-per-hour", "1", "--discount", "openai"), "--discount is NAME=NUMBER"),
        (("--tokens-per-second", "60", "--usd-per-hour", "1", "--discount", "opnai=0.1"), "no API of this comparison"),
        (("--tokens-per-second", "60", "--usd-per-hour", "1", "--requests-per-day", "5"), "--tokens-per-month instead"),
        (("--tokens-per-second", "60", "--usd-per-hour", "1", "-u", "2"), "--utilisation is a share"),
        (("--tokens-per-second", "60", "--usd-per-hour", "1", "-u", "0.2", "--tokens-per-month", "5"), "not several"),
        (("--tokens-per-second", "60", "--usd-per-hour", "1", "--peak-to-mean", "0.5"), "a number from 1 to"),
        (("--tokens-per-second", "60", "--usd-per-hour", "1", "--api-price-decline", "1.5"), "--api-price-decline is"),
        (("--tokens-per-second", "60", "--usd-per-hour", "1", "--horizon-years", "0"), "--horizon-years is a number"),
        (("--tokens-per-second", "60", "--usd-per-hour", "1", "--as-of", "x"), "--as-of is a date"),
        (("--tokens-per-second", "60", "--usd-per-hour", "1", "--as-of", "2199-01-01"), "2199-01-01 is still to come"),
        (
            ("--tokens-per-second", "60", "--usd-per-hour", "1", "--tokens-per-month", "1e30"),
            "got 1e+30",
        ),
        (
            ("--tokens-per-second", "1e30", "--usd-per-hour", "1"),
            "--tokens-per-second is a number of tok",
        ),
        (("--tokens-per-second", "60", "--usd-per-hour", "1e300"), "--usd-per-hour is a number of USD"),
        (("--tokens-per-second", "60", "--usd-per-hour", "1", "--as-of", "2024-02-31"), "--as-of is a date"),
        (
            ("--tokens-per-second", "60", "--usd-per-hour", "1", "-o", "page.txt"),
            "give a name that ends in .html, .md, .json or .csv",
        ),
        (("--tokens-per-second", "60", "--usd-per-hour", "1", "--api", "openai/gtp-4o"), "did you mean"),
        (("--tokens-per-second", "60"), "on which machine"),
    ],
)
def test_compare_refuses_in_a_sentence(command: Command, words: tuple[str, ...], says: str) -> None:
    assert says in refused(command("compare", *words))


def test_another_machine_is_refused_as_by_price(command: Command, tmp_path: Path) -> None:
    run = write_run(tmp_path / "cpu", CPU)
    assert "a figure belongs to its machine" in refused(command("compare", run, "--offer", "aws/g4dn.12xlarge"))
    forced = command("compare", run, "--offer", "aws/g4dn.12xlarge", "--as-if", "--json").json
    (row,) = [row for row in forced["rows"] if row["kind"] == "rented"]
    assert any("other-hardware" in note for note in row["notes"])
