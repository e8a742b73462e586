"""Real results of other load generators against what the server that they loaded wrote down, and every damage to them.

data/ has what each tool wrote about a scripted server (50 ms to the first token, 10 ms between tokens, 8 tokens), cut
down by tools/trim_imports.py, and beside it that server's own log.
"""

from __future__ import annotations

import copy
import csv
import importlib
import json
import re
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rackrate.errors import RunError
from rackrate.importers import detect
from rackrate.importers.build import Stated, build
from rackrate.importers.detect import read_results
from rackrate.importers.results import ForeignRequest, ImportedRun
from rackrate.metrics.saturation import saturation
from rackrate.metrics.summary import LevelSummary, summarise
from rackrate.runs.records import Machine, Run

DATA = Path(__file__).parent / "data"
TOKENS, TTFT_S, ITL_S = 8, 0.05, 0.01
STATED = Stated(Machine(origin="unknown"), None, None, None, "rackrate import", "0", "3", "2026-11-23T07:00:00+00:00")

REQUESTS = {
    "vllm-detailed": ("vllm-detailed.json", "vllm bench serve", 2, None),
    "guidellm": ("guidellm.json", "guidellm", 2, None),
    "guidellm-0.3": ("guidellm-0.3.json", "guidellm", 2, None),
    "guidellm-poisson": ("guidellm-poisson.json", "guidellm", None, 20.0),
    "aiperf": ("aiperf/profile_export.jsonl", "aiperf", 2, None),
    "aiperf-poisson": ("aiperf-poisson/profile_export.jsonl", "aiperf", None, 20.0),
    "genai": ("genai/profile_export.json", "genai-perf", 2, None),
    "genai-usage": ("genai-usage/profile_export.json", "genai-perf", 2, None),
    "inference-perf-2": ("inference-perf-2/per_request_lifecycle_metrics.json", "inference-perf", 2, None),
}
"""Files with requests: the file, its tool, and the load that was asked for."""
ALL = sorted({file for file, *_ in REQUESTS.values()} | {
        "vllm-summary.json", "vllm-one.json", "sglang.jsonl", "sglang-detailed.jsonl",
        "inference-perf/per_request_lifecycle_metrics.json", "inference-perf/stage_0_lifecycle_metrics.json",
    })  # fmt: skip


def load(name: str) -> Any:
    text = (DATA / name).read_text()
    return [json.loads(line) for line in text.splitlines()] if name.endswith("jsonl") else json.loads(text)


def truth_of(name: str, count: int) -> list[dict[str, Any]]:
    """What the server wrote down of the requests that counted: a tool's probes and warm-ups came before."""
    lines = (DATA / f"{name}.truth.jsonl").read_text().splitlines()[1:]
    rows = [cast("dict[str, Any]", json.loads(line)) for line in lines]
    rows = sorted((row for row in rows if row["streamed"]), key=lambda row: row["read_s"])
    return rows[-count:]


def imported(path: Path) -> tuple[ImportedRun, Run, list[LevelSummary]]:
    results = read_results(path)
    run = build(results, STATED)
    return results[0], run, summarise(run)


@pytest.mark.parametrize("name", sorted(REQUESTS))
def test_requests_agree_with_what_the_server_wrote_down(name: str) -> None:
    file, tool, concurrency, rate = REQUESTS[name]
    foreign, run, [level] = imported(DATA / file)
    assert foreign.tool == tool
    assert (level.concurrency, level.rate) == (concurrency, rate)
    assert run.header.mode == "imported"
    sent = sorted(run.requests, key=lambda item: item.sent_s)
    truth = truth_of(name, len(sent))
    assert len(sent) in {24, 40}
    assert all(row["tokens"] == TOKENS for row in truth)
    # how far apart the tool sent requests is how far apart the server read them, but for the tool's own delays
    apart = np.array([sending.sent_s for sending in sent]) - np.array([row["read_s"] for row in truth])
    assert np.ptp(apart) < 0.1
    ttft = np.array([cast("float", sending.first_token_s) - sending.sent_s for sending in sent])
    served = np.array([row["writes_s"][0] - row["read_s"] for row in truth])
    assert (ttft > served - 1e-6).all(), "no tool can have a token before it was written"
    assert np.median(ttft - served) < 0.02
    done = np.array([sending.done_s - cast("float", sending.first_token_s) for sending in sent])
    assert np.median(done) == pytest.approx((TOKENS - 1) * ITL_S, abs=0.01)
    if name != "genai":  # which asked for no usage
        assert [sending.output_tokens for sending in sent] == [TOKENS] * len(sent)
    if sent[0].chunk_s:
        assert all(len(sending.chunk_s) == TOKENS for sending in sent)
        assert all(
            sending.first_token_s == sending.chunk_s[0] <= sending.chunk_s[-1] <= sending.done_s for sending in sent
        )


@pytest.mark.parametrize("name", ["vllm-detailed", "guidellm", "aiperf", "genai-usage"])
def test_throughput_is_the_servers(name: str) -> None:
    _, _, [level] = imported(DATA / REQUESTS[name][0])
    rows = truth_of(name, 24)
    writes = np.sort(np.concatenate([row["writes_s"] for row in rows]))
    start = rows[0]["read_s"] + cast("float", level.window_start_s)
    stop = rows[0]["read_s"] + cast("float", level.window_end_s)
    true = ((writes >= start) & (writes < stop)).sum() / (stop - start)
    assert level.output_tok_s == pytest.approx(true, rel=0.05)


def test_times_begin_at_zero_and_levels_follow_each_other() -> None:
    results = [*read_results(DATA / "vllm-detailed.json"), *read_results(DATA / "vllm-one.json")]
    run = build(results, STATED)
    assert [level.concurrency for level in run.header.levels] == [2, 1]
    assert min(request.due_s for request in run.requests) == 0.0
    assert run.header.levels[1].started_s == run.header.levels[0].ended_s
    assert run.header.imported is not None
    assert run.header.imported.files == ("vllm-detailed.json", "vllm-one.json")


def test_totals_are_kept_as_they_are_and_what_is_missing_stays_unknown() -> None:
    said = load("vllm-summary.json")
    _, run, [level] = imported(DATA / "vllm-summary.json")
    assert run.requests == []
    assert level.output_tok_s == said["output_throughput"]
    assert level.request_s == said["request_throughput"]
    assert level.ttft is not None
    assert level.ttft.p95 == pytest.approx(said["p95_ttft_ms"] / 1000)
    assert level.e2e is not None
    assert level.e2e.p99 == pytest.approx(said["p99_e2el_ms"] / 1000)
    assert level.mean_in_flight == pytest.approx(said["request_throughput"] * said["mean_e2el_ms"] / 1000)
    assert (level.window_s, level.output_tok_s_half_width, level.cached_tok_s) == (None, None, None)
    assert "totals-only" in level.caveats
    assert {"client-bound", "contended", "cold", "overloaded"} <= set(level.unknown)


def test_a_percentile_that_was_not_asked_for_is_none() -> None:
    _, _, [level] = imported(DATA / "vllm-one.json")
    assert level.ttft is not None
    assert level.ttft.p99 is not None
    assert level.ttft.p95 is None
    assert level.e2e is None


@pytest.mark.parametrize(
    ("name", "detail"), [("aiperf", "aiperf/profile_export.jsonl"), ("genai", "genai/profile_export.json")]
)
def test_sums_are_left_for_the_requests_beside_them(name: str, detail: str, tmp_path: Path) -> None:
    sums = f"{name}/profile_export_{'aiperf' if name == 'aiperf' else 'genai_perf'}.json"
    whole, _, [by_requests] = imported(DATA / sums)
    assert whole.layout == "requests"
    assert by_requests == imported(DATA / detail)[2][0]
    alone = tmp_path / Path(sums).name
    alone.write_bytes((DATA / sums).read_bytes())
    foreign, run, [by_sums] = imported(alone)
    assert (foreign.layout, run.requests) == ("totals", [])
    assert by_sums.ttft is not None
    assert by_requests.ttft is not None
    assert by_sums.concurrency == by_requests.concurrency == 2
    # the tool's figure is of all requests, ours of those of the steady window
    assert by_sums.ttft.p50 == pytest.approx(cast("float", by_requests.ttft.p50), abs=0.005)
    assert by_sums.output_tok_s == pytest.approx(cast("float", by_requests.output_tok_s), rel=0.15)


def test_aiperfs_own_sums_follow_from_its_requests() -> None:
    said = load("aiperf/profile_export_aiperf.json")
    requests = read_results(DATA / "aiperf/profile_export.jsonl")[0].levels[0].requests
    ttft = np.mean([cast("float", request.first_token_s) - request.sent_s for request in requests]) * 1000
    assert ttft == pytest.approx(said["time_to_first_token"]["avg"], rel=1e-4)
    latency = np.mean([request.done_s - request.sent_s for request in requests]) * 1000
    assert latency == pytest.approx(said["request_latency"]["avg"], rel=5e-3)


def test_vllms_own_sums_follow_from_its_requests() -> None:
    said = load("vllm-detailed.json")
    requests = read_results(DATA / "vllm-detailed.json")[0].levels[0].requests
    tpot = np.mean([(request.chunk_s[-1] - request.chunk_s[0]) / (TOKENS - 1) for request in requests]) * 1000
    # its own counts the role and the end, two gaps of next to nothing around the same eight tokens
    assert tpot == pytest.approx(said["mean_tpot_ms"], rel=0.03)
    first = np.mean([cast("float", request.first_token_s) - request.sent_s for request in requests]) * 1000
    assert said["mean_ttft_ms"] < first < said["mean_ttft_ms"] + 1


# what must not be priced
def changed(tmp_path: Path, name: str, **values: Any) -> Path:
    path = tmp_path / Path(name).name
    path.write_text(json.dumps(load(name) | values))
    return path


def caveats(path: Path) -> set[str]:
    return set(imported(path)[2][0].caveats)


def test_one_at_a_time_is_batch_1() -> None:
    assert "batch-1" in caveats(DATA / "vllm-one.json")


def test_all_at_once_is_a_finite_burst(tmp_path: Path) -> None:
    for name in ("vllm-detailed.json", "vllm-one.json"):
        assert "finite-burst" in caveats(
            changed(
                tmp_path,
                name,
                max_concurrency=None,
                start_times=[1000.0 + at / 1e4 for at in range(24)],
                request_rate="inf",
            )
        )
    assert "finite-burst" not in caveats(DATA / "vllm-detailed.json")


def test_failures_count(tmp_path: Path) -> None:
    assert "errors" not in caveats(DATA / "vllm-one.json")
    assert "errors" in caveats(changed(tmp_path, "vllm-one.json", failed=1))
    detailed = load("vllm-detailed.json")
    errors = ["Traceback\nServerDisconnectedError", *detailed["errors"][1:]]
    path = changed(tmp_path, "vllm-detailed.json", errors=errors, completed=23)
    assert "errors" in caveats(path)
    assert imported(path)[2][0].failed == {"unnamed": 1}
    assert {request.detail for request in imported(path)[1].requests} == {None, "ServerDisconnectedError"}


def test_no_usage_is_said() -> None:
    assert "no-usage" in caveats(DATA / "genai/profile_export.json")
    assert "no-usage" not in caveats(DATA / "genai-usage/profile_export.json")


def test_tokens_of_the_tools_own_tokenizer_are_named(tmp_path: Path) -> None:
    lines = load("aiperf/profile_export.jsonl")
    assert "retokenised" not in caveats(DATA / "aiperf/profile_export.jsonl")
    for line in lines:
        line["metrics"] = {key: value for key, value in line["metrics"].items() if not key.startswith("usage")}
    path = tmp_path / "other.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines))
    assert "retokenised" in caveats(path)


def test_a_sample_of_guidellms_requests_is_no_basis(tmp_path: Path) -> None:
    report = load("guidellm.json")
    report["benchmarks"][0]["requests"]["successful"] = report["benchmarks"][0]["requests"]["successful"][:5]
    path = tmp_path / "sampled.json"
    path.write_text(json.dumps(report))
    _, run, [level] = imported(path)
    assert "totals-only" in level.caveats
    assert run.requests == []
    assert level.output_tok_s == report["benchmarks"][0]["metrics"]["output_tokens_per_second"]["successful"]["mean"]


def test_an_open_loops_waiting_in_the_tool_counts() -> None:
    lines = load("aiperf-poisson/profile_export.jsonl")
    about = lines[0]["metadata"]
    waited_s = (about["request_start_ns"] - about["credit_issued_ns"]) / 1e9
    requests = read_results(DATA / "aiperf-poisson/profile_export.jsonl")[0].levels[0].requests
    assert waited_s > 0
    assert requests[0].sent_s - requests[0].due_s == pytest.approx(waited_s, abs=1e-6)


def test_old_detailed_results_of_vllm_have_no_place_in_time(tmp_path: Path) -> None:
    values = load("vllm-detailed.json")
    for name in ("start_times", "latencies", "queue_times"):
        values.pop(name, None)
    path = tmp_path / "old.json"
    path.write_text(json.dumps(values))
    _, run, [level] = imported(path)
    assert run.requests == []
    assert "totals-only" in level.caveats
    assert level.ttft is not None
    assert level.ttft.count == 24
    now = imported(DATA / "vllm-detailed.json")[1]
    spread = [cast("float", request.first_token_s) - request.sent_s for request in now.requests]
    assert level.ttft.p90 == pytest.approx(np.percentile(spread, 90))


def test_results_that_were_appended_are_levels(tmp_path: Path) -> None:
    path = tmp_path / "appended.json"
    path.write_text((DATA / "vllm-one.json").read_text().strip() + "\n" + (DATA / "vllm-detailed.json").read_text())
    assert [level.concurrency for level in imported(path)[2]] == [1, 2]


# vLLM: ramps, traces, sweeps, figures that are none
def vllm_sent(tmp_path: Path, starts: list[float], **facts: Any) -> LevelSummary:
    """A result of vLLM of as many answers as starts, 0.24 s each."""
    said = load("vllm-detailed.json")
    for key in ("ttfts", "itls", "input_lens", "output_lens", "errors", "generated_texts", "latencies"):
        if key in said:
            said[key] = [said[key][0]] * len(starts)
    said |= {"start_times": starts, "num_prompts": len(starts), "completed": len(starts), "max_concurrency": None}
    said |= {"request_rate": "inf", "duration": starts[-1] - starts[0] + 0.24, **facts}
    path = tmp_path / "sent.json"
    path.write_text(json.dumps(said))
    (level,) = imported(path)[2]
    return level


def test_a_ramp_of_vllm_is_an_open_loop(tmp_path: Path) -> None:
    rates = np.linspace(1.0, 5.0, 14)
    starts = [0.0, *np.cumsum(1 / rates).tolist()]
    ramp = {"ramp_up_strategy": "linear", "ramp_up_start_rps": 1, "ramp_up_end_rps": 5}
    level = vllm_sent(tmp_path, starts, **ramp)
    assert (level.kind, level.concurrency) == ("open", None)
    assert level.rate == pytest.approx(14 / starts[-1])
    assert level.arrivals == f"ramp:1-5@{starts[-1]:.3g}"
    # a limit does not make it closed
    assert vllm_sent(tmp_path, starts, **ramp, max_concurrency=4).rate == pytest.approx(14 / starts[-1])


def test_a_ramp_without_start_times_takes_as_long_as_its_rates(tmp_path: Path) -> None:
    ramp = {"ramp_up_strategy": "exponential", "ramp_up_start_rps": 2, "ramp_up_end_rps": 8}
    (level,) = imported(changed(tmp_path, "vllm-summary.json", request_rate="inf", max_concurrency=None, **ramp))[2]
    number = load("vllm-summary.json")["num_prompts"]
    taken = sum(1 / (2 * 4 ** (at / (number - 1))) for at in range(number - 1))
    assert level.rate == pytest.approx((number - 1) / taken)
    nonsense = {**ramp, "ramp_up_start_rps": 0}
    assert "is no load" in refusal(changed(tmp_path, "vllm-summary.json", request_rate="inf", **nonsense))


def test_starts_far_apart_were_not_sent_at_once(tmp_path: Path) -> None:
    level = vllm_sent(tmp_path, [0.0, 0.5, 2.0, 4.0])
    assert (level.kind, level.arrivals) == ("open", "trace")
    assert level.rate == pytest.approx(0.75)
    level = vllm_sent(tmp_path, [0.0, 0.001, 0.002, 0.003])
    assert (level.kind, level.concurrency) == ("closed", 4)


def swept(tmp_path: Path, *settings: dict[str, Any]) -> list[dict[str, Any]]:
    """A list of results as `vllm bench sweep` writes it: each combination's settings among the figures."""
    return [{**load("vllm-summary.json"), "request_rate": "inf", "run_number": 0, **setting} for setting in settings]


def test_a_sweep_of_vllm_is_levels_of_one_server(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    same = {"max_num_seqs": 64, "random_input_len": 16}
    path.write_text(json.dumps(swept(tmp_path, *({**same, "max_concurrency": number} for number in (2, 4)))))
    foreign, run, levels = imported(path)
    assert foreign.tool == "vllm bench serve"
    assert [level.concurrency for level in levels] == [2, 4]
    assert run.header.engine.settings == {"max_num_seqs": "64"}


def test_a_sweep_over_settings_of_the_server_is_no_run(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    path.write_text(json.dumps(swept(tmp_path, {"max_num_seqs": 64}, {"max_num_seqs": 128})))
    with pytest.raises(RunError, match=r"servers with other settings \(max_num_seqs\)"):
        imported(path)


def test_the_table_of_a_sweep_is_read(tmp_path: Path) -> None:
    rows = swept(tmp_path, {"max_concurrency": 2}, {"max_concurrency": 4, "mean_tpot_ms": ""})
    path = tmp_path / "summary.csv"
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["", *rows[0]])
        table.writerows(
            [number, *("" if cell is None else cell for cell in row.values())] for number, row in enumerate(rows)
        )
    levels = imported(path)[2]
    assert [level.concurrency for level in levels] == [2, 4]
    assert levels[0].output_tok_s == rows[0]["output_throughput"]
    assert levels[1].tpot is not None
    assert levels[1].tpot.mean is None
    assert levels[1].ttft is not None
    path.write_bytes(b"request_throughput,x\n1,\xff\xfe\n")
    assert "is not text" in refusal(path)
    path.write_text("a,b\n1," + "x" * 200_000)
    assert "field larger than" in refusal(path)


def test_figures_that_are_none_are_unknown(tmp_path: Path) -> None:
    said = (DATA / "vllm-summary.json").read_text()
    names = {name for name in load("vllm-summary.json") if name.endswith(("_tpot_ms", "_itl_ms"))}
    for name in names:
        said = re.sub(rf'"{name}":[^,}}]+', f'"{name}":NaN', said)
    path = tmp_path / "none.json"
    path.write_text(said)
    (level,) = imported(path)[2]
    assert len(names) > 4
    assert (level.tpot, level.itl) == (None, None)
    assert level.ttft is not None


# SGLang
def test_sglangs_sums_are_kept() -> None:
    said = load("sglang.jsonl")[0]
    foreign, run, [level] = imported(DATA / "sglang.jsonl")
    assert foreign.tool == "SGLang bench_serving"
    assert run.header.engine.name == "SGLang"
    assert (run.header.workload.input_tokens, run.header.workload.output_tokens) == (16, 8)
    assert (level.concurrency, level.requests) == (2, said["completed"])
    assert level.output_tok_s == said["output_throughput"]
    assert level.input_tok_s == pytest.approx(said["input_throughput"])
    assert level.e2e is not None
    assert level.e2e.p95 == pytest.approx(said["p95_e2e_latency_ms"] / 1000)
    assert level.tpot is not None
    assert level.tpot.p50 == pytest.approx(0.01, rel=0.1)
    assert level.mean_in_flight == said["concurrency"]
    assert {"totals-only"} <= set(level.caveats)
    assert {"errors", "cold", "unsteady"} <= set(level.unknown)


def test_sglangs_own_sums_follow_from_its_requests() -> None:
    said = load("sglang-detailed.jsonl")[0]
    _, _, [level] = imported(DATA / "sglang-detailed.jsonl")
    assert (level.rate, level.arrivals, level.failed) == (20.0, "poisson", {})
    assert level.ttft is not None
    assert level.ttft.p99 == pytest.approx(said["p99_ttft_ms"] / 1000)
    assert level.tpot is not None
    assert level.tpot.mean == pytest.approx(said["mean_tpot_ms"] / 1000, rel=0.02)
    assert "errors" not in level.unknown


def test_sglang_failures_streams_and_bursts(tmp_path: Path) -> None:
    detailed = load("sglang-detailed.jsonl")[0]
    detailed["errors"][3], detailed["output_lens"][3] = "Service Unavailable: full", 0
    path = tmp_path / "failed.jsonl"
    path.write_text(json.dumps({**detailed, "completed": 23}))
    (level,) = imported(path)[2]
    assert level.failed == {"unnamed": 1}
    assert "errors" in level.caveats
    said = load("sglang.jsonl")[0]
    path.write_text(json.dumps({**said, "max_concurrency": None, "request_rate": float("inf")}))
    (level,) = imported(path)[2]
    assert (level.concurrency, "finite-burst" in level.caveats) == (24, True)
    whole = {name: 0.0 for name in said if name.endswith("_tpot_ms")}
    path.write_text(json.dumps({**said, **whole, "request_rate": "trace"}) + "\n")
    (level,) = imported(path)[2]
    assert (level.arrivals, level.rate) == ("trace", said["request_throughput"])
    assert (level.ttft, level.tpot, level.itl) == (None, None, None), "no time per token is known, and that is not 0"


# inference-perf
def test_the_stages_of_inference_perf_are_levels() -> None:
    foreign, run, levels = imported(DATA / "inference-perf/per_request_lifecycle_metrics.json")
    assert (foreign.tool, foreign.model, foreign.endpoint) == ("inference-perf", "scripted", "completions")
    assert [(level.kind, level.rate, level.requests) for level in levels] == [("open", 10.0, 30), ("open", 20.0, 60)]
    sent = sorted(run.requests, key=lambda item: item.sent_s)
    truth = truth_of("inference-perf", 90)
    ttft = np.array([cast("float", sending.first_token_s) - sending.sent_s for sending in sent])
    served = np.array([row["writes_s"][0] - row["read_s"] for row in truth])
    assert np.median(ttft - served) < 0.02
    assert [sending.output_tokens for sending in sent] == [TOKENS] * 90
    assert all(len(sending.chunk_s) == TOKENS for sending in sent)
    assert [sending.input_tokens for sending in sent] == [row["input_tokens"] for row in truth]


def test_a_stage_of_inference_perf_alone_is_sums() -> None:
    said = load("inference-perf/stage_1_lifecycle_metrics.json")
    _, run, [level] = imported(DATA / "inference-perf/stage_1_lifecycle_metrics.json")
    assert run.requests == []
    assert (level.rate, level.requests, level.failed) == (20.0, 60, {})
    assert level.output_tok_s == said["successes"]["throughput"]["output_tokens_per_sec"]
    assert level.ttft is not None
    assert level.ttft.p95 == said["successes"]["latency"]["time_to_first_token"]["p95"]
    assert (level.mean_output_tokens, level.mean_input_tokens) == (8.0, said["successes"]["prompt_tokens"]["mean"])


def test_the_sums_of_inference_perf_are_left_for_the_requests() -> None:
    _, run, levels = imported(DATA / "inference-perf-2/summary_lifecycle_metrics.json")
    assert (len(run.requests), [level.concurrency for level in levels]) == (24, [2])


def test_inference_perf_without_what_lies_beside(tmp_path: Path) -> None:
    path = tmp_path / "per_request_lifecycle_metrics.json"
    requests = load("inference-perf/per_request_lifecycle_metrics.json")
    for entry in requests[:5]:
        entry["error"] = {"error_type": "ClientError", "error_msg": "reset by peer"}
    for entry in requests[5:]:
        del entry["info"]["response_metrics"]["server_usage"]
    path.write_text(json.dumps(requests))
    foreign, run, [level] = imported(path)
    assert (level.concurrency or 0) > 1
    assert any("not beside this file" in note for note in foreign.notes)
    assert level.failed == {"unnamed": 5}
    assert {request.detail for request in run.requests if not request.ok} == {"ClientError: reset by peer"}
    assert "retokenised" in level.caveats
    (tmp_path / "stage_0_lifecycle_metrics.json").write_bytes(
        (DATA / "inference-perf/stage_0_lifecycle_metrics.json").read_bytes()
    )
    assert "its stages hold 30 requests, and it has 90" in refusal(path)


def test_inference_perf_until_0_3(tmp_path: Path) -> None:
    """One object for all that is known of an answer, and no usage."""
    path = tmp_path / "old.json"
    info = {"input_tokens": 20, "output_tokens": 3, "output_token_times": [1.05, 1.06, 1.07]}
    entry = {"start_time": 1.0, "end_time": 1.08, "request": "", "response": "", "info": info, "error": None}
    path.write_text(json.dumps([entry]))
    (request,) = imported(path)[1].requests
    assert (request.input_tokens, request.output_tokens, len(request.chunk_s)) == (20, 3, 3)


# files that cannot be read
def refusal(path: Path) -> str:
    with pytest.raises(RunError) as caught:
        imported(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


@pytest.mark.parametrize("name", ALL)
def test_a_file_that_was_cut_off_is_one_sentence(name: str, tmp_path: Path) -> None:
    whole = (DATA / name).read_bytes().rstrip()
    path = tmp_path / "cut"
    for share in (0.0, 0.001, 0.1, 0.5, 0.9, 0.999):
        path.write_bytes(whole[: int(len(whole) * share)])
        refusal(path)
    path.write_bytes(whole[:-1])
    refusal(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b"\x89PNG\r\n\x1a\n\x00", "not JSON"),
        (b"[]", "not a result of"),
        (b"[1, 2]", "not a result of"),
        (b"null", "not a result of"),
        (b"{}", "not a result of"),
        (b'{"benchmarks": []}', "not a result of"),
        (b'{"a": 1}\n{"b": 2}\n', "not a result of"),
        (b"ttft,tpot\n1,2\n", "not JSON"),
        (b'{"mean_ttft_ms": NaN, "x": ', "not JSON"),
        (b"[" * 100_000 + b"NaN", "not JSON"),
        (b'[{"request_throughput": 1}]', "not a result of"),
        (b'{"request_throughput": 1, "total_output_tokens": 1, "total_output_tokens_retokenized": 1}', "completed"),
        (b'[{"start_time": 1, "end_time": null, "info": {}, "error": null}]', "has no start_time or end_time"),
        (b'{"load_summary": {}, "successes": {}, "failures": {}}', "count is missing"),
        (b'{"benchmarks": [{"metrics": {}, "config": {}}]}', "has no strategy"),
        (b'{"benchmarks": [{"metrics": {}, "config": {"strategy": {"type_": "concurrent"}}}]}', "no request"),
        (b'{"request_throughput": 1, "total_output_tokens": 1, "mean_ttft_ms": 1}', "completed is missing"),
        (b'{"request_throughput": 1, "total_output_tokens": 1, "mean_ttft_ms": 1, "completed": 0}', "no request"),
    ],
)
def test_what_is_no_result_is_refused(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "foreign.json"
    path.write_bytes(content)
    assert says in refusal(path)


def test_a_missing_file_and_a_directory_are_refused(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "nothing.json")
    assert "is a directory" in refusal(tmp_path)


def test_two_tools_or_models_do_not_make_a_run(tmp_path: Path) -> None:
    mixed = [*read_results(DATA / "vllm-one.json"), *read_results(DATA / "guidellm.json")]
    with pytest.raises(RunError, match="is of guidellm"):
        build(mixed, STATED)
    other = read_results(changed(tmp_path, "vllm-one.json", model_id="another"))
    with pytest.raises(RunError, match="is of the model another"):
        build([*read_results(DATA / "vllm-one.json"), *other], STATED)


LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 10**30), st.floats(allow_nan=False), st.text(max_size=3),
    st.just([]), st.just({}), st.just([None]), st.just({"mean": "x"}),
)  # fmt: skip


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = [at] if at else []
    if isinstance(value, dict):
        for key, item in cast("dict[str, Any]", value).items():
            found += places(item, (*at, key))
    elif isinstance(value, list):
        for position, item in list(enumerate(cast("list[Any]", value)))[:2]:
            found += places(item, (*at, position))
    return found


WHOLE = {name: load(name) for name in ALL}
PLACES = {name: places(value) for name, value in WHOLE.items()}


@settings(max_examples=150)
@given(data=st.data())
def test_any_value_may_be_anything(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    name = data.draw(st.sampled_from(ALL))
    where = data.draw(st.sampled_from(PLACES[name]))
    values = copy.deepcopy(WHOLE[name])
    inner = values
    for key in where[:-1]:
        inner = inner[key]
    if data.draw(st.booleans()):
        inner[where[-1]] = data.draw(LEAVES)
    else:
        del inner[where[-1]]
    path = tmp_path_factory.mktemp("changed") / "changed.json"
    lines = cast("list[Any]", values) if isinstance(values, list) else [values]
    path.write_text("\n".join(json.dumps(line) for line in lines))
    try:
        _, run, levels = imported(path)
    except RunError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return
    saturation(levels)
    assert all(request.due_s <= request.sent_s <= request.done_s for request in run.requests)


@given(
    st.lists(st.tuples(st.floats(0, 1e9), st.floats(0, 100), st.floats(0, 100)), min_size=1, max_size=20),
)
def test_requests_keep_their_distances(times: list[tuple[float, float, float]]) -> None:
    requests = [ForeignRequest(at, at, at + time + two, at + time, (at + time,)) for at, time, two in times]
    shift = -min(request.due_s for request in requests)
    for request in requests:
        record = request.record(0, 0, shift, (None, None))
        assert record.done_s - record.sent_s == pytest.approx(request.done_s - request.sent_s, abs=1e-6)
        assert record.due_s >= 0


def test_a_new_importer_is_a_module_and_a_word_in_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tool that was made up for this test, in one file."""
    (tmp_path / "hammer.py").write_text(
        "from rackrate.importers.results import ForeignLevel, ForeignRequest, ImportedRun\n"
        "FILES = 'hammer (blows.json)'\n"
        "def read(file):\n"
        "    if 'blows' not in file.values:\n"
        "        return None\n"
        "    requests = [ForeignRequest(at, at, at + 1.0, None) for at in file.values['blows']]\n"
        "    return [ImportedRun('hammer', 'blows', [ForeignLevel(None, rate=1.0, requests=requests)], model='m')]\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    file = tmp_path / "blows.json"
    file.write_text('{"blows": [0.0, 1.0, 2.0]}', encoding="utf-8")
    with pytest.raises(RunError, match="is not a result of vLLM"):
        read_results(file)
    monkeypatch.setattr(detect, "IMPORTERS", [*detect.IMPORTERS, importlib.import_module("hammer")])
    (result,) = read_results(file)
    assert (result.tool, len(build([result], STATED).requests)) == ("hammer", 3)
    file.write_text("{}", encoding="utf-8")
    with pytest.raises(RunError, match=r"and hammer \(blows.json\)"):
        read_results(file)
