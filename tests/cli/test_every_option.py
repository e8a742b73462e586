"""Every option of every command that takes a figure, with figures that cannot be: one sentence or a result, always."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from priced_runs import FOUR_T4, Command, write_run
from rackrate.cli.commands import COMMANDS, Commands

pytestmark = pytest.mark.usefixtures("shipped_catalogue")

FIGURES = ("0", "-1", "nan", "inf", "1e308", "1e30", "", "abc", "9" * 2000)
TEXTS = {
    "anchor", "api_price_decline", "arrivals", "as_of", "autoscale", "cached_share", "capacity", "cold_start",
    "concurrency", "discount", "growth", "headroom", "input_tokens", "lengths", "max_wait", "mean_rate", "mix",
    "output_tokens", "over", "precision", "rate", "resize", "scale_down", "shared_prefix", "slo", "step", "think_time",
    "tokenizer_ratio", "tokens_per_month", "tokens_per_second", "traffic", "turns", "weekdays",
}  # fmt: skip
"""Options whose text has figures in it."""
SHORT = ("--input-tokens", "64", "--output-tokens", "8")
WORDS: dict[str, tuple[str, ...]] = {
    "calibrate": ("run",),
    "compare": ("--tokens-per-second", "60", "--usd-per-hour", "1", "--model", "llama-3-8b-instruct"),
    "energy": ("run", "--watts", "300"),
    "fit": ("llama-3-8b-instruct", "--on", "t4x4"),
    "fleet": ("--capacity", "2/s", "--traffic", "3/s", "--usd-per-hour", "1", "--over", "1d"),
    "measure": ("--url", "http://127.0.0.1:9"),
    "plan": ("llama-3-8b-instruct", "--traffic", "1/s", "--offer", "aws/g5.xlarge", "--requests", "20", *SHORT),
    "price": ("--tokens-per-second", "60", "--usd-per-hour", "1"),
    "report": ("run", "--offer", "aws/g4dn.12xlarge", "--format", "json"),
    "serve": ("--print",),
    "side-by-side": ("run",),
    "simulate": ("llama-3-8b-instruct", "--on", "t4x4", "--rate", "1", "--requests", "20", *SHORT),
    "study": ("run", "study.yaml"),
    "tokens": ("http://127.0.0.1:9", "--tokenizer", "tokenizer.json"),
    "traffic": ("2/s",),
    "tune": (),
    "validate": ("rows.csv",),
    "verify": ("run",),
}
"""A short way to ask each command that takes figures."""


def _options(command: str) -> list[tuple[str, str]]:
    """Of a command: name and longest option of each that takes a figure."""
    known: Any = Commands()[command]
    takes = [
        item
        for item in known.params
        if item.param_type_name == "option" and (item.bare_type() in {"int", "float"} or item.name in TEXTS)
    ]
    return [(item.name, max(item.opts, key=len)) for item in takes]


def test_the_table_has_every_command_that_takes_figures() -> None:
    assert {command for command in COMMANDS if _options(command)} <= set(WORDS)


@pytest.mark.parametrize(("command", "option"), [(name, option) for name in WORDS for _, option in _options(name)])
def test_a_figure_that_cannot_be_ends_in_one_sentence(
    rackrate: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, option: str
) -> None:
    monkeypatch.setenv("RACKRATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RACKRATE_STATE", str(tmp_path / "state"))
    write_run(tmp_path / "run", FOUR_T4)
    words = list(WORDS[command])
    if option in words:
        place = words.index(option)
        del words[place : place + 2]
    for figure in FIGURES:
        ran = rackrate(command, *words, f"{option}={figure}")
        shown = f"{command} {option}={figure[:20]}: {ran.err[-500:]}"
        assert ran.code in {0, 2}, shown
        assert "Traceback" not in ran.err, shown
        if ran.code == 2:
            said = ran.err.strip().splitlines()[-1]
            assert said.startswith("rackrate: "), shown
            assert len(said) < 600, shown
            assert not re.search(r"\{[a-z_]+\}|<class |object at 0x", said), shown
