"""Text Generation Inference: a server that the user starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rackrate.engines.spec import EngineRelease, EngineSpec, Fingerprint, HostTimes, Scheduler

if TYPE_CHECKING:
    from rackrate.catalog.types import Accelerator


def _is_its_info(page: Mapping[str, Any]) -> bool:
    router = page.get("router")
    return (isinstance(router, str) and "text-generation" in router) or (
        "model_id" in page and "max_total_tokens" in page
    )


def _scheduler(accelerator: Accelerator, prompt_tokens: float) -> Scheduler:
    del accelerator, prompt_tokens
    return Scheduler(256, 4096, mixed=False, reserve_fraction=1.0, memory_share=0.9)


SPEC = EngineSpec(
    name="tgi",
    title="Text Generation Inference",
    label="Text Generation Inference",
    needs="a server that you started",
    url="http://HOST:8080",
    # text-generation-inference router/src; token counts are histograms
    metrics={
        "output_tokens": ("tgi_request_generated_tokens_sum",),
        "running": ("tgi_batch_current_size",),
        "waiting": ("tgi_queue_size",),
    },
    fingerprint=Fingerprint(metric_prefix="tgi_", page="/info", on_page=_is_its_info, version_pages=("/info",)),
    releases=(
        EngineRelease(
            "tgi",
            "tgi",
            captured=True,
            host_times=HostTimes(
                host_step_s=2e-3, host_sequence_s=3e-5, host_prefill_s=5e-3, stream_s=1e-5, request_s=8e-3
            ),
            scheduler=_scheduler,
            first_paged_attention=True,
        ),
    ),
    spellings=("tgi", "text-generation"),
)
