"""The server's own figures, read from pages in the formats that engines write."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pages import serve_pages
from rackrate.engines import vllm
from rackrate.engines.known import engine_of_label
from rackrate.measurement.http import Client
from rackrate.measurement.server_side import ServerSide, find_server_side, read_metrics
from rackrate.measurement.target import Timeouts, parse_url

VLLM = """
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 7.0
vllm:num_requests_running{engine="1",model_name="m"} 5.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.75
vllm:generation_tokens_total{engine="0",model_name="a } b"} 1.5e+03
vllm:generation_tokens_created{engine="0",model_name="m"} 1.7e+09
vllm:num_preemptions_total{engine="0",model_name="m"} 0.0
"""
OLD_VLLM = 'vllm:gpu_cache_usage_perc{model_name="m"} 0.5\n'
LLAMA = "llamacpp:tokens_predicted_total 42\nllamacpp:requests_processing 3\nllamacpp:requests_deferred 0\n"
TGI = 'tgi_request_generated_tokens_bucket{le="1"} 3\ntgi_request_generated_tokens_sum 99\ntgi_queue_size 2\n'


RANKS = "".join(
    f'sglang:{name}{{dp_rank="{dp}",engine_type="unified",model_name="m",moe_ep_rank="0",pp_rank="{pp}",'
    f'tp_rank="{tp}"}} {value}\n'
    for dp in (0, 1)
    for tp in range(4)
    for pp in (0, 1)
    for name, value in (("num_running_reqs", 4 + dp), ("num_queue_reqs", 0), ("token_usage", 0.25 + dp / 2))
)
"""As SGLang with metrics of all schedulers on writes them: ranks have the same requests, replicas their own."""
PRIORITIES = """
sglang:num_queue_reqs{model_name="m",priority="",tp_rank="0"} 7.0
sglang:num_queue_reqs{model_name="m",priority="1",tp_rank="0"} 5.0
sglang:num_queue_reqs{model_name="m",priority="2",tp_rank="0"} 2.0
sglang:generation_tokens_total{is_streaming="true",model_name="m",priority="1"} 100.0
sglang:generation_tokens_total{is_streaming="false",model_name="m",priority="1"} 30.0
sglang:generation_tokens_total{is_streaming="true",model_name="m",priority="2"} 50.0
"""
OF_RAY = """
ray_vllm_num_requests_running{Version="2.54",WorkerId="a",engine="0",model_name="m"} 3.0
ray_vllm_num_requests_running{Version="2.54",WorkerId="b",engine="0",model_name="m"} 4.0
ray_vllm_generation_tokens_total{WorkerId="a",engine="0",model_name="m"} 10.0
"""
TRTLLM = """
trtllm_num_requests_running{engine_type="trtllm",model_name="m"} 5.0
trtllm_num_requests_waiting{engine_type="trtllm",model_name="m"} 1.0
trtllm_kv_cache_utilization{engine_type="trtllm",model_name="m"} 0.5
trtllm_generation_tokens_total{engine_type="trtllm",model_name="m"} 90.0
"""
LMDEPLOY = """
lmdeploy:num_requests_running{engine="0",model_name="m"} 2.0
lmdeploy:num_requests_waiting{engine="0",model_name="m"} 0.0
lmdeploy:gpu_cache_usage_perc{engine="0",model_name="m"} 0.125
lmdeploy:generation_tokens_total{engine="0",model_name="m"} 12.0
"""
DYNAMO = """
dynamo_frontend_inflight_requests{model="m"} 8
dynamo_frontend_queued_requests{model="m"} 3
dynamo_frontend_output_sequence_tokens_bucket{model="m",le="64"} 3
dynamo_frontend_output_sequence_tokens_sum{model="m"} 640
"""


@pytest.mark.parametrize(
    ("engine", "page", "expected"),
    [
        ("SGLang", RANKS, {"running": 9.0, "waiting": 0.0, "kv_use": 0.75}),
        ("SGLang", PRIORITIES, {"waiting": 7.0, "output_tokens": 180.0}),
        ("SGLang", "sglang_num_running_reqs 3\n", {"running": 3.0}),
        ("vLLM", OF_RAY, {"running": 7.0, "output_tokens": 10.0}),
        ("TensorRT-LLM", TRTLLM, {"running": 5.0, "waiting": 1.0, "kv_use": 0.5, "output_tokens": 90.0}),
        ("LMDeploy", LMDEPLOY, {"running": 2.0, "waiting": 0.0, "kv_use": 0.125, "output_tokens": 12.0}),
        ("Dynamo", DYNAMO, {"running": 8.0, "output_tokens": 640.0}),
        ("vLLM", OLD_VLLM, {"kv_use": 0.5}),
        ("llama.cpp", LLAMA, {"output_tokens": 42.0, "running": 3.0, "waiting": 0.0}),
        ("Text Generation Inference", TGI, {"output_tokens": 99.0, "waiting": 2.0}),
        ("SGLang", VLLM, None),
        ("SGLang", "<html>not found</html>", None),
        ("vLLM", "vllm:num_requests_running NaNsense\n", None),
    ],
)
def test_pages_are_read_by_our_names(engine: str, page: str, expected: dict[str, float] | None) -> None:
    spec = engine_of_label(engine)
    assert spec is not None
    assert read_metrics(page, spec.metrics) == expected


def test_samples_of_several_engines_are_summed_and_other_names_left_alone() -> None:
    found = read_metrics(VLLM, vllm.SPEC.metrics)
    assert found is not None
    assert found["running"] == 12.0
    assert found["preemptions"] == 0.0
    assert found["kv_use"] == 0.75
    assert found["output_tokens"] == 1500.0


def found(label: str, pages: dict[str, Any]) -> tuple[ServerSide | None, list[str]]:
    """The reader of a server with these pages that runs call so, and what was noted."""
    notes: list[str] = []

    async def run(url: str) -> ServerSide | None:
        async with Client(parse_url(url), None, Timeouts(5, 5, 5)) as client:
            return await find_server_side(client, label, notes.append)

    with serve_pages(pages) as url:
        return asyncio.run(run(url)), notes


def test_names_that_nobody_knows_are_noted() -> None:
    reader, notes = found("unknown engine", {"/metrics": "# HELP\nmine:running 3\nprocess_cpu_seconds_total 4\n"})
    assert reader is None
    (note,) = notes
    assert "begin with mine:" in note
    assert "process_" not in note


@pytest.mark.parametrize(
    ("label", "pages"),
    [
        ("TensorRT-LLM", {"/metrics": "[]", "/prometheus/metrics": TRTLLM}),
        # a router before the engine, and an engine that is not the one that the list of models names
        ("unknown engine", {"/metrics": LMDEPLOY}),
        ("SGLang", {"/metrics": OF_RAY}),
    ],
)
def test_the_page_of_another_engine_is_read(label: str, pages: dict[str, Any]) -> None:
    reader, notes = found(label, pages)
    assert reader is not None
    assert notes == []


def test_a_server_without_metrics_is_no_matter() -> None:
    assert found("unknown engine", {}) == (None, [])
