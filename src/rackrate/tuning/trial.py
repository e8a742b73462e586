"""A trial: an engine started with a configuration, measured, stopped. How that is done is passed in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rackrate.engines.knobs import AS_THEY_ARE, WEIGHTS, Configuration
from rackrate.errors import UserError
from rackrate.metrics.summary import LevelSummary, summarise
from rackrate.runs.store import HEADER, read_run
from rackrate.tuning.search import Result
from rackrate.tuning.space import assignments

NOT_A_FAULT = {"batch-1", "finite-burst"}
"""Names that short trials always have; they compare with each other all the same."""
LONGEST_NOTE = 200
"""Characters of why a trial gave no figure."""

MeasureTrial = Callable[[str, Sequence[str], Path], None]
"""Measures a model (MODEL or MODEL:FORMAT) with settings of the engine (NAME=VALUE) and keeps the run in a directory.
Raises UserError where the engine does not start or nothing is served."""


@dataclass
class Trials:
    """Measures configurations; each gets a directory of its own."""

    measure: MeasureTrial
    model: str
    directory: Path
    with_slo: bool
    """Whether only loads within the SLO count."""
    number: int = 0

    def run_directory(self, number: int) -> Path:
        """Where a trial's run is."""
        return self.directory / "trials" / f"{number:03d}"

    def __call__(self, configuration: Configuration) -> Result:
        """Measures a configuration. An engine that does not start with it is a result, not an error."""
        while self.run_directory(self.number).exists():
            self.number += 1
        out = self.run_directory(self.number)
        out.mkdir(parents=True)
        weights = configuration.get(WEIGHTS, AS_THEY_ARE)
        model = self.model if weights == AS_THEY_ARE else f"{self.model}:{weights}"
        try:
            self.measure(model, assignments(configuration), out)
            if not (out / HEADER).exists():
                return Result(None, None, "nothing was measured", str(out))
            levels = summarise(read_run(out))
        except UserError as error:
            return Result(None, None, str(error).strip().splitlines()[0][:LONGEST_NOTE], str(out))
        return replace(best_level(levels, with_slo=self.with_slo), run=str(out))


def best_level(levels: Sequence[LevelSummary], *, with_slo: bool) -> Result:
    """The load at which most was served, within the SLO if there is one."""
    served = [level for level in levels if level.kind == "closed" and level.output_tok_s]
    allowed = [level for level in served if level.slo_met] if with_slo else served
    if not allowed:
        return Result(None, None, "no load was within the SLO" if served else "nothing was served")
    best = max(allowed, key=lambda level: level.output_tok_s or 0.0)
    names = [name for name in best.caveats if name not in NOT_A_FAULT]
    disturbed = any("contended" in level.caveats for level in served)
    return Result(best.output_tok_s, best.concurrency, ", ".join(names) or None, disturbed=disturbed)
