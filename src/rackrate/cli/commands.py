"""The commands: what each does, and how it is imported once it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, MutableMapping
from typing import Any

import typer

COMMANDS = {
    "doctor": "Say what this machine has, what is missing, and what to do about it",
    "engines": "List the engines and what each needs; `engines install NAME` makes one ready, "
    "`settings NAME` lists its settings",
    "measure": "Load a server until it saturates, and record every request in a run directory",
    "trace": "Show what recorded requests are like: rate, burstiness, lengths, how much of the prompts is shared",
    "import": "Read results of vLLM bench serve, guidellm, aiperf or genai-perf into a run, to show and price it",
    "show": "Show what a run measured: a row per load, with the caveats of its figures",
    "side-by-side": "Set runs side by side: throughput, latency, USD per 1M tokens, and the ratio to a baseline",
    "price": "Price a run (or a stated throughput): USD per 1M tokens, per month, against APIs",
    "compare": "Rank self-hosting offers and APIs by what the same requests cost, with 80 % intervals",
    "study": "Evaluate a study: claims get verdicts, questions a ranking with 80 % intervals",
    "traffic": "Show what traffic is like: rates, peaks, lengths, the mean day",
    "fleet": "Price a fleet over real traffic: fixed, following the load, or mixed from several offers; "
    "the cheapest in time",
    "report": "Write a run and its pricing as one file: an HTML page that needs no network, Markdown, JSON or CSV",
    "fit": "Say whether a model fits: weights, KV cache, working memory; the longest context, the most requests, "
    "what would",
    "calibrate": "Fit the step-time model to a run of your own endpoint, so that other loads of the same "
    "machine can be predicted",
    "verify": "Show what a calibration predicts beside what a run measured, load by load",
    "validate": "Predict every row of files in the published format and print the errors, by class of prediction",
    "simulate": "Simulate a load on a deployment that need not exist: a run like a measured one, for show, "
    "price and report",
    "plan": "Rank every way to serve a model by what it costs at your traffic and SLO, APIs in the same table",
    "serve": "Serve a model with an OpenAI-compatible API, and keep it running until Ctrl-C",
    "tune": "Search the settings of an engine for the lowest USD per 1M tokens on this machine",
    "quality": "Measure what a number format lost: perplexity on a text, and greedy agreement over 50 prompts",
    "tokens": "Check a server's token counts (usage) against the model's own tokenizer",
    "energy": "Show the energy of a run: watts over each steady window, joules per token, and USD per 1M tokens",
    "catalog": "List what is known: models, accelerators, offers or API prices, each figure with its source and date",
}
"""Each is a module of its own, with a function of the same name; imported once it is asked for. And what it does: the
first words of its docstring, here for help, which would have to import them all."""


class Commands(MutableMapping[str, Any]):
    """Commands by name, each imported as it is looked up: all take a quarter of the time that help takes."""

    def __init__(self) -> None:
        self._known: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in COMMANDS:
            raise KeyError(name)
        if name not in self._known:
            word = name.replace("-", "_")
            word += "_" * (word == "import")
            alone = typer.Typer(add_completion=False, rich_markup_mode=None)
            alone.command(name)(getattr(importlib.import_module(f"rackrate.cli.{word}"), word))
            self._known[name] = typer.main.get_command(alone)
        return self._known[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._known[name] = command

    def __delitem__(self, name: str) -> None:
        del self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)
