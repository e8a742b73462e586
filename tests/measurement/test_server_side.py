"""The server's own figures, read from pages in the formats that engines write."""

from __future__ import annotations

import pytest

from rackrate.engines import vllm
from rackrate.engines.known import engine_of_label
from rackrate.measurement.server_side import read_metrics

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


@pytest.mark.parametrize(
    ("engine", "page", "expected"),
    [
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
