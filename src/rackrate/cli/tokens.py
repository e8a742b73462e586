"""rackrate tokens: whether a server counts honestly, and what other tokenizers would have counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from rackrate.cli import options as given

if TYPE_CHECKING:
    from rackrate.measure.http import Client
    from rackrate.measure.token_check import Checked, Sample

SCHEMA = "rackrate.tokens/1"
_KEY = "RACKRATE_API_KEY"


def tokens(
    url: Annotated[str, typer.Argument(metavar="URL", help="An OpenAI-compatible server.", show_default=False)],
    tokenizer: Annotated[
        str,
        typer.Option(
            "--tokenizer",
            "-t",
            metavar="PATH",
            help="The model's own: tokenizer.json, its directory, a GGUF file, or llama3 (package llama-models).",
            show_default=False,
        ),
    ],
    other: Annotated[
        list[str] | None,
        typer.Option(
            "--other",
            metavar="NAME=PATH",
            help="Another tokenizer to count with, likewise; repeatable.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="The model's name there.", show_default="the only one served")
    ] = None,
    requests: Annotated[int, typer.Option("--requests", help="How many to send.")] = 12,
    output_tokens: Annotated[int, typer.Option("--output-tokens", help="Longest answer.")] = 64,
    as_json: given.AsJson = False,
) -> None:
    """Check a server's token counts (usage) against the model's own tokenizer.

    Sends questions with prose of different length, one at a time, and counts prompts and answers. A disagreement over
    1 % is flagged: tokens are what is billed. With --other: how the same text would have been counted elsewhere.
    """
    from rackrate.cli.output import print_json, show
    from rackrate.errors import UserError, WorkloadError
    from rackrate.measure.token_check import check
    from rackrate.models.tokenizer_files import read_tokenizer

    if requests < 4:
        raise WorkloadError(f"--requests must be at least 4 to tell text from template, got {requests}")
    tokenizers = {"own": read_tokenizer(tokenizer)}
    for text in other or []:
        name, equals, path = text.partition("=")
        if not equals or name in tokenizers:
            raise UserError(f"--other takes NAME=PATH with a new name, not {text!r}")
        tokenizers[name] = read_tokenizer(path)
    served, samples = _ask(url, model, requests, output_tokens)
    checked = check(samples, tokenizers)
    view = _view(url, served, samples, checked)
    if as_json:
        print_json(view)
    else:
        show(_table(view))


def _ask(url: str, wanted: str | None, number: int, output_tokens: int) -> tuple[str, list[Sample]]:
    import asyncio
    import os
    import time

    from rackrate.cli.progress import waiting
    from rackrate.measure.http import Client
    from rackrate.measure.probe import choose_model
    from rackrate.measure.target import Timeouts, parse_url

    async def run() -> tuple[str, list[Sample]]:
        timeouts = Timeouts(first_token_s=120.0, gap_s=120.0, total_s=300.0)
        async with Client(parse_url(url), os.environ.get(_KEY) or None, timeouts) as client:
            served, _ = await choose_model(client, wanted)
            samples: list[Sample] = []
            with waiting(f"asking {served} {number} questions") as waited:
                began = time.monotonic()
                for prompt in _prompts(number):
                    samples.append(await _one(client, served, prompt, output_tokens))
                    waited(time.monotonic() - began)
            return served, samples

    return asyncio.run(run())


def _prompts(number: int) -> list[str]:
    """Questions about pieces of the shipped text, of every length from a few words to a page."""
    from rackrate.engines.quality import text

    words = text().split(" ")
    lengths = [round(8 * 1.6**n) % 400 + 8 for n in range(number)]
    return ["Continue this text: " + " ".join(words[37 * n : 37 * n + length]) for n, length in enumerate(lengths)]


async def _one(client: Client, model: str, prompt: str, output_tokens: int) -> Sample:
    import orjson

    from rackrate.errors import EndpointError
    from rackrate.measure.lenient_json import as_list, as_object, as_text, error_text, parse
    from rackrate.measure.token_check import Sample
    from rackrate.runs.statuses import OK

    body = {"model": model, "messages": [{"role": "user", "content": prompt}], "max_tokens": output_tokens}
    exchange = await client.exchange(client.request("POST", "/v1/chat/completions", orjson.dumps(body)))
    where = f"{client.target.url}/v1/chat/completions"
    values = as_object(parse(exchange.body))
    if exchange.status != OK or exchange.http_status != 200:
        raise EndpointError(f"{where}: {error_text(values) or exchange.detail or exchange.http_status}")
    usage = as_object(values.get("usage"))
    into, out = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if not isinstance(into, int) or not isinstance(out, int):
        raise EndpointError(f"{where} answers without usage: its tokens cannot be checked")
    choice = as_object(next(iter(as_list(values.get("choices"))), None))
    answer = as_text(as_object(choice.get("message")).get("content"))
    return Sample(prompt, answer, into, out, choice.get("finish_reason") == "stop")


def _view(url: str, model: str, samples: list[Sample], checked: list[Checked]) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "schema": SCHEMA,
        "url": url,
        "model": model,
        "requests": len(samples),
        "server_input_tokens": sum(sample.input_tokens for sample in samples),
        "server_output_tokens": sum(sample.output_tokens for sample in samples),
        "agrees": checked[0].agrees,
        "tokenizers": [{**asdict(item), "agrees": item.agrees} for item in checked],
    }


def _table(view: dict[str, Any]) -> Any:
    from rich.console import Group
    from rich.text import Text

    from rackrate.report.tables import plain_table

    head = (
        f"{view['model']} at {view['url']}: {view['server_input_tokens']} input and "
        f"{view['server_output_tokens']} output tokens by its own usage, {view['requests']} requests"
    )
    table = plain_table(
        "tokenizer", "input (text)", "output", "template per request", "server per input", "server per output",
        left=["tokenizer"],
    )  # fmt: skip
    for tokenizer in view["tokenizers"]:
        table.add_row(
            tokenizer["tokenizer"],
            str(tokenizer["input_tokens"]),
            str(tokenizer["output_tokens"]),
            f"{tokenizer['template_tokens']:.1f}",
            f"{tokenizer['input_disagreement']:+.2%}",
            f"{tokenizer['output_disagreement']:+.2%}",
        )
    verdict = (
        Text("The server's counts are the model's tokens, within 1 %.", style="green")
        if view["agrees"]
        else Text(
            "The server's counts differ from the model's tokens by more than 1 %: is it the right tokenizer?",
            style="bold red",
        )
    )
    return Group(Text(head), Text(""), table, Text(""), verdict)
