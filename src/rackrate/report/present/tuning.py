"""A search for settings: whether the defaults were beaten, by what, and what was tried."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rackrate.report.document import Block, Column, Document, Note, Section, Table
from rackrate.report.format import rate, usd
from rackrate.schemas import predictions as views
from rackrate.tuning.search import Trial

SHOWN = 12
"""Trials that a screen shows; all are on a page and in the JSON."""


def document(view: views.TuneView, *, full: bool = False) -> Document:
    """The verdict, what each setting was worth, and the best trials; where `full`, all trials."""
    lead = [Note(sentence(view), "strong")]
    if view.prices:
        price = view.prices
        before, after = usd(price.default_usd_per_1m), usd(price.best_usd_per_1m)
        where = f"{price.machine} at {price.usd_h} USD/h"
        these = f", {after} with these" if view.changed and price.best_usd_per_1m is not None else ""
        lead.append(Note(f"USD per 1M tokens at full load on {where}: {before} with the defaults{these}."))
    sections = [Section(blocks=tuple(_settings(view)))] if view.worth or view.alone else []
    trials = sorted(view.trials, key=lambda trial: -(trial.result.output_tok_s or 0.0))
    shown = trials if full else trials[:SHOWN]
    blocks: list[Block] = [_trials(view, shown)]
    if len(trials) > len(shown):
        blocks.append(Note(f"{len(trials) - len(shown)} more are in {view.directory}", "soft"))
    disturbed = sum(trial.result.disturbed for trial in trials)
    if disturbed:
        words = f"{disturbed} trials were disturbed by other processes and do not count"
        blocks.append(Note(f"{words}: leave the machine alone while it is tuned.", "warn"))
    failed = [trial for trial in trials if trial.result.output_tok_s is None]
    if failed:
        blocks.append(Note(f"{len(failed)} trials gave no figure, such as: {failed[0].result.note}", "warn"))
    return Document(
        subject="tune",
        headline=f"{view.engine}, {view.model} | {view.machine}",
        lead=tuple(lead),
        sections=(*sections, Section(blocks=tuple(blocks))),
        records=_trials(view, trials),
    )


def _trials(view: views.TuneView, trials: Sequence[Trial]) -> Table:
    columns = (
        Column("trial", "integer"), Column("output tok/s", "rate"), Column("in flight", "integer"), Column("kind"),
        Column("changes", wraps=True), Column("note", wraps=True),
    )  # fmt: skip

    def changes(trial: Trial) -> str:
        set_otherwise = (f"{k}={v}" for k, v in trial.configuration.items() if v != view.default[k])
        return " ".join(set_otherwise) or "the defaults"

    rows = tuple(
        (trial.number, result.output_tok_s, result.concurrency or None, trial.kind, changes(trial),
         result.note or "")
        for trial in trials
        for result in (trial.result,)
    )  # fmt: skip
    return Table(columns, rows)


def _settings(view: views.TuneView) -> Iterator[Block]:
    """What each setting was worth; where the defaults were best, what each change of one did."""
    if view.worth:
        columns = (
            Column("setting"), Column("best", "figure"), Column("default", "figure"),
            Column("without it, tok/s", "rate"), Column("worth", "change"),
        )  # fmt: skip
        yield Table(
            columns,
            tuple(
                (effect.name, str(effect.value), str(effect.default), effect.without_tok_s, effect.gain)
                for effect in view.worth
            ),
        )
        yield Note(
            "worth: the winner against itself with that setting at its default, one measurement each unless it is the "
            "only one; they need not add up.",
            "soft",
        )
        return
    rows = tuple(
        (trial.name, str(view.default[trial.name]), str(trial.value),
         ", ".join(rate(figure) for figure in trial.output_tok_s), trial.gain)
        for trial in view.alone
    )  # fmt: skip
    columns = (
        Column("setting"), Column("default", "figure"), Column("changed to", "figure"),
        Column("output tok/s", "rate"), Column("effect", "change"),
    )  # fmt: skip
    yield Table(columns, rows)
    defaults = view.default_tok_s
    figures = ", ".join(rate(figure) for figure in defaults)
    words = f"effect: that setting changed alone, against the mean of the defaults ({figures} tok/s)"
    if len(defaults) > 1:
        spread = max(defaults) / min(defaults) - 1
        words += f", whose own measurements are {spread:.0%} apart: smaller effects are none"
    yield Note(f"{words}.", "soft")


def sentence(view: views.TuneView) -> str:
    """Whether the defaults were beaten, and by how much."""
    gain, interval = view.gain, view.gain_interval_80
    sure = f" (80 % interval {interval[0]:+.1%} to {interval[1]:+.1%})" if interval else ""
    changed = ", ".join(f"{name} {value}" for name, value in view.changed.items())
    if not view.default_tok_s:
        return "Nothing can be said: other processes disturbed every measurement of the defaults."
    match view.verdict:
        case "better":
            return f"The defaults were beaten by {gain:.1%}{sure}: {changed}."
        case "not better":
            return f"The defaults were not beaten: what looked best was {gain:+.1%}{sure} when measured again in turn."
        case "unsure" if gain is not None:
            return (
                f"Whether the defaults were beaten is not sure: {gain:+.1%}{sure} with {changed}; give it more minutes."
            )
        case "unsure":
            return f"{changed} looked best, but there was no time to measure it against the defaults in turn."
        case _ if any(trial.kind == "final" and trial.configuration != view.default for trial in view.trials):
            return "The defaults were not beaten: what had looked best fell behind them when both were measured again."
        case _:
            return "The defaults were not beaten: nothing that was tried served more."
