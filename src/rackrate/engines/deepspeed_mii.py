"""DeepSpeed-MII, as published rows know it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rackrate.engines.spec import EngineRelease, EngineSpec, HostTimes, Scheduler

if TYPE_CHECKING:
    from rackrate.catalog.types import Accelerator


def _scheduler(accelerator: Accelerator, prompt_tokens: float) -> Scheduler:
    del accelerator, prompt_tokens
    return Scheduler(256, 2048, mixed=True, reserve_fraction=0.0, memory_share=0.9)


SPEC = EngineSpec(
    name="deepspeed-mii",
    title="DeepSpeed-MII",
    label="DeepSpeed-MII",
    releases=(
        EngineRelease(
            "deepspeed-mii",
            "deepspeed-mii",
            captured=False,
            host_times=HostTimes(
                host_step_s=3e-3, host_sequence_s=8e-5, host_prefill_s=5e-3, stream_s=5e-5, request_s=8e-3
            ),
            scheduler=_scheduler,
        ),
    ),
    spellings=("mii", "deepspeed"),
)
