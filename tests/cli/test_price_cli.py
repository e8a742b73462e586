"""`rackrate price` on runs whose throughput is known, and on everything that can be wrong."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from priced_runs import (
    BLENDED_C7A_LARGE,
    C7A_LARGE,
    CPU,
    G4DN_12XLARGE,
    INPUT_TOK_S,
    OUTPUT_TOK_S,
    PREFILL_SHARE,
    RIG,
    Command,
    Ran,
    refused,
    write_run,
)
from rackrate.catalog.apis import DEFAULT_APIS
from rackrate.runs.records import Machine
from rackrate.runs.store import HEADER, TABLE, RunWriter, read_run
from rackrate.units import usd_per_million

pytestmark = pytest.mark.usefixtures("shipped_catalogue")


# --- what is priced by default ---


def test_a_cpu_run_is_priced_by_an_assumed_rig_and_the_nearest_offer(rackrate: Command, cpu_run: Path) -> None:
    owned, rented = rackrate("price", cpu_run, "--json").json["machines"]
    assert owned["cost"]["kind"] == "owned"
    assert owned["cost"]["source"].startswith("assumption")
    assert owned["rig"]["name"] == "assumed small server, 2 CPUs"
    assert rented["cost"]["name"] == "aws/c7a.large"
    assert rented["full_load"]["blended_usd"] == pytest.approx(BLENDED_C7A_LARGE, rel=1e-6)
    assert (owned["warnings"], rented["warnings"]) == ([], [])


def test_the_assumed_rig_is_printed_in_full(rackrate: Command, cpu_run: Path) -> None:
    ran = rackrate("price", cpu_run)
    assert ran.code == 0
    for key in ("capex_usd", "life_years", "discount_rate", "idle_w", "busy_w", "pue", "usd_per_kwh", "labour"):
        assert key in ran.out, key
    for part in ("purchase", "hosting", "labour", "idle energy", "busy energy"):
        assert part in ran.out, part
    assert "assumption" in ran.out
    assert "0.146 USD/kWh" in ran.out
    assert "aws/c7a.large" in ran.out
    assert "$0.119" in ran.out  # of c7a.large, per 1M tokens
    assert "Save this assumption as a file" in ran.out


def test_what_is_served_is_what_the_run_did(rackrate: Command, cpu_run: Path) -> None:
    serving = rackrate("price", cpu_run, "--json").json["serving"]
    assert serving["output_tok_s"] == pytest.approx(OUTPUT_TOK_S, rel=1e-6)
    assert serving["input_tok_s"] == pytest.approx(INPUT_TOK_S, rel=1e-6)
    assert serving["prefill_share"] == pytest.approx(PREFILL_SHARE, rel=1e-6)
    assert (serving["caveats"], serving["lower_bound"]) == ([], False)
    assert "4 in flight" in serving["origin"]


def test_input_and_output_parts_are_the_bill(rackrate: Command, cpu_run: Path) -> None:
    for machine in rackrate("price", cpu_run, "--utilisation", "0.3", "--json").json["machines"]:
        for card in (machine["at_load"], machine["full_load"], *machine["by_utilisation"]):
            parts = card["input_usd"] * card["input_tokens_month"] + card["output_usd"] * card["output_tokens_month"]
            assert parts / 1e6 == pytest.approx(card["usd_month"], rel=1e-9)


def test_a_gpu_run_is_priced_by_the_offer_of_the_same_gpus(rackrate: Command, t4_run: Path) -> None:
    (rented,) = rackrate("price", t4_run, "--json").json["machines"]
    assert rented["cost"]["name"] == "aws/g4dn.12xlarge"
    assert rented["cost"]["fixed_usd_h"] == G4DN_12XLARGE
    assert rented["full_load"]["blended_usd"] == pytest.approx(usd_per_million(G4DN_12XLARGE, 240.0), rel=1e-6)
    assert any("azure/Standard_NC64as_T4_v3" in note for note in rented["notes"])


def test_sellers_of_the_same_model_come_first(rackrate: Command, cpu_run: Path) -> None:
    apis = rackrate("price", cpu_run, "--json").json["machines"][0]["apis"]
    same = [api["same_model"] for api in apis]
    assert same == sorted(same, reverse=True)
    assert same[0] is True
    named = {api["api"] for api in apis if not api["same_model"]}
    assert named == set(DEFAULT_APIS)
    luna = next(api for api in apis if api["api"] == "openai/gpt-6-luna")
    assert luna["blended_usd_per_1m"] == pytest.approx((2 * 0.1 + 0.5) / 3)


def test_a_model_that_nobody_knows_is_said(rackrate: Command, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", CPU, model="my-own", catalogue_id=None, prefill=False)
    pricing = rackrate("price", run, "--json").json
    assert not any(api["same_model"] for api in pricing["machines"][0]["apis"])
    notes = " ".join(pricing["notes"])
    assert "API" in notes
    assert "Prefill alone was not measured" in notes
    assert pricing["serving"]["prefill_share"] is None
    assert pricing["machines"][0]["full_load"]["input_usd"] is None


def test_tables_and_json_have_the_same_price(rackrate: Command, cpu_run: Path) -> None:
    table = rackrate("price", cpu_run, "--offer", "aws/c7a.large", "--api", "gpt-3.5-turbo", "--sources")
    assert table.code == 0
    assert re.search(r"100 % of full load\s+1\s+\$0\.119\s", table.out)
    assert "genai-prices" in table.out
    assert "openai/gpt-3.5-turbo" in table.out


# --- a figure belongs to its machine ---


@pytest.mark.parametrize("offer", ["aws/g4dn.12xlarge", "aws/c7i.large", "aws/c7a.xlarge"])
def test_an_offer_of_other_hardware_is_refused_with_those_that_match(
    rackrate: Command, cpu_run: Path, offer: str
) -> None:
    said = refused(rackrate("price", cpu_run, "--offer", offer))
    assert said.startswith(f"{offer} is ")
    assert "a figure belongs to its machine" in said
    assert "offers that match: aws/c7a.large, aws/m7a.large, aws/r7a.large" in said
    assert "--as-if" in said


def test_an_offer_with_fewer_of_the_same_gpus_is_refused(rackrate: Command, t4_run: Path) -> None:
    said = refused(rackrate("price", t4_run, "--offer", "aws/g4dn.16xlarge"))
    assert said.startswith("aws/g4dn.16xlarge is 1 x t4, the run was on 4 x Tesla T4")
    assert "offers that match: aws/g4dn.12xlarge" in said


def test_as_if_prices_it_and_says_so(rackrate: Command, cpu_run: Path) -> None:
    (machine,) = rackrate("price", cpu_run, "--offer", "aws/g4dn.12xlarge", "--as-if", "--json").json["machines"]
    assert machine["warnings"] == ["other-hardware"]
    assert machine["full_load"]["blended_usd"] == pytest.approx(usd_per_million(G4DN_12XLARGE, 240.0), rel=1e-6)
    assert any(note.startswith("Priced as if: ") for note in machine["notes"])
    assert "other-hardware: priced by a machine other than" in (
        rackrate("price", cpu_run, "--offer", "aws/g4dn.12xlarge", "--as-if").out
    )


def test_as_if_does_not_warn_where_the_hardware_is_the_same(rackrate: Command, cpu_run: Path) -> None:
    (machine,) = rackrate("price", cpu_run, "--offer", "aws/m7a.large", "--as-if", "--json").json["machines"]
    assert machine["warnings"] == []


def test_a_run_on_an_unknown_machine_needs_one(rackrate: Command, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", Machine(origin="unknown"), prefill=False)
    assert "the run does not know what it ran on" in refused(rackrate("price", run))
    assert "the run does not know what it ran on" in refused(rackrate("price", run, "--offer", "aws/c7a.large"))
    assert rackrate("price", run, "--offer", "aws/c7a.large", "--as-if").code == 0
    assert rackrate("price", run, "--usd-per-hour", "1").code == 0


def test_a_run_that_is_no_capacity_is_refused_without_force(rackrate: Command, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", CPU, warmed_up=False, prefill=False, concurrencies=(1,))
    said = refused(rackrate("price", run))
    assert "batch-1 (one request at a time" in said
    assert "cold (no warm-up" in said
    forced = rackrate("price", run, "--force", "--json").json
    assert forced["serving"]["caveats"] == ["batch-1", "cold"]
    assert forced["serving"]["lower_bound"] is True
    assert forced["machines"][0]["warnings"] == ["batch-1", "cold"]
    assert "batch-1: one request at a time" in rackrate("price", run, "--force").out


def test_a_level_may_be_chosen(rackrate: Command, cpu_run: Path) -> None:
    priced = rackrate("price", cpu_run, "--at-concurrency", "2", "--json").json
    assert priced["serving"]["output_tok_s"] == pytest.approx(64.0, rel=1e-6)
    said = refused(rackrate("price", cpu_run, "--at-concurrency", "3"))
    assert said.endswith("has no level of 3 in flight; it has 1, 2, 4, 8")


# --- loads ---


def test_a_load_in_requests_a_day_takes_whole_machines(rackrate: Command, cpu_run: Path) -> None:
    ran = rackrate("price", cpu_run, "--offer", "aws/c7a.large", "--requests-per-day", "500000", "--json")
    card, serving = ran.json["machines"][0]["at_load"], ran.json["serving"]
    rate = 500_000 / 86_400
    assert card["machines"] == math.ceil(rate / serving["request_s"]) == 3
    assert card["utilisation"] == pytest.approx(rate / (3 * serving["request_s"]))
    assert card["usd_month"] == pytest.approx(3 * C7A_LARGE * 730)
    by_second = rackrate("price", cpu_run, "--offer", "aws/c7a.large", "--requests-per-second", rate, "--json")
    assert by_second.json["machines"][0]["at_load"] == card


def test_a_small_load_still_takes_a_machine(rackrate: Command, cpu_run: Path) -> None:
    ran = rackrate("price", cpu_run, "--offer", "aws/c7a.large", "--requests-per-day", "1000", "--json")
    card = ran.json["machines"][0]["at_load"]
    assert card["machines"] == 1
    assert card["usd_month"] == pytest.approx(C7A_LARGE * 730)
    assert card["blended_usd"] > 100 * BLENDED_C7A_LARGE


def test_a_load_as_a_share(rackrate: Command, cpu_run: Path) -> None:
    ran = rackrate("price", cpu_run, "--offer", "aws/c7a.large", "-u", "0.5", "--hours-per-month", "720", "--json")
    card = ran.json["machines"][0]["at_load"]
    assert card["blended_usd"] == pytest.approx(2 * BLENDED_C7A_LARGE, rel=1e-6)
    assert card["usd_month"] == pytest.approx(C7A_LARGE * 720)


def test_a_free_machine_is_priced(rackrate: Command, cpu_run: Path) -> None:
    (machine,) = rackrate("price", cpu_run, "--usd-per-hour", "0", "--json").json["machines"]
    assert machine["full_load"]["blended_usd"] == 0
    assert {api["break_even"]["verdict"] for api in machine["apis"]} == {"always"}
    ran = rackrate("price", cpu_run, "--usd-per-hour", "0")
    assert (ran.code, "$0.00" in ran.out) == (0, True)
    assert rackrate("report", cpu_run, "--usd-per-hour", "0", "-o", "free.html").code == 0


# --- rigs ---


def test_a_saved_rig_gives_the_same_price(rackrate: Command, cpu_run: Path, tmp_path: Path) -> None:
    assumed = rackrate("price", cpu_run, "--json").json["machines"][0]
    saved = rackrate("price", cpu_run, "--save-rig", "rig.yaml")
    assert saved.code == 0
    assert (tmp_path / "rig.yaml").read_text(encoding="utf-8").startswith("# ")
    (own,) = rackrate("price", cpu_run, "--own", "rig.yaml", "--json").json["machines"]
    assert own["full_load"] == assumed["full_load"]
    assert own["by_utilisation"] == assumed["by_utilisation"]
    assert own["rig"] == assumed["rig"]
    assert own["cost"]["source"] == "rig.yaml"


def test_a_rig_is_not_overwritten(rackrate: Command, cpu_run: Path, tmp_path: Path) -> None:
    (tmp_path / "rig.yaml").write_text(RIG, encoding="utf-8")
    assert refused(rackrate("price", cpu_run, "--save-rig", "rig.yaml")) == "rig.yaml exists; it is not overwritten"
    assert (tmp_path / "rig.yaml").read_text(encoding="utf-8") == RIG


def test_a_machine_with_gpus_is_not_assumed(rackrate: Command, t4_run: Path) -> None:
    assert "there is no assumption for this machine" in refused(rackrate("price", t4_run, "--save-rig", "rig.yaml"))


def test_a_rig_by_hand(rackrate: Command, cpu_run: Path, tmp_path: Path) -> None:
    (tmp_path / "rig.yaml").write_text(RIG, encoding="utf-8")
    (machine,) = rackrate("price", cpu_run, "--own", "rig.yaml", "--json").json["machines"]
    per_hour = 760 / 8760 + 0.3 * 0.15
    assert machine["cost"]["fixed_usd_h"] + machine["cost"]["busy_usd_h"] == pytest.approx(per_hour)
    assert machine["full_load"]["blended_usd"] == pytest.approx(usd_per_million(per_hour, 240.0), rel=1e-6)


def test_a_rig_of_other_hardware_is_refused(rackrate: Command, cpu_run: Path, tmp_path: Path) -> None:
    (tmp_path / "rig.yaml").write_text(RIG + "hardware: {accelerator: t4, accelerator_count: 4}\n", encoding="utf-8")
    said = refused(rackrate("price", cpu_run, "--own", "rig.yaml"))
    assert said.startswith("rig.yaml: my rig is other hardware than 2 x AMD EPYC")
    (machine,) = rackrate("price", cpu_run, "--own", "rig.yaml", "--as-if", "--json").json["machines"]
    assert machine["warnings"] == ["other-hardware"]


def test_energy_in_cents_is_suspected(rackrate: Command, cpu_run: Path, tmp_path: Path) -> None:
    (tmp_path / "rig.yaml").write_text(RIG.replace("0.15", "15"), encoding="utf-8")
    (machine,) = rackrate("price", cpu_run, "--own", "rig.yaml", "--json").json["machines"]
    assert any("was it meant in cents?" in note for note in machine["notes"])


BAD_RIGS: dict[str, tuple[str, str]] = {
    "unknown key": (RIG + "watts: 3\n", r"rig\.yaml:7:1: unknown key 'watts'"),
    "misspelt key": (RIG.replace("busy_w", "bussy_w"), r"rig\.yaml:5:1: unknown key 'bussy_w'; did you mean busy_w"),
    "unknown key inside": (RIG + "hardware: {gpu: t4}\n", r"rig\.yaml:7:12: unknown key 'gpu'"),
    "negative price": (RIG.replace("3800", "-1"), r"rig\.yaml:2:1: capex_usd: should be greater than or equal to 0"),
    "text for a number": (RIG.replace("3800", "a lot"), r"rig\.yaml:2:1: capex_usd: should be a valid number"),
    "not a number": (RIG.replace("3800", ".nan"), r"rig\.yaml:2:1: capex_usd: "),
    "infinite": (RIG.replace("3800", ".inf"), r"rig\.yaml:2:1: capex_usd: "),
    "no life": (RIG.replace("life_years: 5", "life_years: 0"), r"rig\.yaml:3:1: life_years: should be greater than 0"),
    "missing key": (RIG.replace("idle_w: 50\n", ""), r"rig\.yaml:1:1: the key 'idle_w' is missing"),
    "written twice": (RIG + "idle_w: 60\n", r"rig\.yaml:7:1: .*the key 'idle_w' is written twice"),
    "YAML error": (RIG + "notes: [open\n", r"rig\.yaml:\d+:\d+: not valid YAML: "),
    "tab": ("name:\tx\n\tcapex: 3\n", r"rig\.yaml:\d+:\d+: not valid YAML: "),
    "list": ("- name: x\n", r"rig\.yaml:1:1: "),
    "empty": ("", r"rig\.yaml:1:1: "),
    "NUL": ('name: "a\0b"\n', r"rig\.yaml.*: not valid YAML: "),
    "odd key": ("? [a, b]\n: 1\n", r"rig\.yaml:1:\d+: not valid YAML: "),
    "unknown accelerator": (
        RIG + "hardware: {accelerator: h1000}\n",
        r"rig\.yaml:7:1: hardware\.accelerator: no accelerator is called 'h1000'",
    ),
    "more than there is": (
        RIG.replace("3800", "1e300"),
        r"rig\.yaml:2:1: capex_usd: 1e\+300 is no figure",
    ),
    "busy below idle": (RIG.replace("300", "20"), r"rig\.yaml:\d+:1: busy_w \(20\) is below idle_w \(50\)"),
    "dearer used than new": (RIG + "resale_usd: 4000\n", r"rig\.yaml:\d+:1: resale_usd \(4000\) is above capex_usd"),
}


@pytest.mark.parametrize("kind", BAD_RIGS)
def test_a_malformed_rig_is_refused_with_file_line_column_and_key(
    rackrate: Command, cpu_run: Path, tmp_path: Path, kind: str
) -> None:
    text, said = BAD_RIGS[kind]
    (tmp_path / "rig.yaml").write_text(text, encoding="utf-8")
    assert re.match(said, refused(rackrate("price", cpu_run, "--own", "rig.yaml")))


def test_a_rig_at_a_tiny_discount_rate_is_priced(rackrate: Command, cpu_run: Path, tmp_path: Path) -> None:
    (tmp_path / "rig.yaml").write_text(RIG + "discount_rate: 1.0e-17\n", encoding="utf-8")
    (tiny,) = rackrate("price", cpu_run, "--own", "rig.yaml", "--json").json["machines"]
    assert tiny["cost"]["parts"]["purchase"] == pytest.approx(760 / 8760)


# --- bad inputs ---

BAD_WORDS: dict[str, tuple[list[str], str]] = {
    "unknown offer": (
        ["RUN", "--offer", "aws/g4dn.12xlrge"],
        r"no offer is called 'aws/g4dn\.12xlrge'; did you mean aws/g4dn\.12xlarge, \S+ or \S+\?",
    ),
    "unknown API": (
        ["RUN", "--api", "openai/gpt-3.5-trubo"],
        r"no API price for .* did you mean openai/gpt-3\.5-turbo",
    ),
    "ambiguous API": (["RUN", "--api", "MiniMaxAI/MiniMax-M3"], r".*is sold by \d+ providers: say which one"),
    "unknown kind of price": (["RUN", "--price-kind", "spott"], r"--price-kind is one of on-demand, spot, "),
    "no such kind of price": (
        ["RUN", "--offer", "aws/m7a.large", "--price-kind", "spot"],
        r"aws/m7a\.large has no spot",
    ),
    "negative hourly price": (
        ["RUN", "--usd-per-hour", "-1"],
        r"--usd-per-hour is a number of USD per hour from 0 to .*, got -1",
    ),
    "hourly price not a number": (["RUN", "--usd-per-hour", "nan"], r"--usd-per-hour "),
    "infinite hourly price": (["RUN", "--usd-per-hour", "inf"], r"--usd-per-hour "),
    "no utilisation": (["RUN", "--utilisation", "0"], r"--utilisation is a share above 0 and at most 1 .*got 0$"),
    "utilisation of two": (["RUN", "--utilisation", "2"], r"--utilisation is a share above 0 and at most 1 .*got 2$"),
    "utilisation not a number": (["RUN", "--utilisation", "nan"], r"--utilisation is a share .*got nan$"),
    "utilisation in words": (["RUN", "--utilisation", "half"], r".*utilisation.*number"),
    "two loads": (["RUN", "-u", "0.5", "--requests-per-day", "10"], r"give one of --utilisation, .*not several"),
    "three loads": (["RUN", "-u", "0.5", "--requests-per-day", "10", "--requests-per-second", "1"], r"give one of "),
    "no requests": (["RUN", "--requests-per-day", "0"], r".*is a number of requests per day above 0 .*, got 0$"),
    "negative requests": (
        ["RUN", "--requests-per-second", "-3"],
        r".*is a number of requests per second above 0 .*, got -3$",
    ),
    "requests not a number": (["RUN", "--requests-per-second", "nan"], r".*request"),
    "infinite requests": (["RUN", "--requests-per-day", "inf"], r".*request"),
    "no hours": (["RUN", "--hours-per-month", "0"], r"--hours-per-month is a number of hours from 1 to 744 .*, got 0$"),
    "too many hours": (["RUN", "--hours-per-month", "745"], r"--hours-per-month is a number of hours from 1 to 744"),
    "hours not a number": (["RUN", "--hours-per-month", "nan"], r"--hours-per-month "),
    "no rig": (["RUN", "--own", "nosuch.yaml"], r"nosuch\.yaml: no such file$"),
    "directory as a rig": (["RUN", "--own", "."], r"\.: is a directory, not a YAML file$"),
    "no run": (["nosuch"], r"nosuch: no such run directory$"),
    "nothing": ([], r"say what to price: either a RUN directory, or --tokens-per-second$"),
    "both": (["RUN", "--tokens-per-second", "5"], r"say what to price: "),
    "a throughput without machine": (["--tokens-per-second", "5"], r"say on which machine: "),
    "no throughput": (
        ["--tokens-per-second", "0", "--usd-per-hour", "1"],
        r"--tokens-per-second is a number of tokens per second above 0",
    ),
    "negative throughput": (
        ["--tokens-per-second", "-5", "--usd-per-hour", "1"],
        r"--tokens-per-second is a number of tokens per second above 0",
    ),
    "throughput not a number": (
        ["--tokens-per-second", "nan", "--usd-per-hour", "1"],
        r"--tokens-per-second is a number",
    ),
    "infinite throughput": (
        ["--tokens-per-second", "inf", "--usd-per-hour", "1"],
        r"--tokens-per-second is a number of tokens per second above",
    ),
    "odd mix": (["--tokens-per-second", "5", "--usd-per-hour", "1", "--mix", "half"], r"--mix is INPUT:OUTPUT"),
    "mix of three": (["--tokens-per-second", "5", "--usd-per-hour", "1", "--mix", "1:2:3"], r"--mix is INPUT:OUTPUT"),
    "mix of nothing": (
        ["--tokens-per-second", "5", "--usd-per-hour", "1", "--mix", "0:0"],
        r"--mix has parts from 0 to 1,000,000,000",
    ),
    "absurd mix": (
        ["--tokens-per-second", "5", "--usd-per-hour", "1", "--mix", "1:1e308"],
        r"--mix has parts from 0 to 1,000,000,000",
    ),
    "negative mix": (
        ["--tokens-per-second", "5", "--usd-per-hour", "1", "--mix", "3:-1"],
        r"--mix has parts from 0 to 1,000,000,000",
    ),
    "mix not a number": (["--tokens-per-second", "5", "--usd-per-hour", "1", "--mix", "1:nan"], r"--mix "),
    "infinite mix": (["--tokens-per-second", "5", "--usd-per-hour", "1", "--mix", "inf:1"], r"--mix "),
    "requests of a stated throughput": (
        ["--tokens-per-second", "5", "--usd-per-hour", "1", "--requests-per-day", "10"],
        r"how many requests a second a machine serves is not known",
    ),
    "a rig to save without a run": (["--tokens-per-second", "5", "--save-rig", "rig.yaml"], r"--save-rig needs a RUN"),
    "unknown option": (["RUN", "--utilization", "0.5"], r".*--utilization"),
}


@pytest.mark.parametrize("kind", BAD_WORDS)
def test_a_bad_input_is_one_sentence(rackrate: Command, cpu_run: Path, kind: str) -> None:
    words, said = BAD_WORDS[kind]
    ran = rackrate("price", *(str(cpu_run) if word == "RUN" else word for word in words))
    assert re.match(said, refused(ran)), ran.err


def test_a_damaged_run_is_one_sentence(rackrate: Command, cpu_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(cpu_run, run)
    whole = (run / HEADER).read_bytes()
    (run / HEADER).write_bytes(whole[:300])
    for command in ("price", "report", "show"):
        assert re.match(r".*run\.json:\d+:\d+: not valid JSON; the run is damaged$", refused(rackrate(command, run)))
    (run / HEADER).write_bytes(whole)
    (run / TABLE).write_bytes(b"PAR1")
    for command in ("price", "report", "show"):
        assert "requests.parquet: cannot be read" in refused(rackrate(command, run))


def test_a_run_in_which_nothing_was_answered_is_refused(rackrate: Command, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", CPU, concurrencies=(), prefill=True)
    assert refused(rackrate("price", run)).endswith("no request was answered, so there is nothing to price")


def test_the_real_command_is_one_sentence_too(private_environment: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rackrate", "price", "nosuch"]
    ran = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path, env=private_environment
    )
    assert refused(Ran(ran.returncode, ran.stdout, ran.stderr)) == "nosuch: no such run directory"


# --- show ---


def test_show_prints_every_level(rackrate: Command, cpu_run: Path) -> None:
    view = rackrate("show", cpu_run, "--json").json
    assert [level["concurrency"] for level in view["levels"]] == [1, 2, 4, 8, 4]
    assert view["saturation"]["concurrency"] == 4
    assert view["requests"] == {"finished": 25 * 15 + 160, "failed": {}, "torn_journal_lines": 0}
    table = rackrate("show", cpu_run)
    assert table.code == 0
    assert re.search(r"^\s*4\s+80\.0\s.*<- saturated", table.out, re.MULTILINE)


def test_a_run_of_too_few_requests_is_refused_as_that(rackrate: Command, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", CPU, concurrencies=(1,))
    kept = read_run(run)
    kept.header.levels[0].stopped_s = kept.header.levels[0].started_s  # as where one request is all there is
    shutil.rmtree(run)
    with RunWriter(run, kept.header) as writer:
        writer.add(next(record for record in kept.requests if record.level == 0))
    assert "finite-burst (fewer requests than 10 x in flight" in refused(rackrate("price", run))
