"""The search for settings, on an engine of known truth."""

from __future__ import annotations

import io
import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from contexts import context_at
from priced_runs import CPU, write_run
from rackrate.app.tuning import TuneAnswer, TuneRequest, prices
from rackrate.engines.knobs import LAYOUT, WEIGHTS, Configuration, Knob, Machine, Space
from rackrate.errors import EngineError
from rackrate.report.checks_view import tune_view
from rackrate.report.present import present
from rackrate.report.present.tuning import sentence
from rackrate.report.render.terminal import renderable
from rackrate.tuning.search import Result, Search, Tuned
from rackrate.tuning.space import assignments, settings_of, space_of
from rackrate.tuning.trial import Trials

pytest.importorskip("optuna")

SPACE = Space(
    (
        Knob("format", ("slow", "fast"), ""),
        Knob("threads", (2, 1, 4), ""),
        Knob("batch", (512, 128, 256, 1024), ""),
        Knob("bind", (False, True), ""),
    ),
    ({"format": "fast"}, {"bind": True}),
)
EFFECTS: dict[tuple[str, object], float] = {
    ("format", "fast"): 1.6,
    ("threads", 1): 0.6,
    ("threads", 4): 0.9,
    ("batch", 128): 1.2,
    ("batch", 1024): 0.95,
}
"""What each value multiplies the throughput of the defaults by; all others by 1."""


class Engine:
    """Serves 100 token/s with its defaults, times the effects, times a little noise; a trial takes ten seconds."""

    def __init__(self, noise: float = 0.01, effects: dict[tuple[str, object], float] | None = None) -> None:
        self.now, self.noise, self.measured = 0.0, noise, 0
        self.effects = EFFECTS if effects is None else effects
        self.random = random.Random(7)

    def truth(self, configuration: Configuration) -> float:
        return 100 * math.prod(self.effects.get(pair, 1.0) for pair in configuration.items())

    def __call__(self, configuration: Configuration) -> Result:
        self.now += 10
        self.measured += 1
        return Result(self.truth(configuration) * self.random.gauss(1, self.noise), 16)


FACTS = {
    "engine": "x", "model": "m", "machine": "here", "directory": "there", "slo": None, "concurrency": [16],
    "input_tokens": 128, "output_tokens": 128, "seconds": 15.0,
}  # fmt: skip


def search(engine: Engine, directory: Path, minutes: float, space: Space = SPACE) -> Tuned:
    return Search(space, engine, directory, minutes * 60, clock=lambda: engine.now).run()


def test_finds_the_best_configuration_and_what_each_setting_is_worth(tmp_path: Path) -> None:
    engine = Engine()
    tuned = search(engine, tmp_path, minutes=8)
    values = [knob.values for knob in SPACE.knobs]
    everything = [dict(zip(SPACE.default, chosen, strict=True)) for chosen in itertools.product(*values)]
    best = max(map(engine.truth, everything))  # brute force over all 48
    assert engine.truth(tuned.best) == pytest.approx(best)
    assert tuned.verdict == "better"
    assert tuned.gain == pytest.approx(best / 100 - 1, abs=0.05)
    worth = {effect.name: effect.gain for effect in tuned.worth}
    assert worth["format"] == pytest.approx(0.6, abs=0.06)
    assert worth["batch"] == pytest.approx(0.2, abs=0.05)


def test_says_so_where_nothing_beats_the_defaults(tmp_path: Path) -> None:
    """Every other value costs a little; noise makes some look better once."""
    worse: dict[tuple[str, object], float] = {
        (knob.name, value): 0.93 for knob in SPACE.knobs for value in knob.values[1:]
    }
    tuned = search(Engine(noise=0.03, effects=worse), tmp_path, minutes=8)
    assert tuned.verdict in {"defaults", "not better", "unsure"}
    assert "were beaten by" not in sentence(tune_view(TuneAnswer(tuned, FACTS, None)))


def test_where_the_defaults_are_best_every_setting_is_changed_alone(tmp_path: Path) -> None:
    worse: dict[tuple[str, object], float] = {
        (knob.name, value): 0.7 if knob.name == "batch" else 0.9 for knob in SPACE.knobs for value in knob.values[1:]
    }
    tuned = search(Engine(effects=worse), tmp_path, minutes=3)  # 18 trials: not all of the 48 configurations
    assert tuned.verdict == "defaults"
    assert {trial.name for trial in tuned.alone} == {knob.name for knob in SPACE.knobs}
    for trial in tuned.alone:
        assert trial.gain == pytest.approx(-0.3 if trial.name == "batch" else -0.1, abs=0.04)
    view = TuneAnswer(tuned, FACTS, None)
    shown = Console(width=100, record=True, file=io.StringIO())
    shown.print(renderable(present(view)))
    text = shown.export_text()
    assert "changed to" in text
    assert "not beaten" in text
    assert "with these" not in text


def test_trials_that_other_processes_disturbed_do_not_count(tmp_path: Path) -> None:
    """Every third trial is slowed down by up to nineteen twentieths: nothing of that shows in the verdict."""

    class Busy(Engine):
        def __call__(self, configuration: Configuration) -> Result:
            result = super().__call__(configuration)
            if self.measured % 3 or result.output_tok_s is None:
                return result
            return Result(result.output_tok_s * self.random.uniform(0.05, 0.8), 16, "contended", disturbed=True)

    tuned = search(Busy(), tmp_path, minutes=4, space=SPACE.limited(["format"]))
    assert tuned.verdict == "better"
    assert tuned.gain == pytest.approx(0.6, abs=0.05)
    assert min(tuned.default_tok_s) > 90


def test_where_the_defaults_were_always_disturbed_nothing_is_said(tmp_path: Path) -> None:
    class Busy(Engine):
        def __call__(self, configuration: Configuration) -> Result:
            return replace(super().__call__(configuration), disturbed=True)

    tuned = search(Busy(), tmp_path, minutes=2)
    assert tuned.verdict == "unsure"
    assert sentence(tune_view(TuneAnswer(tuned, FACTS, None))).startswith("Nothing can be said")


def test_stays_within_its_budget(tmp_path: Path) -> None:
    engine = Engine()
    search(engine, tmp_path, minutes=5)
    assert engine.now <= 5 * 60 + 20  # a trial under way is let finish, and a pair is two


def test_a_search_that_was_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    engine = Engine()

    class Stops(Engine):
        def __call__(self, configuration: Configuration) -> Result:
            if self.measured == 5:
                raise KeyboardInterrupt
            return super().__call__(configuration)

    first = search(Stops(), tmp_path, minutes=8)
    assert first.ended == "interrupted"
    assert len(first.trials) == 5
    second = search(engine, tmp_path, minutes=8)
    assert second.trials[:5] == first.trials
    assert sum(trial.kind == "default" for trial in second.trials) == 1
    assert engine.truth(second.best) == pytest.approx(192)


def test_a_configuration_that_does_not_start_is_a_result_and_never_wins(tmp_path: Path) -> None:
    class Breaks(Engine):
        def __call__(self, configuration: Configuration) -> Result:
            result = super().__call__(configuration)
            return Result(None, None, "out of memory") if configuration["batch"] == 128 else result

    tuned = search(Breaks(), tmp_path, minutes=8)
    assert tuned.best["batch"] != 128
    assert tuned.best["format"] == "fast"


def test_defaults_that_cannot_be_measured_end_it_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="the defaults cannot be measured: no such file"):
        Search(SPACE, lambda _: Result(None, None, "no such file"), tmp_path, 600).run()


@pytest.mark.parametrize(
    ("engine", "gpus"), [("llamacpp", 0), ("vllm", 0), ("transformers", 0), ("vllm", 4), ("sglang", 4), ("sglang", 1)]
)
def test_every_knob_is_a_setting_of_its_engine(engine: str, gpus: int) -> None:
    """A value that the engine would refuse is a trial wasted."""
    from rackrate.engines.known import launcher
    from rackrate.engines.settings import read_settings

    space = space_of(engine, Machine(cores=4, logical=8, concurrency=16, gguf=True, gpus=gpus))
    for knob in space.knobs:
        if knob.name == WEIGHTS:
            continue
        for value in knob.values:
            said = assignments({knob.name: value})
            assert read_settings(engine, launcher(engine).settings, said) == settings_of({knob.name: value})
    for change in space.first:
        assert set(change) <= set(space.default)


def test_every_layout_uses_all_gpus() -> None:
    """The machine costs the same however few of its GPUs work."""
    for gpus in (2, 4, 6, 8):
        space = space_of("vllm", Machine(cores=4, logical=8, concurrency=16, gguf=False, gpus=gpus))
        layouts = next(knob for knob in space.knobs if knob.name == LAYOUT)
        for layout in layouts.values:
            settings = settings_of({LAYOUT: layout})
            assert int(settings["tensor_parallel"]) * int(settings["data_parallel"]) == gpus
    alone = space_of("vllm", Machine(cores=4, logical=8, concurrency=16, gguf=False, gpus=1))
    assert not any(knob.name == LAYOUT for knob in alone.knobs)


def test_a_trial_is_a_run_of_the_configuration_or_the_reason_why_there_is_none(tmp_path: Path) -> None:
    asked: list[tuple[str, tuple[str, ...]]] = []

    def measure(model: str, settings: Sequence[str], out: Path) -> None:
        asked.append((model, tuple(settings)))
        if "bind=on" in settings:
            raise EngineError("failed to allocate\nand a log of many lines")
        out.rmdir()
        write_run(out, CPU)

    trials = Trials(measure, "model", tmp_path, with_slo=False)
    served = trials({WEIGHTS: "Q4_0", "threads": 2, "bind": False})
    failed = trials({WEIGHTS: "as they are", "bind": True})
    assert asked == [("model:Q4_0", ("threads=2", "bind=off")), ("model", ("bind=on",))]
    assert served.output_tok_s == pytest.approx(4 * 32 / 1.6, rel=0.05)  # the load of four
    assert (served.concurrency, served.run) == (4, str(tmp_path / "trials" / "000"))
    assert (failed.output_tok_s, failed.note) == (None, "failed to allocate")


class Kept(Engine):
    """An engine whose trials leave runs behind, in directories that are numbered as `Trials` numbers them."""

    def __init__(self, directory: Path, **more: Any) -> None:
        super().__init__(**more)
        self.directory = directory

    def __call__(self, configuration: Configuration) -> Result:
        result = super().__call__(configuration)
        out = self.directory / "trials" / f"{self.measured:03d}"
        write_run(out, CPU)
        return replace(result, run=str(out))


def test_one_gain_is_stated_and_priced_and_trials_are_called_as_their_directories(tmp_path: Path) -> None:
    tuned = search(Kept(tmp_path, noise=0.2), tmp_path, minutes=3, space=SPACE.limited(["format"]))
    finals = [trial for trial in tuned.trials if trial.kind == "final"]
    assert tuned.gain is not None
    assert set(tuned.default_runs) <= {trial.result.run for trial in finals}
    assert len(tuned.default_runs) == len(tuned.best_tok_s)
    assert all(trial.result.run == str(tmp_path / "trials" / f"{trial.number:03d}") for trial in tuned.trials)
    context, _ = context_at(tmp_path)
    found = prices(tuned, TuneRequest(usd_per_hour=0.1), context)
    assert found is not None
    assert found["default_usd_per_1m"] / found["best_usd_per_1m"] == pytest.approx(1 + tuned.gain)


def test_without_pairs_the_winner_has_no_price(tmp_path: Path) -> None:
    tuned = replace(
        search(Kept(tmp_path), tmp_path, 2, SPACE.limited(["format"])),
        gain=None,
        gain_interval=None,
        best={"format": "fast"},
    )
    context, _ = context_at(tmp_path)
    found = prices(tuned, TuneRequest(usd_per_hour=0.1), context)
    assert found is not None
    assert found["best_usd_per_1m"] is None
    shown = Console(width=100, record=True, file=io.StringIO())
    shown.print(renderable(present(TuneAnswer(tuned, FACTS, found))))
    assert "with the defaults." in shown.export_text()
