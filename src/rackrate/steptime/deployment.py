"""A deployment's step time and what it serves: the interface for planner, `serve` and simulator.

deployment = deploy(model, accelerator, engine="vllm", parallel=Parallel(tensor=4), weights="bf16")
deployment.step                                  # a StepTime; .at_mean_context(tokens) for simulations
deployment.scheduler, deployment.request_s       # slots, token budget, ...; seconds of HTTP and tokenising
deployment.predict(Load("closed", 32, 256, 512, 256))   # throughput, TPOT, TTFT with 80 % intervals
anchored(deployment, [(load, Observed(...))])    # the same machine, corrected by what was measured on it
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from rackrate.catalog.types import Accelerator
from rackrate.engines.releases import all_releases, release_by_id, release_of, scheduler_of
from rackrate.engines.spec import EngineRelease, Scheduler
from rackrate.errors import UserError
from rackrate.models.architecture import Architecture
from rackrate.models.formats import native_step_name
from rackrate.simulation.step import StepTime
from rackrate.steptime.coefficient_file import CoefficientFile, Spread, shipped
from rackrate.steptime.engine_step import engine_step
from rackrate.steptime.load import Load
from rackrate.steptime.parameters import Groups, coefficients_of
from rackrate.steptime.replay import Predicted, kv_capacity_tokens, replay
from rackrate.steptime.work import Parallel, formats_on, linear_work


@dataclass(frozen=True)
class Estimate:
    """A predicted figure with the 80 % interval that errors on unseen machines give it."""

    value: float
    low: float | None
    high: float | None
    kind: str
    """Class of figure (validation/comparisons.py CLASS_NAMES)."""
    distance: str
    """`measured`, `same family`, `extrapolated`, or `anchored`: how near the measurements are."""


@dataclass(frozen=True)
class Deployment:
    """One way to serve a model, with everything that predicts its speed."""

    model: Architecture
    accelerator: Accelerator
    release: EngineRelease
    parallel: Parallel
    weights: str
    step: StepTime
    scheduler: Scheduler
    request_s: float
    """[s] per request between client and scheduler."""
    kv_capacity_tokens: float
    """KV cache of a replica. [token]"""
    distance: str
    source: str
    """Where the coefficients are from, for provenance."""
    coefficients: CoefficientFile
    values: Mapping[str, float]
    machine: str | None = None
    kv: str | None = None
    """Format of the KV cache; None for 16 bits."""
    streaming: bool = True
    """Whether tokens are streamed to clients; False for offline batches."""

    def replay(self, load: Load) -> Predicted:
        """The run of a load, without intervals."""
        return replay(load, self.step, self.scheduler, self.kv_capacity_tokens, self.request_s, self.parallel.data)

    def predict(self, load: Load) -> dict[str, Estimate]:
        """`output_tok_s` [token/s], `tpot_s`, `ttft_s` of a load, with 80 % intervals."""
        got = self.replay(load)
        level = None
        if load.kind == "poisson":
            flood = replace(load, kind="burst", value=0.0, requests=max(load.requests, 200))
            sustained = self.replay(flood).output_tok_s
            share = load.value * load.output_tokens * self.parallel.data / sustained
            level = "low" if share < 0.7 else "over" if share > 1.3 else "near"
        kinds = figure_classes(load, level)
        found = {"output_tok_s": self._estimate(got.output_tok_s, kinds["throughput"])}
        if got.tpot_s is not None:
            found["tpot_s"] = self._estimate(got.tpot_s, kinds["tpot"])
        found["ttft_s"] = self._estimate(got.ttft_s, kinds["ttft"])
        return found

    def spread(self, kind: str) -> Spread | None:
        """Quantiles of the error of a class of figure for a model, on an accelerator, such as these."""
        return self.coefficients.interval(kind, self.distance, self.model.experts is not None)

    @property
    def throughput_spread(self) -> Spread | None:
        """Of throughput; None for an engine that was never measured, of which the errors of others say nothing."""
        return self.spread("throughput") if self.release.id in self.coefficients.releases else None

    def _estimate(self, value: float, kind: str) -> Estimate:
        spread = self.spread(kind)
        if spread is None:
            return Estimate(value, None, None, kind, self.distance)
        return Estimate(value, value * math.exp(-spread.high), value * math.exp(-spread.low), kind, self.distance)


def figure_classes(load: Load, level: str | None) -> dict[str, str]:
    """The class of each figure of a load at a level (low, near, over capacity) of a Poisson run."""
    if load.kind in {"static", "burst"}:
        return {"throughput": "throughput", "tpot": "tpot-over", "ttft": "ttft-over"}
    if load.kind == "closed":
        few = load.value <= 16
        return {
            "throughput": "throughput",
            "tpot": "tpot-low" if few else "tpot-closed",
            "ttft": "ttft-low",
            "e2e": "e2e",
        }
    if level == "low":
        return {"throughput": "throughput-below", "tpot": "tpot-low", "ttft": "ttft-low", "e2e": "e2e"}
    if level == "near":
        return {"throughput": "throughput-below", "tpot": "tpot-near", "ttft": "ttft-near"}
    return {"throughput": "throughput", "tpot": "tpot-over", "ttft": "ttft-over"}


def find_release(engine: str, version: str = "", cpu: bool = False) -> EngineRelease:
    """The release of an engine. Raises UserError naming those there are."""
    release = release_by_id(engine) or release_of(engine, version, cpu=cpu)
    if release is None:
        names = ", ".join(sorted({release.engine for release in all_releases()}))
        raise UserError(f"no step times for the engine {engine!r}; there are {names}")
    return release


def deploy(
    model: Architecture,
    accelerator: Accelerator,
    *,
    engine: str = "vllm",
    version: str = "",
    parallel: Parallel | None = None,
    weights: str | None = None,
    kv: str | None = None,
    coefficients: CoefficientFile | None = None,
    values: Mapping[str, float] | None = None,
    machine: str | None = None,
    kv_capacity: float | None = None,
    scheduler: Scheduler | None = None,
) -> Deployment:
    """A deployment with its predicted step time. Raises UserError where facts are missing.

    `version` as the engine states it; without one the newest release of vLLM that has rows counts. `kv_capacity`
    [token] overrides our own estimate (memory/fit.py knows better). `values` are the logarithms of a calibration.
    """
    known_file = coefficients or shipped()
    parallel = parallel or Parallel()
    release = find_release(engine, version, accelerator.kind == "cpu")
    chosen = weights or native_step_name(model.native_weights)
    groups = Groups(accelerator.vendor, accelerator.architecture, accelerator.id, release.id, machine)
    logs = values if values is not None else known_file.values
    known = coefficients_of(logs, release, groups)
    formats = formats_on(accelerator, chosen, kv)
    step = engine_step(model, accelerator, parallel, formats, known, release)
    schedule = scheduler or scheduler_of(release, accelerator)
    if kv_capacity is None:
        work = linear_work(model, formats)
        kv_capacity = kv_capacity_tokens(accelerator, parallel, schedule, work, known.engine_gib)
    source = (
        f"{len(known_file.accelerators)} accelerators, {known_file.rows_fitted} published rows, {known_file.written}"
    )
    return Deployment(
        model, accelerator, release, parallel, chosen, step, schedule, known.request_s, kv_capacity,
        known_file.distance(accelerator.id, accelerator.architecture), source, known_file, logs, machine,
        kv,
    )  # fmt: skip
