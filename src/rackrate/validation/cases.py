"""A published row, understood: what ran, on what, under which load, and what was observed."""

from __future__ import annotations

from dataclasses import dataclass, field

from rackrate.catalog.types import Accelerator
from rackrate.engines.spec import EngineRelease, Scheduler
from rackrate.models.architecture import Architecture
from rackrate.steptime.load import Load, Observed
from rackrate.steptime.replay import kv_capacity_tokens
from rackrate.steptime.work import Parallel, Work


@dataclass(frozen=True)
class Case:
    """One row, understood."""

    file: str
    line: int
    source: str
    """The author: the source up to its first space or slash of a result."""
    gpu: str
    """The accelerator's id."""
    model: Architecture
    accelerator: Accelerator
    release: EngineRelease
    scheduler: Scheduler
    weights: str
    kv: str | None
    parallel: Parallel
    load: Load
    observed: Observed
    flags: frozenset[str] = field(default_factory=frozenset[str])
    """Known faults: what must not be fitted on this row."""

    @property
    def cell(self) -> tuple[str, str, str]:
        """File, accelerator, engine."""
        return self.file, self.gpu, self.release.engine


def cache_tokens(case: Case, work: Work, engine_gib: float) -> float:
    """The cache of a published row. At least one request fits: the row says that it ran. [token]"""
    kv_capacity = kv_capacity_tokens(case.accelerator, case.parallel, case.scheduler, work, engine_gib)
    return max(kv_capacity, case.load.prompt_tokens + (case.load.output_cap or case.load.output_tokens) + 1)
