"""The search itself: defaults first, hunches next, then Optuna; at the end what won is measured against the defaults.

What a trial measures is a function that is passed in, so that the search can be tried on an engine of known truth.
"""

from __future__ import annotations

import itertools
import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rackrate.engines.knobs import Configuration, Space, Value
from rackrate.errors import EngineError, UserError
from rackrate.files import refuse_other_than_file

if TYPE_CHECKING:
    import optuna

JOURNAL = "study.journal"
FINAL_SHARE = 0.35
"""Of the budget: kept for measuring the winner against the defaults, and what each of its settings is worth."""
FINAL_PAIRS = 3
MOST_FINAL_PAIRS = 9
"""Pairs are measured again where other processes disturbed one of the two."""
STUDENT_T_80 = {2: 3.078, 3: 1.886, 4: 1.638, 5: 1.533}
"""Student's t for a two-sided 80 % interval, by number of pairs."""

TrialKind = Literal["default", "hunch", "search", "final", "worth"]


@dataclass(frozen=True)
class Result:
    """What one trial measured."""

    output_tok_s: float | None
    """Of the best load within the SLO; None where the engine did not start or nothing met it."""
    concurrency: int | None
    note: str | None = None
    """Why there is no figure, or its caveats."""
    run: str | None = None
    """The run directory, where there is one."""
    disturbed: bool = False
    """Other processes took a share of the machine: the figure says nothing of the configuration."""

    @property
    def counts(self) -> bool:
        """Whether there is a figure of the configuration alone."""
        return bool(self.output_tok_s) and not self.disturbed


@dataclass(frozen=True)
class Trial:
    """One configuration, measured once."""

    number: int
    """As its directory is called."""
    kind: TrialKind
    configuration: dict[str, Value]
    result: Result
    seconds: float


@dataclass(frozen=True)
class Worth:
    """What one setting of the winner is worth: the winner against itself with that setting at its default."""

    name: str
    value: Value
    default: Value
    without_tok_s: float | None
    gain: float | None
    """Share that the setting adds; None where it could not be measured."""


@dataclass(frozen=True)
class Alone:
    """One setting changed, everything else as the defaults have it."""

    name: str
    value: Value
    output_tok_s: tuple[float, ...]
    """Every measurement of it."""
    gain: float
    """Their mean against the mean of the defaults, - 1."""


@dataclass(frozen=True)
class Tuned:
    """What a search found."""

    trials: tuple[Trial, ...]
    default: dict[str, Value]
    best: dict[str, Value]
    default_tok_s: tuple[float, ...]
    """Every measurement of the defaults."""
    best_tok_s: tuple[float, ...]
    """Those of the winner in the final pairs; empty where there was no time for any."""
    default_runs: tuple[str, ...]
    """Directories of the defaults' runs in these pairs; without pairs, of all that count."""
    gain: float | None
    """Mean of the pairs' ratios - 1."""
    gain_interval: tuple[float, float] | None
    """80 % interval of that mean, from the pairs."""
    worth: tuple[Worth, ...]
    alone: tuple[Alone, ...]
    """Changes of one setting that were measured, by setting, then the best first."""
    ended: Literal["budget", "space", "interrupted"]

    @property
    def verdict(self) -> Literal["better", "not better", "unsure", "defaults"]:
        """Better only if the whole interval is above 0."""
        if not self.default_tok_s:
            return "unsure"  # every measurement of the defaults was disturbed
        if self.best == self.default:
            return "defaults"
        if self.gain_interval is None:
            return "unsure"
        low, high = self.gain_interval
        return "better" if low > 0 else "not better" if high <= 0 or (self.gain or 0) <= 0 else "unsure"


@dataclass
class Search:
    """A search under way."""

    space: Space
    measure: Callable[[Configuration], Result]
    directory: Path
    budget_s: float
    on_progress: Callable[[Trial], None] = lambda _: None
    clock: Callable[[], float] = time.monotonic
    seed: int = 0
    trials: list[Trial] = field(default_factory=list[Trial])

    def run(self) -> Tuned:
        """Searches until the budget is spent. A search that was stopped goes on where it was.

        Raises:
            EngineError: the defaults themselves cannot be measured, or Optuna is not installed.
        """
        study = self._study()
        self._recall(study)
        began = self.clock()
        ended: Literal["budget", "space", "interrupted"] = "budget"
        search_s = self.budget_s * (1 - FINAL_SHARE)
        try:
            while not self._figures(self.space.default):
                first = self._try(study, "default", self.space.default)
                if first.result.output_tok_s is None:
                    raise EngineError(f"the defaults cannot be measured: {first.result.note}")
                if self.clock() - began > search_s:
                    break
            for change in self.space.first:
                if self.clock() - began > search_s:
                    break
                configuration = {**self.space.default, **change}
                if all(value in self._values(name) for name, value in change.items()) and not self._seen(configuration):
                    self._try(study, "hunch", configuration)
            while self.clock() - began < search_s:
                if len(self._distinct()) >= self.space.size:
                    ended = "space"
                    break
                self._try_asked(study)
            self._finals(study, began)
        except KeyboardInterrupt:
            ended = "interrupted"
        return self.found(ended)

    def found(self, ended: Literal["budget", "space", "interrupted"]) -> Tuned:
        """What is known so far."""
        default = self.space.default
        best = self._best()
        pairs = self._pairs(best)
        ratios = [after / before for before, after in pairs]
        gain = statistics.fmean(ratios) - 1 if ratios else None
        interval = None
        if gain is not None and len(ratios) in STUDENT_T_80:
            half = STUDENT_T_80[len(ratios)] * statistics.stdev(ratios) / math.sqrt(len(ratios))
            interval = (gain - half, gain + half)
        return Tuned(
            trials=tuple(self.trials),
            default=default,
            best=best,
            default_tok_s=tuple(self._figures(default)),
            best_tok_s=tuple(after for _, after in pairs),
            default_runs=tuple(trial.result.run for trial in self._default_trials(best) if trial.result.run),
            gain=gain,
            gain_interval=interval,
            worth=tuple(self._worth(best, pairs)),
            alone=tuple(self._alone()),
            ended=ended,
        )

    def _finals(self, study: optuna.Study, began: float) -> None:
        """The winner and the defaults in turn, then the winner without each of its settings."""
        default = self.space.default
        for _ in range(MOST_FINAL_PAIRS):
            best = self._best()
            if best == default or len(self._pairs(best)) >= FINAL_PAIRS:
                break
            if self.clock() - began > self.budget_s:
                return
            self._try(study, "final", default)
            self._try(study, "final", best)
        best = self._best()
        for name in self._changed(best):
            without = {**best, name: default[name]}
            if self.clock() - began > self.budget_s:
                return
            if without != default and not any(t.kind == "worth" and t.configuration == without for t in self.trials):
                self._try(study, "worth", without)
        if best == default:
            for change in self._changes_not_tried():
                if self.clock() - began > self.budget_s:
                    return
                self._try(study, "worth", change)

    def _changes_not_tried(self) -> list[dict[str, Value]]:
        """Where the defaults are best: one change of each setting that was never changed alone."""
        tried = {item.name for item in self._alone()}
        return [
            {**self.space.default, knob.name: knob.values[1]}
            for knob in self.space.knobs
            if knob.name not in tried and len(knob.values) > 1
        ]

    def _pairs(self, best: dict[str, Value]) -> list[tuple[float, float]]:
        """Figures of neighbouring measurements of the defaults and of the winner."""
        return [
            (before.result.output_tok_s or 0.0, after.result.output_tok_s or 0.0)
            for before, after in self._paired(best)
        ]

    def _paired(self, best: dict[str, Value]) -> list[tuple[Trial, Trial]]:
        finals = [trial for trial in self.trials if trial.kind == "final"]
        return [
            (before, after)
            for before, after in itertools.pairwise(finals)
            if before.configuration == self.space.default
            and after.configuration == best
            and before.result.counts
            and after.result.counts
        ]

    def _default_trials(self, best: dict[str, Value]) -> list[Trial]:
        """Those that a price of the defaults is of: of the pairs, as the gain is."""
        counted = [trial for trial in self.trials if trial.configuration == self.space.default and trial.result.counts]
        return [before for before, _ in self._paired(best)] or counted

    def _worth(self, best: dict[str, Value], pairs: Sequence[tuple[float, float]]) -> list[Worth]:
        mine = statistics.fmean([after for _, after in pairs]) if pairs else max(self._figures(best), default=None)
        rows: list[Worth] = []
        changed = self._changed(best)
        for name in changed:
            without = {**best, name: self.space.default[name]}
            if len(changed) == 1:
                figures = [before for before, _ in pairs] or self._figures(without)
            else:
                figures = [
                    trial.result.output_tok_s
                    for trial in self.trials
                    if trial.configuration == without and trial.result.counts and trial.result.output_tok_s
                ]
            figure = statistics.fmean(figures) if figures else None
            gain = mine / figure - 1 if figure and mine else None
            rows.append(Worth(name, best[name], self.space.default[name], figure, gain))
        return sorted(rows, key=lambda row: -(row.gain if row.gain is not None else -math.inf))

    def _alone(self) -> list[Alone]:
        defaults = self._figures(self.space.default)
        if not defaults:
            return []
        rows: list[Alone] = []
        for knob in self.space.knobs:
            changes = [{**self.space.default, knob.name: value} for value in knob.values[1:]]
            figures = [(change[knob.name], self._figures(change)) for change in changes]
            rows += sorted(
                (
                    Alone(knob.name, value, tuple(found), statistics.fmean(found) / statistics.fmean(defaults) - 1)
                    for value, found in figures
                    if found
                ),
                key=lambda row: -row.gain,
            )
        return rows

    def _changed(self, configuration: Configuration) -> list[str]:
        return [name for name, value in configuration.items() if value != self.space.default[name]]

    def _best(self) -> dict[str, Value]:
        """The configuration with the best mean; the defaults where nothing beat them."""
        best, most = self.space.default, statistics.fmean(self._figures(self.space.default) or [0.0])
        for configuration in self._distinct():
            figures = self._figures(configuration)
            # a lucky figure is no winner once it was measured again and fell back
            if figures and statistics.fmean(figures) > most:
                best, most = configuration, statistics.fmean(figures)
        return best

    def _figures(self, configuration: Configuration) -> list[float]:
        return [
            trial.result.output_tok_s
            for trial in self.trials
            if trial.configuration == configuration and trial.result.counts and trial.result.output_tok_s
        ]

    def _distinct(self) -> list[dict[str, Value]]:
        found: list[dict[str, Value]] = []
        for trial in self.trials:
            if trial.configuration not in found:
                found.append(trial.configuration)
        return found

    def _seen(self, configuration: Configuration) -> bool:
        return any(trial.configuration == configuration for trial in self.trials)

    def _values(self, name: str) -> tuple[Value, ...]:
        return next((knob.values for knob in self.space.knobs if knob.name == name), ())

    # Optuna's side: a study holds every trial, and proposes the next

    def _study(self) -> optuna.Study:
        try:
            import optuna
            from optuna.storages import JournalStorage
            from optuna.storages.journal import JournalFileBackend
        except ImportError:
            raise EngineError("tune needs Optuna: pip install 'rackrate[tune]'") from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            if os.path.lexists(self.directory / JOURNAL):
                refuse_other_than_file(self.directory / JOURNAL, links=False)
            storage = JournalStorage(JournalFileBackend(str(self.directory / JOURNAL)))
        except OSError as error:
            raise UserError(f"{self.directory}: {error.strerror}") from None
        sampler = optuna.samplers.TPESampler(seed=self.seed, n_startup_trials=4)
        return optuna.create_study(
            study_name="tune", storage=storage, sampler=sampler, direction="maximize", load_if_exists=True
        )

    def _recall(self, study: optuna.Study) -> None:
        """The trials of an earlier start."""
        for frozen in study.trials:
            if "kind" not in frozen.user_attrs:
                continue  # it was cut short
            facts: dict[str, Any] = frozen.user_attrs
            result = Result(
                facts["output_tok_s"], facts["concurrency"], facts["note"], facts["run"], facts["disturbed"]
            )
            number = _number(result, frozen.number)
            self.trials.append(Trial(number, facts["kind"], dict(facts["configuration"]), result, facts["seconds"]))

    def _try(self, study: optuna.Study, kind: TrialKind, configuration: Configuration) -> Trial:
        study.enqueue_trial(dict(configuration))
        return self._measured(study, study.ask(), kind)

    def _try_asked(self, study: optuna.Study) -> Trial:
        """A configuration that Optuna proposes; a few times again where it was measured already."""
        for _ in range(8):
            asked = study.ask()
            configuration = self._suggested(asked)
            if not self._seen(configuration):
                return self._measured(study, asked, "search")
            known = statistics.fmean(self._figures(configuration) or [0.0])
            study.tell(asked, known)
        return self._measured(study, study.ask(), "search")

    def _suggested(self, asked: optuna.Trial) -> dict[str, Value]:
        return {knob.name: asked.suggest_categorical(knob.name, knob.values) for knob in self.space.knobs}  # pyright: ignore[reportReturnType]

    def _measured(self, study: optuna.Study, asked: optuna.Trial, kind: TrialKind) -> Trial:
        configuration = self._suggested(asked)
        began = self.clock()
        result = self.measure(configuration)
        trial = Trial(_number(result, asked.number), kind, configuration, result, self.clock() - began)
        for name, value in {
            "configuration": configuration,
            "output_tok_s": result.output_tok_s,
            "concurrency": result.concurrency,
            "note": result.note,
            "run": result.run,
            "disturbed": result.disturbed,
            "seconds": trial.seconds,
            "kind": kind,
        }.items():
            asked.set_user_attr(name, value)
        study.tell(asked, result.output_tok_s or 0.0)
        self.trials.append(trial)
        self.on_progress(trial)
        return trial


def _number(result: Result, proposal: int) -> int:
    """What a trial is called: as its directory, since proposals that were known already have a number and no run."""
    name = Path(result.run).name if result.run else ""
    return int(name) if name.isdecimal() else proposal
