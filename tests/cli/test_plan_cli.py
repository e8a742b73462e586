"""What `rackrate plan` takes from files of traffic, and what it says of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from priced_runs import Command
from rackrate.steptime.accelerator_errors import accelerator_errors
from rackrate.units import share_off

PLAN = ("plan", "llama-3.1-8b-instruct", "--offer", "aws/g6e.xlarge", "--requests", "100", "--slo", "p95 ttft < 9s")


def planned(rackrate: Command, *more: str) -> dict[str, Any]:
    code, output, error = rackrate(*PLAN, *more, "--json")
    assert code == 0, error
    return json.loads(output)


def trace(path: Path, seconds: float, requests: int, long_share: float = 0.0) -> Path:
    """Requests at equal distances; the last so many of them are ten times as long."""
    due = np.linspace(0, seconds, requests)
    rows = [
        f"{at:.3f},{4000 if number >= requests * (1 - long_share) else 400},{100}\n" for number, at in enumerate(due)
    ]
    path.write_text("time_s,input_tokens,output_tokens\n" + "".join(rows), encoding="utf-8")
    return path


def test_a_trace_of_a_minute_is_planned_for(rackrate: Command, tmp_path: Path) -> None:
    view = planned(rackrate, "--traffic", str(trace(tmp_path / "minute.csv", 60.0, 121)))
    assert view["demand"]["request_s"] == pytest.approx(2.0)
    assert view["demand"]["peak_request_s"] == pytest.approx(2.0)


def test_requests_that_are_left_out_are_not_counted_in_the_rate(rackrate: Command, tmp_path: Path) -> None:
    file = str(trace(tmp_path / "t.csv", 1000.0, 2001, long_share=0.25))
    view = planned(rackrate, "--traffic", file, "--longest", "1000")
    # those at the end of the trace: the others came in three quarters of the time, at the same rate
    assert view["demand"]["request_s"] == pytest.approx(2.0, rel=0.01)
    assert view["demand"]["mean_input_tokens"] == 400
    assert "500 of 2,001 requests are longer than 1000 tokens" in view["demand"]["notes"][0]
    spread = tmp_path / "spread.csv"
    rows = [f"{at / 2},{4000 if at % 4 == 0 else 400},100\n" for at in range(2000)]
    spread.write_text("time_s,input_tokens,output_tokens\n" + "".join(rows), encoding="utf-8")
    assert planned(rackrate, "--traffic", str(spread), "--longest", "1000")["demand"]["request_s"] == pytest.approx(
        1.5, rel=0.01
    )


def test_bills_are_over_the_mean_of_the_whole_trace(rackrate: Command, tmp_path: Path) -> None:
    file = str(trace(tmp_path / "t.csv", 1000.0, 2001, long_share=0.02))
    view = planned(rackrate, "--traffic", file)
    assert view["demand"]["mean_input_tokens"] == pytest.approx(400 + 3600 * 40 / 2001, rel=1e-6)
    month = view["demand"]["request_s"] * 730 * 3600
    assert view["demand"]["tokens_month"] == pytest.approx(month * (view["demand"]["mean_input_tokens"] + 100))


def test_a_recorded_pattern_may_be_cut_off_within_a_pass(rackrate: Command, tmp_path: Path) -> None:
    due = [3.0 * at if at < 50 else 150 + 0.1 * at for at in range(70)]  # a hundred end in the slow part of a pass
    file = tmp_path / "bursts.csv"
    file.write_text("time_s,input_tokens,output_tokens\n" + "".join(f"{at},400,100\n" for at in due), encoding="utf-8")
    view = planned(rackrate, "--traffic", "2/s", "--trace", str(file), "--arrivals", "trace")
    assert view["rows"]


def mooncake(path: Path) -> Path:
    """Requests whose first block is always the same, and that get longer as the trace goes on."""
    lines = [
        json.dumps(
            {"timestamp": 500 * n, "input_length": 1024 if n < 500 else 1536, "output_length": 50,
             "hash_ids": [0, n + 1] if n < 500 else [0, n + 1, n + 9001]}
        )
        for n in range(1000)
    ]  # fmt: skip
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_a_trace_with_shared_prompts_is_drawn_from_whole_and_what_is_shared_is_said(
    rackrate: Command, tmp_path: Path
) -> None:
    file = str(mooncake(tmp_path / "m.jsonl"))
    view = planned(rackrate, "--traffic", file)
    assert view["demand"]["mean_input_tokens"] == 1280  # not the 1,024 of its first hundred
    assert view["demand"]["mean_cached_tokens"] == 0
    assert "unlimited prefix cache would have 40.0% of the input; none of it is counted" in view["demand"]["notes"][0]
    cached = planned(rackrate, "--traffic", file, "--cached-share", "trace")
    assert cached["demand"]["mean_cached_tokens"] == pytest.approx(1280 * 0.4, rel=0.01)
    stated = planned(rackrate, "--traffic", file, "--cached-share", "0.25")
    assert stated["demand"]["mean_cached_tokens"] == pytest.approx(320)
    assert stated["demand"]["notes"] == []


def test_cached_tokens_of_a_usage_export_count(rackrate: Command, tmp_path: Path) -> None:
    file = tmp_path / "usage.csv"
    rows = [
        f"{1_750_000_000 + 3600 * n},{1_750_000_000 + 3600 * (n + 1)},7200,7200000,3600000,1800000,720000,gpt-5\n"
        for n in range(48)
    ]
    header = "start_time,end_time,num_model_requests,input_tokens,input_cached_tokens,input_cache_write_tokens"
    file.write_text(f"{header},output_tokens,model\n" + "".join(rows), encoding="utf-8")
    view = planned(rackrate, "--traffic", str(file))
    assert view["demand"]["request_s"] == pytest.approx(2.0)
    assert view["demand"]["mean_cached_tokens"] == pytest.approx(500)
    assert view["demand"]["notes"] == [
        "the file has steps of 1 h: peaks within them are not known unless one is stated",
        "50.0% of the input was cached, as recorded",
    ]
    # of 1,000 input tokens 250 are new, 500 read and 250 written: at 0.1, 0.01 and 0.125; 100 come out, at 0.5
    luna = next(api for api in view["apis"] if api["api"] == "openai/gpt-6-luna")
    each = 250 * 0.1 + 500 * 0.01 + 250 * 0.125 + 100 * 0.5
    assert luna["usd_month"] == pytest.approx(2 * 730 * 3600 * each / 1e6)


def test_rates_by_the_second_have_the_peak_of_five_minutes(rackrate: Command, tmp_path: Path) -> None:
    file = tmp_path / "rates.csv"
    rates = [100.0 if at == 400 else 1.0 for at in range(3600)]
    file.write_text("t_s,rate\n" + "".join(f"{at},{rate}\n" for at, rate in enumerate(rates)), encoding="utf-8")
    demand = planned(rackrate, "--traffic", str(file))["demand"]
    assert demand["peak_request_s"] == pytest.approx((299 + 100) / 300)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--traffic", "5/s", "--arrivals", "steps:5@30,20@30"), "has rates of its own"),
        (("--traffic", "5/s", "--arrivals", "ramp:1-20@60"), "has rates of its own"),
        (("--traffic", "5/s", "--arrivals", "bursts"), "--arrivals is poisson"),
        (("--traffic", "5/s", "--longest", "900"), "goes with a trace"),
        (("--traffic", "5/s", "--cached-share", "trace"), "no trace with block hashes"),
        (("--traffic", "5/s", "--cached-share", "most"), "a share such as 0.4, or trace"),
        (("--traffic", "5/s", "--cached-share", "1"), "a share from 0 to 0.999"),
        (("--traffic", "0/s"), "requests per second above 0"),
        (("--traffic", "nothing.csv"), "nor a file that exists"),
    ],
)  # fmt: skip
def test_bad_traffic_is_one_sentence(rackrate: Command, more: tuple[str, ...], words: str) -> None:
    code, output, error = rackrate(*PLAN, *more)
    assert (code, output) == (2, "")
    assert words in error
    assert error.count("\n") == 1


def test_requests_at_one_moment_have_no_rate(rackrate: Command, tmp_path: Path) -> None:
    file = tmp_path / "moment.csv"
    file.write_text("time_s,input_tokens,output_tokens\n" + "3,500,100\n" * 20, encoding="utf-8")
    code, _, error = rackrate(*PLAN, "--traffic", str(file))
    assert code == 2
    assert "all its requests come at one moment" in error
    assert planned(rackrate, "--traffic", "2/s", "--trace", str(file))["demand"]["mean_input_tokens"] == 500


def test_the_longest_request_of_a_trace_must_fit_though_it_was_not_drawn(rackrate: Command, tmp_path: Path) -> None:
    file = trace(tmp_path / "t.csv", 3000.0, 6001)
    lines = file.read_text(encoding="utf-8").splitlines()
    lines[-1] = "3000.000,120000,100"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    code, _, error = rackrate(
        "plan", "llama-3.1-8b-instruct", "--offer", "aws/g6.xlarge", "--requests", "100", "--traffic", str(file),
        "--weights", "bf16",
    )  # fmt: skip
    assert code == 2
    assert "a request of 120,100 tokens" in error


@pytest.mark.parametrize(("peak", "spares"), [(1, 0), (3, 0), (1, 2), (2.5, 1)])
def test_an_api_is_beaten_from_its_break_even_on(rackrate: Command, peak: float, spares: int) -> None:
    """The table at the volume of the last crossing has the machines below the API; at half the first, above."""
    arguments = ("--peak", str(peak), "--spares", str(spares), "--api", "openai/gpt-3.5-turbo")
    asked = [*arguments, "--input-tokens", "800", "--output-tokens", "200"]
    row = planned(rackrate, "--traffic", "5/s", *asked)["rows"][0]
    even = row["break_even"]["openai/gpt-3.5-turbo"]
    assert even["verdict"] == "at"
    month = 730 * 3600 * 1000
    for tokens, cheaper in (
        (even["last_crossing_tokens_per_month"] * 1.1, True),
        (even["tokens_per_month"] * 0.5, False),
    ):
        view = planned(rackrate, "--traffic", f"{tokens / month}/s", *asked)
        bill = next(api["usd_month"] for api in view["apis"] if api["api"] == "openai/gpt-3.5-turbo")
        assert (view["rows"][0]["usd_month"] < bill) is cheaper


ANCHORED = (
    "plan",
    "llama-3-8b-instruct",
    "--traffic",
    "6/s",
    "--requests",
    "100",
    "--offer",
    "aws/g5.2xlarge",
    "--json",
)


def test_an_anchor_in_one_format_says_how_fast_another_is(rackrate: Command) -> None:
    """awq was not measured: it is slower by what the measured format was, not as slow as that was."""

    def capacity(weights: str, *more: str) -> float:
        code, output, error = rackrate(*ANCHORED, "--weights", weights, *more)
        assert code == 0, error
        return json.loads(output)["rows"][0]["capacity_request_s"]

    point = ("--anchor", "a10g:512:256:8:190:bf16")
    bf16, awq = capacity("bf16"), capacity("awq")
    assert capacity("bf16", *point) < bf16
    assert capacity("awq", *point) < awq
    assert capacity("awq", *point) / capacity("bf16", *point) == pytest.approx(awq / bf16, rel=0.2)


def test_what_an_anchor_corrected_is_said(rackrate: Command) -> None:
    code, output, error = rackrate(*ANCHORED, "--anchor", "a10g:512:256:8:190")
    assert code == 0, error
    corrected = json.loads(output)["corrected"]
    found = re.search(r"190 output tok/s of bf16 on 1 .* where ([\d.]+) were predicted and ([\d.]+) are now", corrected)
    assert found is not None
    before, after = float(found[1]), float(found[2])
    assert abs(after - 190) < abs(before - 190)


@pytest.mark.parametrize(
    ("anchor", "words"),
    [
        ("a10g:512:256:8:1e6", "no correction of bf16 on 1 x a10g explains 1e+06"),
        ("a10g:512:256:8:nan", "--anchor is"),
        ("a10g:512:256:8:inf", "--anchor is"),
        ("a10g:512:256:0.5:190", "--anchor is"),
        ("a10g:512:256:8", "--anchor is"),
        ("a10g:512:256:8:190:fp7", "no weight format"),
        ("a10:0:256:8:190", "--anchor is"),
        ("g5:512:256:8:190", "no accelerator is called"),
        ("t4:512:256:8:190", "the weights (fp16) take"),
        ("v100-sxm-16gb:512:256:8:190:awq", "awq has no kernels"),
    ],
)
def test_an_anchor_that_cannot_be_is_one_sentence(rackrate: Command, anchor: str, words: str) -> None:
    code, output, error = rackrate(*ANCHORED, "--anchor", anchor)
    assert (code, output) == (2, "")
    assert words in error
    assert "Traceback" not in error


def test_transformers_serves_one_request_after_the_other(rackrate: Command) -> None:
    code, output, error = rackrate(
        "simulate", "llama-3-8b-instruct", "--on", "l40s", "--engine", "transformers", "-c", "1,4", "--requests", "60",
        "--json",
    )  # fmt: skip
    assert code == 0, error
    level, four = json.loads(output)["levels"][:2]
    assert four["output_tok_s"] == pytest.approx(level["output_tok_s"], rel=0.05)
    assert four["ttft"]["p50"] > level["ttft"]["p50"] + level["e2e"]["p50"]


def test_how_a_model_was_read_is_said(rackrate: Command) -> None:
    named = ("Qwen/Qwen2.5-32B-Instruct-AWQ", "--traffic", "1/s", "--offer", "aws/g6e.xlarge", "--requests", "50")
    code, out, error = rackrate("plan", *named, "--json")
    assert code == 0
    assert "note: Qwen/Qwen2.5-32B-Instruct-AWQ: taken as qwen2.5-32b-instruct in awq" in error
    assert {row["weights"] for row in json.loads(out)["rows"]} == {"awq"}
    code, _, error = rackrate("simulate", named[0], "--on", "l40s", "--rate", "1", "--requests", "50")
    assert code == 0
    assert "taken as qwen2.5-32b-instruct in awq" in error


def test_lengths_that_nobody_stated_are_said(rackrate: Command) -> None:
    notes = planned(rackrate, "--traffic", "1/s", "--input-tokens", "300")["demand"]["notes"]
    assert notes == ["output tokens are not stated: 128 a request are assumed"]
    assert (
        planned(rackrate, "--traffic", "1/s", "--input-tokens", "300", "--output-tokens", "9")["demand"]["notes"] == []
    )


def test_what_fits_nowhere_is_said_of_the_largest_that_was_tried(rackrate: Command) -> None:
    asked = ("plan", "llama-3.1-405b-instruct", "--traffic", "1/s", "--weights", "bf16", "--input-tokens", "100")
    code, _, error = rackrate(*asked, "--offer", "aws/g4dn.xlarge", "--offer", "aws/p5.48xlarge")
    assert code == 2
    assert "on each of the 8 h100-sxm" in error
    code, _, error = rackrate(*asked, "--explain", "aws/p5.48xlarge")
    assert code == 2
    assert "tp8 does not fit: the weights (bf16) take 94.50 GiB on each of the 8 h100-sxm" in error


def test_a_card_whose_predictions_are_weak_is_not_called_card(rackrate: Command, tmp_path: Path) -> None:
    """Of an L4, 80 % intervals had 51 % of the figures when its rows were left out; of an A10G 75 %."""
    code, output, error = rackrate(
        "plan", "llama-3-8b-instruct", "--traffic", "2/s", "--requests", "60", "--offer", "aws/g6.xlarge",
        "--offer", "aws/g5.xlarge", "-o", str(tmp_path / "plan.md"),
    )  # fmt: skip
    assert code == 0, error
    page = (tmp_path / "plan.md").read_text(encoding="utf-8")
    for text in (output, page):
        assert "(l4 51 %)" in text
        assert "P(+1): how probable it is" in text
    assert "| weak 37 % |" in page
    assert "| card 12 % |" in page


def test_errors_of_cards_are_those_of_the_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "validation.md").read_text(encoding="utf-8")
    table = page.split("## Each accelerator left out")[1].split("## Each source")[0].split("By accelerator")[1]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("| ")]
    listed = {row[0]: row for row in rows[2:]}
    assert set(listed) == set(accelerator_errors())
    for name, errors in accelerator_errors().items():
        _, figures, median, _, _, _, _, covers = listed[name]
        assert int(figures) == errors.figures
        assert share_off(errors.median) * 100 == pytest.approx(float(median.rstrip(" %")), abs=0.15)
        assert errors.covered * 100 == pytest.approx(float(covers.rstrip(" %")), abs=0.06)
