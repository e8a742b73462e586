"""Runs side by side: ratios and prices against arithmetic on what servers of known speed served."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from rackrate.app.context import Context, Provenance
from rackrate.app.side_by_side import SideBySideRequest, side_by_side
from rackrate.catalog.load import load_catalog
from rackrate.metrics.summary import Quantiles
from rackrate.report.charts import comparison_chart
from rackrate.report.comparison import Compared, comparison_view, side_by_side_view
from rackrate.report.render import render
from rackrate.runs.records import Engine, ServedModel, WorkloadFacts
from rackrate.schemas.costs import DescribedMachine, LevelView, RequestCounts, RunProvenance, RunSummary, SaturationView
from rackrate.schemas.root import made
from scripted_server import ScriptedServer


def run_view(engine: str, rates: dict[int, float], caveats: Sequence[tuple[str, ...]] = ()) -> RunSummary:
    """A run with only what a comparison reads."""
    levels = [
        made(
            LevelView, index=number, kind="closed", concurrency=concurrency, output_tok_s=rate, requests=9, failed={},
            output_tok_s_half_width=1.0, ttft=Quantiles.of([0.1, 0.2]), tpot=Quantiles.of([0.01, 0.02]),
            caveats=caveats[number] if caveats else (), **NOT_KNOWN,
        )
        for number, (concurrency, rate) in enumerate(rates.items())
    ]  # fmt: skip
    best = max(levels, key=lambda level: level.output_tok_s or 0.0)
    facts = made(
        RunProvenance, origin="measured", created="2026-11-23", command="", rackrate="1", python="3", imported=None,
        engine=Engine(name=engine, version="1", url=None),
        machine=DescribedMachine(origin="detected", description="2 x CPU"),
        model=ServedModel(requested="m", weight_format="bf16"),
        workload=WorkloadFacts(input_tokens=64, output_tokens=64, endpoint="chat", seed=0),
    )  # fmt: skip
    most = SaturationView(best.index, best.concurrency, best.output_tok_s or 0.0, "saturated", None, False, None, ())
    return RunSummary("complete", None, facts, RequestCounts(9, {}, 0), levels, most, {}, {})


NOT_KNOWN: dict[str, None] = dict.fromkeys((
    "window_start_s", "window_end_s", "input_tok_s", "cached_tok_s", "request_s", "mean_input_tokens",
    "mean_cached_tokens", "mean_output_tokens", "tokens_per_chunk", "itl", "e2e",
))  # fmt: skip


def test_ratios_are_to_the_naive_loop_whatever_its_place() -> None:
    runs = [
        ("vLLM", {1: 60.0, 64: 660.0}),
        ("naive transformers", {1: 33.0, 4: 32.0}),
        ("llama.cpp", {1: 95.0, 8: 198.0}),
    ]
    view = comparison_view([Compared(name, name, run_view(name, rates), None) for name, rates in runs])
    assert view.baseline == "naive transformers"
    assert [row.ratio for row in view.rows] == [20.0, 1.0, 6.0]
    assert [row.concurrency for row in view.rows] == [64, 1, 8]


def test_without_it_the_slowest_is_the_baseline_and_failures_are_named() -> None:
    runs = [Compared(n, n, run_view(n, {1: r}), None) for n, r in (("a", 10.0), ("b", 5.0))]
    view = comparison_view(runs, [("c", "not installed")])
    assert view.baseline == "b"
    assert "c was not measured: not installed" in render(view, "markdown")


def test_other_load_is_said() -> None:
    view = comparison_view([Compared("a", "a", run_view("a", {1: 10.0}), None, other_cpu_share=0.4)])
    assert "other processes took up to 40 % of the CPUs" in render(view, "markdown")


def test_what_other_processes_took_is_read_from_the_run(cpu_run: Path) -> None:
    context = Context(load_catalog, Provenance("test", "0", "3"), Path("/nonexistent"))
    view = side_by_side_view(side_by_side(SideBySideRequest((cpu_run,)), context))
    assert [row.other_cpu_share for row in view.rows] == [0.01]


def test_a_figure_that_something_stands_against_is_marked_wherever_it_is_shown() -> None:
    # batch-1: slow and right
    run = run_view("a", {1: 10.0, 4: 31.0, 8: 70.0}, [("batch-1",), ("finite-burst",), ()])
    view = comparison_view([Compared("a", "a", run, None)])
    assert "| a | 10.0 | 31.0 \\* | 70.0 |" in render(view, "markdown")
    assert "must not be taken for the engine's own" in render(view, "markdown")
    page = render(view, "html")
    assert ">31.0 *</td>" in page
    points = comparison_chart(view)["data"]["values"]
    assert [point["doubtful"] for point in points] == [False, True, False]
    sound = comparison_view([Compared("a", "a", run_view("a", {1: 10.0}), None)])
    assert "*" not in render(sound, "markdown")


def test_names_from_outside_are_escaped() -> None:
    view = comparison_view([Compared("<script>alert(1)</script>", "x", run_view("<b>", {1: 10.0}), None)])
    page = render(view, "html")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def rackrate(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rackrate", *words], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.timed
def test_two_servers_of_known_speed_measured_and_compared(tmp_path: Path) -> None:
    """One gives a token every 10 ms, the other every 20 ms: half as fast, twice as dear."""
    directories: list[str] = []
    for name, gap_s in (("fast", 0.010), ("slow", 0.020)):
        with ScriptedServer(ttft_s=gap_s, itl_s=gap_s) as server:
            out = tmp_path / name
            result = rackrate(
                "measure", "--url", server.url, "--input-tokens", "32", "--output-tokens", "40", "-c", "4",
                "--seconds", "3", "--max-seconds", "4", "--warmup", "1", "--no-prefill", "--on", "aws/g5.xlarge",
                "--out", str(out),
            )  # fmt: skip
            assert result.returncode == 0, result.stderr
            directories.append(str(out))
    page = tmp_path / "page.html"
    result = rackrate("side-by-side", *directories, "--usd-per-hour", "3.6", "--json", "--out", str(page))
    assert result.returncode == 0, result.stderr
    view = json.loads(result.stdout)
    fast, slow = view["rows"]
    assert fast["ratio"] == pytest.approx(2, rel=0.25)
    assert slow["ratio"] == 1
    for row in (fast, slow):
        [price] = row["prices"]
        share = 32 / 40  # input tokens for each output token, about
        assert price["blended_usd"] == pytest.approx(3.6 / 3600 / (row["output_tok_s"] * (1 + share)) * 1e6, rel=0.15)
    assert view["machine"]
    assert "vegaEmbed" in page.read_text(encoding="utf-8")
