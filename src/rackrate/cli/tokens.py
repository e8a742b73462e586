"""rackrate tokens: whether a server counts honestly, and what other tokenizers would have counted."""

from __future__ import annotations

from typing import Annotated

import typer

from rackrate.app.measuring.request import DEFAULT_KEY
from rackrate.cli import options as given


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
    key_env: Annotated[
        str, typer.Option("--key-env", help="Environment variable that holds the API key.")
    ] = DEFAULT_KEY,
    allow_plain_http: given.AllowPlainHttp = False,
    out: given.Out = None,
    as_json: given.AsJson = False,
) -> None:
    """Check a server's token counts (usage) against the model's own tokenizer.

    Sends questions with prose of different length, one at a time, and counts prompts and answers. A disagreement over
    1 % is flagged: tokens are what is billed. With --other: how the same text would have been counted elsewhere.
    """
    from rackrate.app.tokens import TokensRequest, check_tokens
    from rackrate.cli.output import deliver
    from rackrate.cli.waiting import spinning

    request = TokensRequest(
        url, tokenizer, tuple(other or ()), model, requests, output_tokens, key_env, allow_plain_http
    )
    with spinning() as context:
        checked = check_tokens(request, context)
    deliver(checked, as_json=as_json, out=out)
