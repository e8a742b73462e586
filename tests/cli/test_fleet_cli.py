"""`rackrate traffic` and `rackrate fleet`, end to end, and everything that can be wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from priced_runs import (
    CPU,
    G4DN_12XLARGE,
    INPUT_TOK_S,
    OUTPUT_TOK_S,
    PREFILL_SHARE,
    Command,
    refused,
    write_run,
)
from rackrate.catalog.apis import list_apis
from rackrate.catalog.load import load_catalog

pytestmark = pytest.mark.usefixtures("shipped_catalogue")

STATED = ("--capacity", "input=8000,output=1500", "-t", "2/s", "--lengths", "1000:200")


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Two hours, a request a second, every tenth minute six times as many."""
    lines = ["time_s,input_tokens,output_tokens"]
    for minute in range(120):
        number = 360 if minute % 10 == 0 else 60
        lines += [f"{minute * 60 + i * 60 / number:.4f},{500 + i % 7},{100 + i % 5}" for i in range(number)]
    path = tmp_path / "trace.csv"
    path.write_text("\n".join([*lines, "7200,500,100"]) + "\n", encoding="utf-8")
    return path


# --- traffic ---


def test_the_days_of_a_bill_become_hours_under_a_profile(rackrate: Command, tmp_path: Path) -> None:
    header = "start_time,end_time,num_model_requests,model,input_tokens,output_tokens"
    days = [f"{1760313600 + 86400 * i},{1760400000 + 86400 * i},{1000 * (i + 1)},m,100000,5000" for i in range(7)]
    path = tmp_path / "usage.csv"
    path.write_text("\n".join([header, *days]) + "\n", encoding="utf-8")
    profile = ",".join(["1"] * 12 + ["3"] * 12)
    seen = rackrate("traffic", path, "--profile", profile, "--json").json
    assert (seen["step_s"], seen["requests"]) == (3600.0, pytest.approx(28_000))
    assert seen["by_hour_of_day"] == pytest.approx([0.5] * 12 + [1.5] * 12)
    # the last day's afternoon: 7,000 of 28,000 requests in a seventh of the time, at 1.5 of its mean
    assert seen["peak_over_mean"] == pytest.approx(7 * 7 / 28 * 1.5)


def test_a_trace_is_summarised(rackrate: Command, trace: Path) -> None:
    seen = rackrate("traffic", trace, "--json").json
    assert seen["schema"] == "rackrate.traffic/1"
    assert seen["requests"] == 120 * 60 + 12 * 300
    assert seen["peak_request_s"] == pytest.approx(6.0)
    assert seen["steps"] == 120
    shown = rackrate("traffic", trace).out
    assert "6.00/s" in shown
    assert "taken as Monday 00:00" in shown


def test_a_rate_grows_over_a_year(rackrate: Command) -> None:
    seen = rackrate("traffic", "1/s", "--growth", "0.1", "--json").json
    assert seen["duration_s"] == 8760 * 3600
    assert seen["peak_request_s"] == pytest.approx(1.1**12, rel=1e-3)


def test_a_profile_makes_a_week(rackrate: Command) -> None:
    factors = ",".join(["1"] * 12 + ["3"] * 12)
    seen = rackrate("traffic", "2/s", "--profile", factors, "--weekdays", "1,1,1,1,1,0.5,0.5", "--json").json
    assert seen["duration_s"] == 7 * 86_400
    assert seen["mean_request_s"] == pytest.approx(2.0)
    assert seen["by_hour_of_day"][20] == pytest.approx(3 * seen["by_hour_of_day"][3])


def test_what_a_cache_would_have_is_known_of_traces_with_blocks(rackrate: Command, tmp_path: Path) -> None:
    rows = [
        {"timestamp": second * 1000, "input_length": 1024, "output_length": 10, "hash_ids": [1, 10 + second]}
        for second in range(121)
    ]
    file = tmp_path / "t.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    seen = rackrate("traffic", file, "--cached-share", "trace", "--json").json
    assert seen["cached_share"] == pytest.approx(120 * 512 / (121 * 1024))  # the first block, but the first time
    words = ("fleet", "--capacity", "input=1000,output=100", "-t", file, "--usd-per-hour", "1")
    half = best(rackrate(*words, "--cached-share", "0.5", "--json").json)["card"]
    assert float(half["cached"]["usd"]) == 0
    assert float(half["input"]["usd"]) / float(half["output"]["usd"]) == pytest.approx(0.512 / 0.1, rel=1e-4)
    assert "share such as 0.4" in refused(rackrate(*words, "--cached-share", "some"))
    assert "0 to 1" in refused(rackrate(*words, "--cached-share", "1.5"))
    plain = tmp_path / "t.csv"
    plain.write_text("time_s,input_tokens,output_tokens\n0,1,1\n90,1,1\n", encoding="utf-8")
    assert "neither block hashes nor prefixes" in refused(rackrate("traffic", plain, "--cached-share", "trace"))


# --- fleet ---


def best(ran: dict[str, Any]) -> dict[str, Any]:
    return ran["shapes"][0]


def test_a_measured_run_is_a_fleet(rackrate: Command, t4_run: Path) -> None:
    """2.5 requests/s on one machine: 10/s take four of them at full load, five with headroom."""
    view = rackrate("fleet", t4_run, "-t", "10/s", "--lengths", "64:32", "--headroom", "1.25", "--json").json
    assert view["schema"] == "rackrate.fleet/2"
    assert view["models"][0]["replica"]["input_tok_s"] == pytest.approx(INPUT_TOK_S / PREFILL_SHARE)
    assert view["models"][0]["replica"]["output_tok_s"] == pytest.approx(OUTPUT_TOK_S / (1 - PREFILL_SHARE))
    assert view["mean_load_replicas"] == pytest.approx(4.0)
    shape = best(view)
    assert (shape["peak_replicas"], shape["late_share"]) == (5, 0)
    assert shape["usd_month"] == pytest.approx(5 * G4DN_12XLARGE * 730)
    card = shape["card"]
    assert float(card["input"]["usd"]) / float(card["bill_usd"]) == pytest.approx(PREFILL_SHARE, rel=1e-6)
    assert float(card["busy_usd"]) / float(card["bill_usd"]) == pytest.approx(0.8)
    assert shape["uses"][0]["name"] == "aws/g4dn.12xlarge"
    assert any("without a latency target" in note for note in view["notes"])


def test_offers_are_mixed(rackrate: Command, trace: Path) -> None:
    words = ("--capacity", "1/s", "-t", trace, "--over", "7d")
    offers = ("--offer", "aws/g5.12xlarge", "--offer", "aws/g5.12xlarge:spot,share=0.5")
    view = rackrate("fleet", *words, *offers, "--json").json
    kinds = {shape["kind"]: shape for shape in view["shapes"]}
    assert set(kinds) == {"fixed", "autoscaled", "mix"}
    assert kinds["mix"]["usd_month"] < kinds["autoscaled"]["usd_month"]
    spot = next(use for use in kinds["mix"]["uses"] if "spot" in use["name"])
    assert 0 < spot["mean_machines"] <= kinds["mix"]["mean_replicas"] / 2 + 1e-9
    assert any("interruptions a month assumed" in note for note in view["notes"])


def test_late_requests_are_counted(rackrate: Command, trace: Path) -> None:
    """A burst of six times the rate meets a fleet that needs minutes to follow."""
    words = ("--capacity", "1/s", "-t", trace, "--usd-per-hour", "1", "--headroom", "1", "--scale-down", "0s")
    view = rackrate("fleet", *words, "--json").json
    shapes = {shape["kind"]: shape for shape in view["shapes"]}
    assert best(view)["kind"] == "fixed"
    assert shapes["fixed"]["late_requests"] == 0
    assert shapes["autoscaled"]["late_requests"] > 12 * 300
    assert not shapes["autoscaled"]["within_limit"]
    assert "too many late" in rackrate("fleet", *words).out


def test_rigs_and_contracts_with_their_own_money(rackrate: Command, tmp_path: Path) -> None:
    rig = tmp_path / "rig.yaml"
    rig.write_text(
        "name: rack\nusd_per: {eur: 1.25}\ncapex_eur: 7008\nlife_years: 1\nidle_w: 0\nbusy_w: 0\nusd_per_kwh: 0\n",
        encoding="utf-8",
    )
    deal = tmp_path / "deal.yaml"
    deal.write_text("name: deal\nusd_per_hour: 3\n", encoding="utf-8")
    view = rackrate("fleet", *STATED, "--own", rig, "--contract", deal, "--labour-usd-per-month", "100", "--json").json
    names = {use["name"]: use for shape in view["shapes"] for use in shape["uses"]}
    assert names["rack"]["fixed_usd_h"] == pytest.approx(1.0)
    assert names["rack"]["committed"]
    assert not names["deal"]["committed"]
    assert best(view)["usd_month"] == pytest.approx(730 * 1.0 + 100)
    euros = rackrate("fleet", *STATED, "--own", rig, "--labour-usd-per-month", "100", "--currency", "EUR=1.25").out
    assert "664.00 EUR" in euros  # (730 + 100) / 1.25
    assert "at the stated 1.25 USD" in euros


def test_an_apis_bill_is_of_the_same_tokens(rackrate: Command, t4_run: Path) -> None:
    words = ("-t", "10/s", "--lengths", "1000:200:400", "--over", "1month")
    view = rackrate("fleet", *STATED[:2], *words, "--usd-per-hour", "2", "--api", "openai/gpt-4o-mini", "--json").json
    (bill,) = view["apis"]
    api = next(api for api in list_apis(load_catalog()) if api.ref == "openai/gpt-4o-mini")
    assert api.cached_input_usd_per_1m is not None
    requests = 10 * 730 * 3600
    per_request = 600 * api.input_usd_per_1m + 400 * api.cached_input_usd_per_1m + 200 * api.output_usd_per_1m
    assert bill["usd_month"] == pytest.approx(requests * per_request / 1e6)
    assert bill["over_best"] == pytest.approx(bill["usd_month"] / best(view)["usd_month"])
    assert not bill["same_model"]
    measured = rackrate("fleet", t4_run, *words, "--json").json["apis"]
    assert measured
    assert all(point["same_model"] for point in measured)
    assert [point["usd_month"] for point in measured] == sorted(point["usd_month"] for point in measured)
    said = refused(rackrate("fleet", "--capacity", "2/s", "-t", "1/s", "--usd-per-hour", "1", "--api", "openai/gpt-4o"))
    assert "--api needs traffic with tokens" in said


MODELS = """
- name: chat
  capacity: 2/s
  traffic: 7/s
  slots: 4
- name: code
  capacity: input=8000,output=1500
  traffic: 1/s
  lengths: "4000:300"
"""


def test_models_share_machines(rackrate: Command, tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(MODELS, encoding="utf-8")
    words = ("fleet", "--models", file, "--usd-per-hour", "10", "--headroom", "1", "--replicas-per-machine", "8",
             "--over", "1d")  # fmt: skip
    view = rackrate(*words, "--json").json
    # chat 4 replicas of 4 slots, code 1 of 1: 17 slots, 3 machines
    assert best(view)["uses"][0]["mean_machines"] == 3
    chat, code = best(view)["models"]
    assert (chat["peak_replicas"], code["peak_replicas"]) == (4, 1)
    assert float(chat["usd"]) + float(code["usd"]) == pytest.approx(float(best(view)["card"]["bill_usd"]), abs=1e-9)
    assert "chat" in rackrate(*words).out
    assert rackrate(*words, "-o", tmp_path / "p.html").code == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (MODELS.replace("slots: 4", "slot: 4"), "models.yaml:5:3: unknown key 'slot'; did you mean slots"),
        (MODELS.replace("  capacity: 2/s\n", ""), "a model needs either run or capacity"),
        (MODELS.replace("code", "chat"), "the model 'chat' is there twice"),
        (MODELS.replace("7/s", "7/week/s"), "no such file"),
        (MODELS.replace("slots: 4", "slots: 3"), "sizes must divide one another"),
        ("[]", "is an empty list"),
    ],
)
def test_a_file_of_models_that_cannot_be_is_a_sentence(rackrate: Command, tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(text, encoding="utf-8")
    words = ("fleet", "--models", file, "--usd-per-hour", "10", "--replicas-per-machine", "8")
    assert said in refused(rackrate(*words))
    assert "exclude each other" in refused(rackrate(*words, "-t", "1/s"))


def test_the_page_is_offline_and_the_same_twice(rackrate: Command, trace: Path, tmp_path: Path) -> None:
    words = ("--capacity", "1/s", "-t", trace, "--over", "2d", "--usd-per-hour", "1", "-o")
    pages: list[str] = []
    for name in ("one.html", "two.html"):
        ran = rackrate("fleet", *words, tmp_path / name)
        assert ran.code == 0
        assert "wrote" in ran.err
        pages.append((tmp_path / name).read_text(encoding="utf-8"))
    assert pages[0] == pages[1]
    assert 'src="http' not in pages[0]
    specs = json.loads(pages[0].split('id="specs">')[1].split("</script>")[0])
    assert {"mean-day", "busiest-day"} <= set(specs)
    held = specs["mean-day"]["layer"][0]["data"]["values"]
    assert all(row["to"] > row["from"] for row in held)


def test_names_from_outside_are_escaped(rackrate: Command, tmp_path: Path) -> None:
    deal = tmp_path / "deal.yaml"
    deal.write_text('name: "</script><script>alert(1)</script>"\nusd_per_hour: 3\n', encoding="utf-8")
    assert rackrate("fleet", *STATED, "--contract", deal, "-o", tmp_path / "p.html").code == 0
    assert "<script>alert(1)" not in (tmp_path / "p.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--capacity", "2/s"), "say what is asked for"),
        (("-t", "2/s"), "either a RUN directory, or --capacity"),
        (("--capacity", "2/s", "-t", "2/s"), "say on which machines"),
        (("--capacity", "2/s", "-t", "nothing.csv", "--usd-per-hour", "1"), "nothing.csv: no such file; traffic is"),
        (("--capacity", "2", "-t", "2/s", "--usd-per-hour", "1"), "--capacity is requests a second"),
        (("--capacity", "input=1,output=1", "-t", "2/s", "--usd-per-hour", "1"), "--lengths IN:OUT"),
        ((*STATED, "--offer", "aws/g5.12xlarge:spott"), "'spott' is no kind of price; did you mean spot"),
        ((*STATED, "--offer", "aws/g5.12xlarge,shares=1"), "'shares' is not one of share, most, replicas"),
        ((*STATED, "--offer", "aws/g5.12xlarge,share=x"), "share needs a number, not 'x'"),
        ((*STATED, "--offer", "aws/g5.12xlarge:reserved-1y"), "has no reserved-1y price"),
        ((*STATED, "--offer", "aws/g5.12xlarge", "--offer", "aws/g5.12xlarge"), "twice; name it once"),
        ((*STATED, "--usd-per-hour", "1", "--headroom", "0.5"), "headroom is replicas per replica of load"),
        ((*STATED, "--usd-per-hour", "1", "--headroom", "much"), "--headroom is a number"),
        ((*STATED, "--usd-per-hour", "1", "--shape", "fixd"), "--shape is one of fixed, autoscaled, mix, not 'fixd'"),
        ((*STATED, "--usd-per-hour", "1", "--shape", "mix"), "no shape is possible"),
        ((*STATED, "--usd-per-hour", "1", "--cold-start", "soon"), "--cold-start is a length of time such as 30s"),
        ((*STATED, "--usd-per-hour", "1", "--currency", "EUR"), "a currency is CODE=USD-PER-UNIT"),
        ((*STATED, "--usd-per-hour", "-1"), "--usd-per-hour is a number of USD per hour from 0 to"),
        ((*STATED, "--usd-per-hour", "1e305"), "--usd-per-hour is a number of USD per hour from 0 to"),
        (
            (*STATED, "--usd-per-hour", "1", "--spares", "99999999999999999999"),
            "--spares is a whole number from 0 to 1,000,000",
        ),
        (
            (*STATED, "--offer", "aws/g4dn.xlarge:spot", "--spot-interruptions", "nan"),
            "--spot-interruptions is a number",
        ),
        (
            ("--capacity", "2/s", "-t", "1e300/s", "--usd-per-hour", "1"),
            "--traffic is a number of requests per second above 0",
        ),
        ((*STATED, "--usd-per-hour", "1", "--growth", "1e300"), "--growth is a number a month from -0.9 to 10"),
        (
            ("--capacity", "2/s", "-t", "1e400/s", "--usd-per-hour", "1"),
            "--traffic is a number of requests per second above 0",
        ),
        ((*STATED, "--usd-per-hour", "1", "-o", "page.pdf"), "give a name that ends in .html, .md"),
        ((*STATED, "--usd-per-hour", "1", "--over", "1000y"), "--over is a number of seconds above 0"),
        ((*STATED, "--usd-per-hour", "1", "--profile", "1,2"), "24 factors"),
        ((*STATED, "--usd-per-hour", "1", "--weekdays", "1,2"), "--weekdays has seven factors"),
        ((*STATED, "--usd-per-hour", "1", "--late-limit", "2"), "0 to 1"),
    ],
)
def test_bad_input_is_a_sentence(rackrate: Command, words: tuple[str, ...], said: str) -> None:
    assert said in refused(rackrate("fleet", *words))


def test_a_larger_machine_of_the_same_kind_holds_several_replicas(rackrate: Command, t4_run: Path) -> None:
    words = ("fleet", t4_run, "-t", "10/s", "--lengths", "64:32", "--headroom", "1", "--shape", "fixed", "--json")
    view = rackrate(*words, "--offer", "aws/g4dn.metal,replicas=2").json
    assert best(view)["uses"][0]["peak_machines"] == 2  # four replicas of four T4 each
    assert view["models"][0]["replica"]["caveats"] == []
    assert any("2 times the accelerators of the run" in note for note in view["notes"])
    assert "8 x t4" in refused(rackrate(*words, "--offer", "aws/g4dn.metal"))
    assert "8 x t4" in refused(rackrate(*words, "--offer", "aws/g4dn.metal,replicas=4"))


def test_other_hardware_is_refused_and_named_with_as_if(rackrate: Command, t4_run: Path, tmp_path: Path) -> None:
    words = ("-t", "1/s", "--lengths", "64:32", "--offer", "aws/g5.12xlarge")
    assert "aws/g4dn.12xlarge" in refused(rackrate("fleet", t4_run, *words))
    view = rackrate("fleet", t4_run, *words, "--as-if", "--json").json
    assert "other-hardware" in view["models"][0]["replica"]["caveats"]
    cpu = write_run(tmp_path / "cold", CPU, warmed_up=False)
    assert "cold" in refused(rackrate("fleet", cpu, "-t", "1/s"))
    assert "cold" in rackrate("fleet", cpu, "-t", "1/s", "--force", "--json").json["models"][0]["replica"]["caveats"]
