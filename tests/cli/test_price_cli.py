"""`rackrate price` and `rackrate report` on runs whose throughput is known, and on everything that can be wrong."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from rackrate.catalog.load import load_catalog
from rackrate.cli import main
from rackrate.records import (
    OK,
    Engine,
    Gpu,
    Level,
    Machine,
    RequestRecord,
    RunHeader,
    ServedModel,
    WorkloadFacts,
)
from rackrate.run_store import HEADER, TABLE, RunWriter
from rackrate.units import usd_per_million

CPU = Machine(
    origin="detected", cpu_model="AMD EPYC", cpu_architecture="zen4", logical_cpus=2, physical_cores=1,
    memory_bytes=8 * 2**30, system="Linux 6",
)  # fmt: skip
FOUR_T4 = Machine(origin="detected", gpus=(Gpu(name="Tesla T4", count=4, memory_bytes=2**34, accelerator="t4"),))

SECONDS_BY_CONCURRENCY = {1: 1.0, 2: 1.0, 4: 1.6, 8: 3.3}
"""How long a request takes: 4 in flight serve most, 32 tokens x 4 / 1.6 s = 80 output token/s."""
OUTPUT_TOK_S, INPUT_TOK_S = 80.0, 160.0
PREFILL_SHARE = 0.25
"""Prefill alone: 4 in flight of 64 tokens every 0.4 s are 640 token/s, and 160 are asked for."""
C7A_LARGE, G4DN_12XLARGE = 0.10264, 3.912
BLENDED_C7A_LARGE = usd_per_million(C7A_LARGE, OUTPUT_TOK_S + INPUT_TOK_S)


def requests_of(level: Level, workers: int, seconds: float, tokens: int, rounds: int) -> Iterator[RequestRecord]:
    """Workers in step, tokens evenly over each request."""
    for turn in range(rounds):
        begin = level.started_s + turn * seconds
        chunks = tuple(begin + (k + 0.5) * seconds / tokens for k in range(tokens))
        for _ in range(workers):
            yield RequestRecord(
                index=turn, level=level.index, due_s=begin, sent_s=begin, first_byte_s=chunks[0],
                first_token_s=chunks[0], done_s=begin + seconds, status=OK, http_status=200, detail=None,
                asked_input_tokens=64, asked_output_tokens=tokens, input_tokens=64, cached_tokens=0,
                output_tokens=tokens, finish_reason="length", stagger=False, chunk_s=chunks,
            )  # fmt: skip


def write_run(
    directory: Path,
    machine: Machine,
    *,
    model: str = "llama-3.2-1b-instruct",
    catalogue_id: str | None = "llama-3.2-1b-instruct",
    note: str = "",
    warmed_up: bool = True,
    prefill: bool = True,
    concurrencies: tuple[int, ...] = (1, 2, 4, 8),
) -> Path:
    """A run as `measure` leaves it; `note` goes into every free text."""
    header = RunHeader(
        created="2026-11-23T04:00:00Z", command=f"rackrate measure {note}", rackrate_version="0.1.0",
        python_version="3.11.9", state="running", stopped_because=note or None,
        model=ServedModel(requested=model, catalogue_id=catalogue_id, weight_format="bf16", weights_file=note or None),
        engine=Engine(
            name=f"vLLM{note}", version=f"0.12{note}", url="http://127.0.0.1:8000", settings={"tp": 4, "note": note}
        ),
        machine=machine,
        workload=WorkloadFacts(input_tokens=64, output_tokens=32, endpoint="chat", seed=0, length_forced="ignore_eos"),
    )  # fmt: skip
    now = 0.0
    with RunWriter(directory, header) as writer:
        for index, concurrency in enumerate((*concurrencies, 4) if prefill else concurrencies):
            alone = index == len(concurrencies)
            seconds, tokens, rounds = (0.4, 1, 40) if alone else (SECONDS_BY_CONCURRENCY[concurrency], 32, 25)
            level = Level(
                index=index, kind="prefill" if alone else "closed", concurrency=concurrency, warmed_up=warmed_up,
                started_s=now, stopped_s=now + rounds * seconds, ended_s=now + rounds * seconds,
                ended_because="requests", client_cpu_share=0.1, client_lag_p99_s=0.0005, other_cpu_share=0.01,
            )  # fmt: skip
            header.levels.append(level)
            for record in requests_of(level, concurrency, seconds, tokens, rounds):
                writer.add(record)
            now += rounds * seconds + 1
        header.state = "complete"
        writer.finish(pack=True)
    return directory


@pytest.fixture(scope="module", autouse=True)
def shipped_catalogue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No overlays of whoever runs the tests."""
    empty = tmp_path_factory.mktemp("configuration")

    def nowhere(_name: str) -> Path:
        return empty

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("platformdirs.user_config_path", nowhere)
        patch.delenv("RACKRATE_CATALOG", raising=False)
        load_catalog.cache_clear()
        yield
    load_catalog.cache_clear()


@pytest.fixture(scope="module")
def cpu_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "cpu", CPU)


@pytest.fixture(scope="module")
def t4_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "t4", FOUR_T4)


class Ran(NamedTuple):
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        assert self.code == 0, self.err
        return json.loads(self.out)


Command = Callable[..., Ran]


@pytest.fixture
def rackrate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command in this process, in a directory of its own; a traceback would be the test's."""

    def run(*words: object) -> Ran:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["rackrate", *map(str, words)])
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


def refused(ran: Ran) -> str:
    """The sentence of a bad input: exit code 2, one line on standard error, nothing on standard output."""
    assert ran.code == 2, ran
    assert ran.out == ""
    assert ran.err.startswith("rackrate: "), ran.err
    assert ran.err.endswith("\n")
    assert ran.err.count("\n") == 1, ran.err
    assert "Traceback" not in ran.err
    return ran.err.removeprefix("rackrate: ").rstrip("\n")


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
    assert "--save-rig" in ran.out


def test_what_is_served_is_what_the_run_did(rackrate: Command, cpu_run: Path) -> None:
    serving = rackrate("price", cpu_run, "--json").json["serving"]
    assert serving["output_tok_s"] == pytest.approx(OUTPUT_TOK_S, rel=1e-6)
    assert serving["input_tok_s"] == pytest.approx(INPUT_TOK_S, rel=1e-6)
    assert serving["prefill_share"] == pytest.approx(PREFILL_SHARE, rel=1e-6)
    assert (serving["validity"], serving["lower_bound"]) == ([], False)
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
    same = [one["same_model"] for one in apis]
    assert same == sorted(same, reverse=True)
    assert same[0] is True
    named = {one["api"] for one in apis if not one["same_model"]}
    assert named == {"openai/gpt-3.5-turbo", "openai/gpt-6-luna"}
    turbo = next(one for one in apis if one["api"] == "openai/gpt-3.5-turbo")
    assert turbo["blended_usd_per_1m"] == pytest.approx((2 * 0.5 + 1.5) / 3)


def test_a_model_that_nobody_knows_is_said(rackrate: Command, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", CPU, model="my-own", catalogue_id=None, prefill=False)
    pricing = rackrate("price", run, "--json").json
    assert not any(one["same_model"] for one in pricing["machines"][0]["apis"])
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
    assert forced["serving"]["validity"] == ["batch-1", "cold"]
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
    assert {one["break_even"]["verdict"] for one in machine["apis"]} == {"always"}
    ran = rackrate("price", cpu_run, "--usd-per-hour", "0")
    assert (ran.code, "$0.00" in ran.out) == (0, True)
    assert rackrate("report", cpu_run, "--usd-per-hour", "0", "-o", "free.html").code == 0


# --- rigs ---

RIG = """\
name: my rig
capex_usd: 3800
life_years: 5
idle_w: 50
busy_w: 300
usd_per_kwh: 0.15
"""


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
    "negative hourly price": (["RUN", "--usd-per-hour", "-1"], r"--usd-per-hour is a number of at least 0, got -1"),
    "hourly price not a number": (["RUN", "--usd-per-hour", "nan"], r"--usd-per-hour "),
    "infinite hourly price": (["RUN", "--usd-per-hour", "inf"], r"--usd-per-hour "),
    "no utilisation": (["RUN", "--utilisation", "0"], r"--utilisation is a share above 0 and at most 1 .*got 0$"),
    "utilisation of two": (["RUN", "--utilisation", "2"], r"--utilisation is a share above 0 and at most 1 .*got 2$"),
    "utilisation not a number": (["RUN", "--utilisation", "nan"], r"--utilisation is a share .*got nan$"),
    "utilisation in words": (["RUN", "--utilisation", "half"], r".*utilisation.*number"),
    "two loads": (["RUN", "-u", "0.5", "--requests-per-day", "10"], r"give one of --utilisation, .*not several"),
    "three loads": (["RUN", "-u", "0.5", "--requests-per-day", "10", "--requests-per-second", "1"], r"give one of "),
    "no requests": (["RUN", "--requests-per-day", "0"], r".*is a number above 0, got 0$"),
    "negative requests": (["RUN", "--requests-per-second", "-3"], r".*is a number above 0, got -3$"),
    "requests not a number": (["RUN", "--requests-per-second", "nan"], r".*request"),
    "infinite requests": (["RUN", "--requests-per-day", "inf"], r".*request"),
    "no hours": (["RUN", "--hours-per-month", "0"], r"--hours-per-month must be above 0 and at most 744, got 0$"),
    "too many hours": (["RUN", "--hours-per-month", "745"], r"--hours-per-month must be above 0 and at most 744"),
    "hours not a number": (["RUN", "--hours-per-month", "nan"], r"--hours-per-month "),
    "no rig": (["RUN", "--own", "nosuch.yaml"], r"nosuch\.yaml: no such file$"),
    "directory as a rig": (["RUN", "--own", "."], r"\.: is a directory, not a YAML file$"),
    "no run": (["nosuch"], r"nosuch: no such run directory$"),
    "nothing": ([], r"say what to price: either a RUN directory, or --tokens-per-second$"),
    "both": (["RUN", "--tokens-per-second", "5"], r"say what to price: "),
    "a throughput without machine": (["--tokens-per-second", "5"], r"say on which machine: "),
    "no throughput": (["--tokens-per-second", "0", "--usd-per-hour", "1"], r"--tokens-per-second is a number above 0"),
    "negative throughput": (
        ["--tokens-per-second", "-5", "--usd-per-hour", "1"],
        r"--tokens-per-second is a number above 0",
    ),
    "throughput not a number": (
        ["--tokens-per-second", "nan", "--usd-per-hour", "1"],
        r"--tokens-per-second is a number",
    ),
    "infinite throughput": (
        ["--tokens-per-second", "inf", "--usd-per-hour", "1"],
        r"--tokens-per-second is a number above",
    ),
    "odd mix": (["--tokens-per-second", "5", "--usd-per-hour", "1", "--mix", "half"], r"--mix is INPUT:OUTPUT"),
    "mix of three": (["--tokens-per-second", "5", "--usd-per-hour", "1", "--mix", "1:2:3"], r"--mix is INPUT:OUTPUT"),
    "mix of nothing": (
        ["--tokens-per-second", "5", "--usd-per-hour", "1", "--mix", "0:0"],
        r"--mix must have positive",
    ),
    "negative mix": (["--tokens-per-second", "5", "--usd-per-hour", "1", "--mix", "3:-1"], r"--mix must have positive"),
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


# --- reports ---

HOSTILE = "</script><script>alert(1)</script>|<img src=x onerror=alert(2)>"
FORMATS = ("html", "md", "json", "csv")


@pytest.fixture(scope="module")
def hostile_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that comes from outside wants to be a script."""
    machine = CPU.model_copy(update={"cpu_model": HOSTILE, "system": HOSTILE})
    directory = tmp_path_factory.mktemp("runs") / "<img src=x>"
    return write_run(directory, machine, model=HOSTILE, catalogue_id=None, note=HOSTILE)


@pytest.fixture
def hostile_rig(tmp_path: Path) -> Path:
    text = RIG.replace("my rig", json.dumps(HOSTILE)) + f"notes: {json.dumps(HOSTILE)}\n"
    (tmp_path / "rig.yaml").write_text(text, encoding="utf-8")
    return tmp_path / "rig.yaml"


class Page(HTMLParser):
    """Elements with their attributes, and the text of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._in_script = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")
        self._in_script = tag == "script"

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._in_script = False

    def handle_data(self, data: str) -> None:
        if self._in_script:
            self.scripts[-1] += data
        else:
            self.text += data

    def tags(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag == name]


def written(rackrate: Command, run: Path, kind: str, *words: object) -> str:
    file = Path(f"written.{kind}")
    ran = rackrate("report", run, "-o", file, *words)
    assert ran.code == 0, ran.err
    assert ran.err.startswith(f"wrote {file}")
    return (Path.cwd() / file).read_text(encoding="utf-8")


@pytest.mark.parametrize("words", [(), ("--as-if", "--offer", "aws/g4dn.12xlarge", "-u", "0.3")])
def test_the_page_needs_no_network(rackrate: Command, cpu_run: Path, words: tuple[str, ...]) -> None:
    page = Page(written(rackrate, cpu_run, "html", *words))
    for tag, attributes in page.elements:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), f"<{tag} {name}={value!r}>"
    style = "".join(
        re.findall(r"<style>(.*?)</style>", (Path.cwd() / "written.html").read_text(encoding="utf-8"), re.DOTALL)
    )
    assert style != ""
    assert "url(" not in style
    assert "@import" not in style
    assert len(page.tags("table")) >= 4


def test_the_page_has_its_charts_and_figures(rackrate: Command, cpu_run: Path) -> None:
    page = Page(written(rackrate, cpu_run, "html", "--offer", "aws/c7a.large"))
    assert [one.get("type") for one in page.tags("script")] == ["application/json", None, None, None, None]
    specs = json.loads(page.scripts[0])
    drawn = {attributes["id"] for attributes in page.tags("div") if (attributes.get("id") or "").startswith("chart-")}
    assert drawn == {f"chart-{name}" for name in specs}
    cost = json.dumps(specs["cost"])
    assert "aws/c7a.large" in cost
    assert "https://vega.github.io/schema" in cost  # a name of the format, which nothing fetches
    assert "$0.119" in page.text
    assert "llama-3.2-1b-instruct" in page.text


def test_what_comes_from_outside_is_escaped_in_the_page(
    rackrate: Command, hostile_run: Path, hostile_rig: Path
) -> None:
    text = written(rackrate, hostile_run, "html", "--own", hostile_rig)
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    page = Page(text)
    assert len(page.scripts) == 5
    assert page.tags("img") == []
    assert page.text.count("alert(1)") >= 6  # shown as what it is: model, engine, version, command, machine, rig
    assert not any("alert(" in script for script in page.scripts[1:])
    assert HOSTILE in json.dumps(json.loads(page.scripts[0]))


def test_what_comes_from_outside_is_escaped_in_markdown(
    rackrate: Command, hostile_run: Path, hostile_rig: Path
) -> None:
    text = written(rackrate, hostile_run, "md", "--own", hostile_rig)
    assert "alert(1)" in text
    assert [line for line in text.splitlines() if "<script" in line or "<img" in line] == []


def test_what_comes_from_outside_is_whole_in_json_and_csv(
    rackrate: Command, hostile_run: Path, hostile_rig: Path
) -> None:
    values = json.loads(written(rackrate, hostile_run, "json", "--own", hostile_rig))
    assert values["run"]["provenance"]["model"]["requested"] == HOSTILE
    assert values["pricing"]["machines"][0]["cost"]["name"] == HOSTILE
    rows = list(csv.DictReader(io.StringIO(written(rackrate, hostile_run, "csv", "--own", hostile_rig))))
    assert {row["model"] for row in rows} == {HOSTILE}
    assert {row["machine"] for row in rows} == {HOSTILE}


@pytest.mark.parametrize("command", ["price", "show"])
def test_what_comes_from_outside_is_text_in_the_terminal(rackrate: Command, tmp_path: Path, command: str) -> None:
    machine = CPU.model_copy(update={"cpu_model": "[red]cpu[/nothing]"})
    run = write_run(tmp_path / "[bold]run[/x]", machine, model="[red]model[/y]", catalogue_id=None, note="[/z]")
    words = ["--sources", "--usd-per-hour", "1"] if command == "price" else []
    ran = rackrate(command, run, *words)
    assert ran.code == 0
    assert "[red]model[/y]" in ran.out


def test_the_four_formats_agree(rackrate: Command, cpu_run: Path) -> None:
    words = ("--offer", "aws/c7a.large", "--api", "gpt-3.5-turbo")
    values = json.loads(written(rackrate, cpu_run, "json", *words))
    blended = values["pricing"]["machines"][0]["full_load"]["blended_usd"]
    assert blended == pytest.approx(BLENDED_C7A_LARGE, rel=1e-6)
    rows = list(csv.DictReader(io.StringIO(written(rackrate, cpu_run, "csv", *words))))
    assert [(row["concurrency"], row["kind"]) for row in rows] == [
        ("1", "closed"), ("2", "closed"), ("4", "closed"), ("8", "closed"), ("4", "prefill"),
    ]  # fmt: skip
    assert float(rows[2]["usd_per_1m_tokens"]) == pytest.approx(blended)
    assert float(rows[2]["output_tok_s"]) == pytest.approx(80.0, rel=1e-6)
    assert float(rows[2]["e2e_p50_s"]) == pytest.approx(1.6)
    assert "$0.119" in written(rackrate, cpu_run, "html", *words)
    assert "**$0.119 per 1M tokens** at full load on aws/c7a.large" in written(rackrate, cpu_run, "md", *words)


def test_markdown_tables_have_as_many_cells_as_columns(rackrate: Command, hostile_run: Path) -> None:
    width: int | None = None
    tables = 0
    for line in written(rackrate, hostile_run, "md").splitlines():
        if not line.startswith("|"):
            width = None
            continue
        cells = len(re.findall(r"(?<!\\)\|", line))
        tables += width is None
        width = width or cells
        assert cells == width, line
    assert tables >= 3


@pytest.mark.parametrize("kind", FORMATS)
def test_equal_inputs_give_equal_bytes(rackrate: Command, cpu_run: Path, kind: str) -> None:
    first, second = (written(rackrate, cpu_run, kind) for _ in range(2))
    assert first == second
    assert len(first) > 500


def test_another_process_writes_the_same_page(
    rackrate: Command, cpu_run: Path, private_environment: dict[str, str], tmp_path: Path
) -> None:
    here = written(rackrate, cpu_run, "html")
    command = [sys.executable, "-m", "rackrate", "report", str(cpu_run), "-o", "there.html"]
    environment = {**private_environment, "PYTHONHASHSEED": "12345", "TZ": "Asia/Tokyo", "LC_ALL": "C"}
    subprocess.run(command, check=True, timeout=60, cwd=tmp_path, env=environment, capture_output=True)
    assert (tmp_path / "there.html").read_text(encoding="utf-8") == here


def test_formats_are_chosen_by_ending_or_by_name(rackrate: Command, cpu_run: Path, tmp_path: Path) -> None:
    assert rackrate("report", cpu_run, "-f", "md").out.startswith("# ")
    assert json.loads(rackrate("report", cpu_run, "-f", "json").out)["run"]["schema"] == "rackrate.run-summary/1"
    assert rackrate("report", cpu_run, "-o", "sub/page.HTM").code == 0
    assert (tmp_path / "sub" / "page.HTM").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert rackrate("report", cpu_run).code == 0
    assert (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-f", "pdf"], r"--format is one of html, md, json, csv, not 'pdf'"),
        (["-o", "report.docx"], r"--format is one of html, md, json, csv, not 'docx'"),
        (["-o", "file/below.md"], r"file/below\.md: cannot be written \("),
        (["--utilisation", "2"], r"--utilisation is a share"),
        (["--offer", "aws/g4dn.12xlarge"], r"aws/g4dn\.12xlarge is 4 x t4, the run was on CPUs"),
    ],
)
def test_a_report_that_cannot_be_is_refused(
    rackrate: Command, cpu_run: Path, tmp_path: Path, words: list[str], said: str
) -> None:
    (tmp_path / "file").write_text("not a directory", encoding="utf-8")
    assert re.match(said, refused(rackrate("report", cpu_run, *words)))


def test_the_chart_library_is_the_one_that_was_checked() -> None:
    folder = resources.files("rackrate.report") / "vega"
    sums: dict[str, str] = {}
    for line in (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines():
        digest, name = line.split()
        sums[name] = digest
    shipped = {file.name for file in folder.iterdir() if file.name.endswith(".js")}
    assert set(sums) == shipped == {"vega.min.js", "vega-lite.min.js", "vega-embed.min.js"}
    for name, expected in sums.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == expected, name


# --- show ---


def test_show_prints_every_level(rackrate: Command, cpu_run: Path) -> None:
    view = rackrate("show", cpu_run, "--json").json
    assert [level["concurrency"] for level in view["levels"]] == [1, 2, 4, 8, 4]
    assert view["saturation"]["concurrency"] == 4
    assert view["requests"] == {"finished": 25 * 15 + 160, "failed": {}, "torn_journal_lines": 0}
    table = rackrate("show", cpu_run)
    assert table.code == 0
    assert re.search(r"^\s*4\s+80\.0\s.*<- saturated", table.out, re.MULTILINE)
