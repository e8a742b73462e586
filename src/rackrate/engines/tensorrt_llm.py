"""TensorRT-LLM, as published rows and plans know it; rackrate measures one by its URL as it does any other server."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rackrate.engines import vllm
from rackrate.engines.spec import EngineRelease, EngineSpec, Fingerprint, HostTimes, PublishedEngine, Scheduler

if TYPE_CHECKING:
    from rackrate.catalog.types import Accelerator


def _scheduler(accelerator: Accelerator, prompt_tokens: float) -> Scheduler:
    """It lets a request in only when its whole output fits (GUARANTEED_NO_EVICT), 8,192 tokens a step."""
    del accelerator, prompt_tokens
    return Scheduler(2048, 8192, mixed=True, reserve_fraction=1.0, memory_share=0.92)


_BEFORE_1 = EngineRelease(
    "trtllm-0",
    "tensorrt-llm",
    captured=True,
    host_times=HostTimes(host_step_s=7e-4, host_sequence_s=5e-6, host_prefill_s=2e-3, stream_s=1e-5, request_s=5e-3),
    scheduler=_scheduler,
    narrow_kv=True,
)


def _release(published: PublishedEngine) -> str:
    name = published.name
    if "nim" in name or not ("trt" in name or "tensorrt" in name):
        # NIM's version numbers are its own, all of them older than TensorRT-LLM 1.0; LMDeploy's kernels are like these
        return "trtllm-0"
    number = published.number
    # from 1.0 on the PyTorch backend is the default; "TensorRT 10.11" is the version of something else
    if number is not None and "tensorrt" not in published.version:
        return "trtllm-0" if number < (1, 0) else "trtllm-1"
    return "trtllm-0" if (published.year or 2025) < 2025 else "trtllm-1"


SPEC = EngineSpec(
    name="tensorrt-llm",
    title="TensorRT-LLM",
    label="TensorRT-LLM",
    aliases=("trtllm",),
    # trtllm-serve 1.2, tensorrt_llm/metrics/collector.py; its /metrics is a JSON of the latest steps
    metrics={
        "output_tokens": ("trtllm_generation_tokens_total",),
        "running": ("trtllm_num_requests_running",),
        "waiting": ("trtllm_num_requests_waiting",),
        "kv_use": ("trtllm_kv_cache_utilization",),
    },
    metrics_page="/prometheus/metrics",
    fingerprint=Fingerprint(owned_by=("tensorrt_llm",), metric_prefix="trtllm_", version_pages=("/version",)),
    memory=replace(vllm.MEMORY, name="tensorrt-llm"),
    releases=(_BEFORE_1, replace(_BEFORE_1, id="trtllm-1")),
    spellings=("trt", "tensorrt"),
    kin=("nim", "lmdeploy"),
    release=_release,
)
