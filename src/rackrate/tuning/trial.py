"""One trial: the engine started with a configuration, measured, stopped, in a process of its own."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Sequence
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


@dataclass
class Trials:
    """How trials are measured; each gets a directory of its own."""

    engine: str
    model: str
    levels: Sequence[int]
    input_tokens: int
    output_tokens: int
    seconds: float
    most_seconds: float
    slo: str | None
    directory: Path
    number: int = 0

    def command(self, configuration: Configuration, out: Path) -> list[str]:
        """The measurement, as a command."""
        weights = configuration.get(WEIGHTS, AS_THEY_ARE)
        model = self.model if weights == AS_THEY_ARE else f"{self.model}:{weights}"
        words = [sys.executable, "-m", "rackrate", "measure", "--engine", self.engine, "--model", model]
        words += ["--concurrency", ",".join(map(str, self.levels)), "--no-prefill", "--warmup", "2"]
        words += ["--input-tokens", str(self.input_tokens), "--output-tokens", str(self.output_tokens)]
        words += ["--seconds", f"{self.seconds:g}", "--max-seconds", f"{self.most_seconds:g}", "--out", str(out)]
        if self.slo is not None:
            words += ["--slo", self.slo]
        return [*words, *(word for setting in assignments(configuration) for word in ("--set", setting))]

    def run_directory(self, number: int) -> Path:
        """Where a trial's run is."""
        return self.directory / "trials" / f"{number:03d}"

    def __call__(self, configuration: Configuration) -> Result:
        """Measures a configuration. An engine that does not start with it is a result, not an error."""
        while self.run_directory(self.number).exists():
            self.number += 1
        out = self.run_directory(self.number)
        out.mkdir(parents=True)
        command = self.command(configuration, out)
        (out / "command.txt").write_text(shlex.join(command) + "\n", encoding="utf-8")
        with (out / "measure.log").open("w", encoding="utf-8") as log:
            code = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, check=False
            ).returncode
        if code == 130:
            raise KeyboardInterrupt
        if code != 0 or not (out / HEADER).exists():
            return Result(None, None, _last_words(out / "measure.log"))
        return self._result(out)

    def _result(self, out: Path) -> Result:
        try:
            levels = summarise(read_run(out))
        except UserError as error:
            return Result(None, None, str(error))
        return replace(best_level(levels, with_slo=self.slo is not None), run=str(out))


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


def _last_words(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    said = [line for line in lines if line.startswith("rackrate:")]
    return (said or lines or ["it ended without a word"])[-1][:200]
