"""Exports of API usage: what each says of tokens, of the cache and of batches, and what refusals tell."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rackrate.errors import WorkloadError
from rackrate.workload.prompt_mix import PromptMix
from rackrate.workload.traces import read_trace
from rackrate.workload.traffic import Traffic, on_steps, tiled, together, with_cached_share, with_lengths
from rackrate.workload.traffic_files import is_trace, read_traffic

OPENROUTER_ACTIVITY = """Date,Slug,Usage,BYOK Usage,Requests,Prompt Tokens,Completion Tokens,Reasoning Tokens
"2026-05-12 00:00:00","qwen/qwen3-32b","4.30","0","4115","70965665","3009973","0"
"2026-05-13 00:00:00","qwen/qwen3-32b","5.05","0","4254","87199493","2795119","0"
"""
OPENROUTER_GENERATIONS = """generation_id,created_at,cost_total,tokens_prompt,tokens_completion,tokens_reasoning,\
tokens_cached,model_permaslug,provider_name,cancelled
gen-2,2026-06-28 03:47:10.100,0.0003,900,210,0,0,qwen/qwen3-32b,DeepInfra,false
gen-1,2026-06-28 03:46:57.713,0.0123,10389,137,20,8192,qwen/qwen3-32b,DeepInfra,false
"""
OPENAI_EMPTY = """start_time,end_time,start_time_iso,end_time_iso
1780000000,1780086400,2026-05-28T20:26:40+00:00,2026-05-29T20:26:40+00:00
"""
OPENAI = """start_time,end_time,num_model_requests,model,batch,input_tokens,output_tokens,input_cached_tokens,\
input_cache_write_tokens
1780272000,1780358400,1000,gpt-4o-2024-08-06,True,10000000,1000000,0,0
1780272000,1780358400,10,gpt-6-luna,False,3000000,10000,100000,50000
"""
ANTHROPIC = """usage_date_utc,model_version,usage_type,context_window,usage_input_tokens_no_cache,\
usage_input_tokens_cache_write_5m,usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,usage_output_tokens
2026-09-01,claude-opus-5-5,standard,≤ 200k,1000000,2000000,500000,8000000,300000
2026-09-02,claude-opus-5-5,batch,> 200k,1000,0,0,0,10
"""
REPORT = {
    "data": [
        {
            "starting_at": "2026-02-01T00:00:00Z",
            "ending_at": "2026-02-02T00:00:00Z",
            "results": [
                {
                    "uncached_input_tokens": 1500,
                    "cache_creation": {"ephemeral_1h_input_tokens": 1000, "ephemeral_5m_input_tokens": 500},
                    "cache_read_input_tokens": 200,
                    "output_tokens": 500,
                    "model": "claude-sonnet-4-20250514",
                    "service_tier": "batch",
                    "context_window": "200k-1M",
                }
            ],
        }
    ],
    "has_more": False,
    "next_page": None,
}
OPENROUTER_ANSWER = {
    "data": [
        {"date": "2026-05-12", "model": "qwen/qwen3-32b", "usage": 0.01, "requests": 5, "prompt_tokens": 50,
         "completion_tokens": 125, "reasoning_tokens": 25}
    ]
}  # fmt: skip


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def totals(traffic: Traffic) -> dict[str, float | None]:
    return {name: traffic.total(name) for name in traffic.series()}


def test_openrouters_activity_is_traffic_by_the_day(tmp_path: Path) -> None:
    traffic = read_traffic(write(tmp_path / "activity.csv", OPENROUTER_ACTIVITY), 60.0)
    assert (len(traffic), traffic.step_s) == (2, 86_400)
    assert totals(traffic) == {
        "requests": 8369, "input_tokens": 158_165_158, "cached_tokens": None, "written_tokens": None,
        "written_1h_tokens": None, "output_tokens": 5_805_092,
    }  # fmt: skip


def test_openrouters_generations_are_requests_newest_first(tmp_path: Path) -> None:
    path = write(tmp_path / "generations.csv", OPENROUTER_GENERATIONS)
    assert is_trace(path)
    trace = read_trace(path)
    assert trace.arrival_s == pytest.approx([0.0, 12.387])
    assert trace.input_tokens.tolist() == [10389, 900]
    assert trace.output_tokens.tolist() == [137, 210]
    assert trace.cached_tokens is not None
    assert trace.cached_tokens.tolist() == [8192, 0]
    traffic = read_traffic(path, 60.0, steps_stated=False)
    assert (traffic.total("requests"), traffic.total("input_tokens"), traffic.total("output_tokens")) == (2, 11289, 347)
    assert traffic.step_s == pytest.approx(2 * 12.387)
    # 28 June 2026 was a Sunday
    assert (traffic.start_known, traffic.start_s) == (True, pytest.approx(6 * 86400 + 3 * 3600 + 46 * 60 + 57.713))
    with pytest.raises(WorkloadError, match=r"less than one step of 60 s"):
        read_traffic(path, 60.0)


def test_an_export_without_usage_says_so(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match=r"this OpenAI usage export has no usage in it"):
        read_traffic(write(tmp_path / "empty.csv", OPENAI_EMPTY), 60.0)


def test_anthropics_usage_report_is_traffic(tmp_path: Path) -> None:
    traffic = read_traffic(write(tmp_path / "report.json", json.dumps(REPORT)), 60.0)
    assert totals(traffic) == {
        "requests": None, "input_tokens": 3200, "cached_tokens": 200, "written_tokens": 500, "written_1h_tokens": 1000,
        "output_tokens": 500,
    }  # fmt: skip
    mix = traffic.prompts
    assert mix is not None
    assert (mix.batch.tolist(), mix.prompt_tokens.tolist(), mix.new.tolist()) == ([True], [200_001], [1500])


def test_openrouters_activity_api_is_read(tmp_path: Path) -> None:
    traffic = read_traffic(write(tmp_path / "activity.json", json.dumps(OPENROUTER_ANSWER)), 60.0)
    assert (traffic.total("requests"), traffic.total("input_tokens"), traffic.total("output_tokens")) == (5, 50, 125)
    assert traffic.cached_tokens is None


def test_batches_and_cache_writes_of_an_openai_export_are_kept(tmp_path: Path) -> None:
    traffic = read_traffic(write(tmp_path / "usage.csv", OPENAI), 60.0)
    mix = traffic.prompts
    assert mix is not None
    assert mix.batch.tolist() == [True, False]
    assert mix.prompt_tokens.tolist() == [10_000, 300_000]
    assert (mix.written.tolist(), traffic.total("written_tokens")) == ([0, 50_000], 50_000)
    assert mix.new.tolist() == [10_000_000, 2_850_000]
    assert any("79% of the tokens are of batches" in note for note in traffic.notes), traffic.notes
    assert any("50,000 input tokens were written to the API's cache for minutes, 0 for" in n for n in traffic.notes)


def test_an_anthropic_export_tells_long_prompts_and_batches(tmp_path: Path) -> None:
    mix = read_traffic(write(tmp_path / "usage.csv", ANTHROPIC), 60.0).prompts
    assert mix is not None
    assert np.isnan(mix.prompt_tokens[0])
    assert mix.prompt_tokens[1] == 200_001
    assert mix.batch.tolist() == [False, True]
    assert [float(part[0]) for part in (mix.new, mix.cached, mix.written, mix.written_1h)] == [1e6, 8e6, 2e6, 5e5]


@pytest.mark.parametrize(
    ("name", "text"), [("x.csv", "a,b\n1,2\n"), ("x.json", '{"a": 1}'), ("y.json", '{"data": [{"a": 1}]}')]
)
def test_a_refusal_names_the_exports_that_are_known(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(WorkloadError, match=r"OpenAI \(.*\), Anthropic \(.*\), OpenRouter \(.*generations CSV\)"):
        read_traffic(write(tmp_path / name, text), 60.0)


def test_what_is_billed_alike_stays_with_the_traffic(tmp_path: Path) -> None:
    traffic = read_traffic(write(tmp_path / "usage.csv", ANTHROPIC), 60.0)
    year = tiled(traffic, 20 * 86400.0, growth_per_month=0.05)
    written, given = year.total("written_tokens"), year.total("input_tokens")
    assert written is not None
    assert given is not None
    assert year.prompts is traffic.prompts
    assert on_steps(traffic, 3600.0).total("written_1h_tokens") == pytest.approx(500_000)
    both = together([traffic, traffic])
    assert both.total("written_tokens") == 4_000_000
    assert both.prompts is not None
    assert len(both.prompts.new) == 4


def test_stated_lengths_and_shares_replace_what_was_recorded(tmp_path: Path) -> None:
    traffic = read_traffic(write(tmp_path / "usage.csv", OPENAI), 60.0)
    stated = with_lengths(traffic, 500, 100, 50)
    assert stated.prompts is not None
    assert (stated.prompts.prompt_tokens.tolist(), stated.prompts.new.tolist()) == ([500], [450])
    assert stated.total("written_tokens") is None
    half = with_cached_share(traffic, 0.5)
    assert half.prompts is not None
    assert half.prompts.cached.tolist() == [5_000_000, 1_500_000]
    assert half.total("written_tokens") is None


def test_single_requests_are_classed_by_length() -> None:
    inputs, outputs, cached = np.array([7, 5_000_000, 7]), np.array([1, 1, 1]), np.array([2, -1, 3])
    mix = PromptMix.of_requests(inputs, outputs, cached)
    assert mix.prompt_tokens.tolist() == [7, 5_000_000]
    assert (mix.new.tolist(), mix.cached.tolist(), mix.output.tolist()) == ([9, 5_000_000], [5, 0], [2, 1])
    assert mix.inputs.sum() == inputs.sum()


DAY = (
    "usage_date_utc,model_version,usage_input_tokens_no_cache,usage_input_tokens_cache_write_5m,"
    "usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,usage_output_tokens\n"
)


@pytest.mark.parametrize("days", [(2, 3, 4, 5, 6), (2, 4, 6), (2, 4, 7), (2, 9, 16), (5,)])
def test_days_without_a_row_are_days_without_usage(tmp_path: Path, days: tuple[int, ...]) -> None:
    path = tmp_path / "usage.csv"
    rows = "".join(f"2026-03-{day:02},claude-sonnet-4-6,864000,0,0,0,86400\n" for day in days)
    path.write_text(DAY + rows, encoding="utf-8")
    traffic = read_traffic(path, 60.0)
    assert traffic.step_s == 86_400
    assert len(traffic) == days[-1] - days[0] + 1
    assert traffic.input_tokens is not None
    assert traffic.input_tokens.max() == 864_000
    assert traffic.input_tokens.sum() == 864_000 * len(days)
    empty = len(traffic) - len(days)
    assert any(f"{empty} of {len(traffic)} times of 24 h have no row" in note for note in traffic.notes) == (empty > 0)


@pytest.mark.parametrize(
    ("begins", "step_s"),
    [
        (("2026-03-02T00:00:00Z", "2026-03-02T06:00:00Z", "2026-03-02T09:00:00Z"), 3600),
        (("2026-03-02T07:00:00Z", "2026-03-04T07:00:00Z"), 86_400),  # days of another time zone
        (("2026-03-02T07:10:00Z", "2026-03-02T07:40:00Z"), 60),
    ],
)
def test_a_row_covers_what_usage_pages_count_by(tmp_path: Path, begins: tuple[str, ...], step_s: float) -> None:
    path = tmp_path / "usage.csv"
    path.write_text(DAY + "".join(f"{begin},m,100,0,0,0,10\n" for begin in begins), encoding="utf-8")
    assert read_traffic(path, 60.0).step_s == step_s


def test_thousands_totals_and_milliseconds_are_read_as_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "usage.csv"
    rows = '1772409600000,m,"864,000",0,0,0,"86,400"\n2026-03-03,m,1,0,0,0,1\nTotal,,864001,0,0,0,86401\n'
    path.write_text(DAY + rows, encoding="utf-8")
    traffic = read_traffic(path, 60.0)
    assert traffic.input_tokens is not None
    assert traffic.input_tokens.tolist() == [864_000, 1]


def test_a_number_is_no_word_of_python(tmp_path: Path) -> None:
    path = tmp_path / "usage.csv"
    path.write_text(DAY + "2026-03-02,m,1_000,0,0,0,1\n", encoding="utf-8")
    with pytest.raises(WorkloadError, match="1_000 is not a number"):
        read_traffic(path, 60.0)


def test_an_export_of_no_usage_is_said(tmp_path: Path) -> None:
    path = tmp_path / "usage.csv"
    path.write_text(DAY + "2026-03-02,m,0,0,0,0,0\n", encoding="utf-8")
    with pytest.raises(WorkloadError, match="nothing was asked for in its time"):
        read_traffic(path, 60.0)


def test_times_of_another_zone_are_moved_to_utc(tmp_path: Path) -> None:
    """Prices by the hour are in UTC: nine o'clock in Beijing is one o'clock there."""
    hour = "start_time,end_time,num_model_requests,input_tokens,output_tokens\n{},{},10,1000,200\n"
    theirs = read_traffic(
        write(tmp_path / "a.csv", hour.format("2026-10-01T09:00+08:00", "2026-10-01T10:00+08:00")), 3600.0
    )
    utc = read_traffic(write(tmp_path / "b.csv", hour.format("2026-10-01T01:00Z", "2026-10-01T02:00Z")), 3600.0)
    assert theirs.start_s == utc.start_s == (3 * 24 + 1) * 3600  # a Thursday
    report = {"data": [{"starting_at": "2026-10-01T09:00:00+08:00", "ending_at": "2026-10-01T10:00:00+08:00",
                        "results": [{"uncached_input_tokens": 1000, "output_tokens": 200}]}]}  # fmt: skip
    assert read_traffic(write(tmp_path / "c.json", json.dumps(report)), 3600.0).start_s == utc.start_s


@pytest.mark.parametrize("mark", [";", "\t"])
def test_exports_that_a_spreadsheet_saved_anew_are_read(tmp_path: Path, mark: str) -> None:
    rows = ["Date,Slug,Requests,Prompt Tokens,Completion Tokens", "2026-10-02,a/b,10,1000,100", "2026-10-01,a/b,5,9,1"]
    plain = read_traffic(write(tmp_path / "a.csv", "\n".join(rows) + "\n"), 60.0)
    saved = "\ufeff" + "\r\n".join(row.replace(",", mark) for row in rows) + "\r\n"
    assert totals(read_traffic(write(tmp_path / "b.csv", saved), 60.0)) == totals(plain)
    rates = f"t_s{mark}rate\n0{mark}1.5\n60{mark}2.5\n".replace(".", "," if mark == ";" else ".")
    assert read_traffic(write(tmp_path / "c.csv", rates), 60.0).requests == pytest.approx([90.0, 150.0])
