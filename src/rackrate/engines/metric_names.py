"""What engines call their figures in /metrics. The first name that is there counts; labels are summed over."""

from __future__ import annotations

METRIC_NAMES: dict[str, dict[str, tuple[str, ...]]] = {
    # llama.cpp's server, `--metrics`; its prompt tokens leave out cached ones
    "llama.cpp": {
        "output_tokens": ("llamacpp:tokens_predicted_total",),
        "running": ("llamacpp:requests_processing",),
        "waiting": ("llamacpp:requests_deferred",),
    },
    # vllm/v1/metrics/loggers.py; the cache gauge was renamed in 0.10
    "vLLM": {
        "output_tokens": ("vllm:generation_tokens_total",),
        "running": ("vllm:num_requests_running",),
        "waiting": ("vllm:num_requests_waiting",),
        "kv_use": ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
        "preemptions": ("vllm:num_preemptions_total",),
    },
    # sglang metrics_collector.py, `--enable-metrics`
    "SGLang": {
        "output_tokens": ("sglang:generation_tokens_total",),
        "running": ("sglang:num_running_reqs",),
        "waiting": ("sglang:num_queue_reqs",),
        "kv_use": ("sglang:token_usage",),
        "preemptions": ("sglang:num_retracted_requests_total", "sglang:num_retracted_reqs_total"),
    },
    # engines/launch/naive_server.py
    "naive transformers": {
        "output_tokens": ("naive:generation_tokens_total",),
        "running": ("naive:requests_running",),
        "waiting": ("naive:requests_waiting",),
    },
    # text-generation-inference router/src; token counts are histograms
    "Text Generation Inference": {
        "output_tokens": ("tgi_request_generated_tokens_sum",),
        "running": ("tgi_batch_current_size",),
        "waiting": ("tgi_queue_size",),
    },
}
