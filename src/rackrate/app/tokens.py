"""Whether a server counts honestly, and what other tokenizers would have counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from rackrate import bounds
from rackrate.app.measuring.measurement import api_key
from rackrate.app.measuring.request import DEFAULT_KEY
from rackrate.app.request_json import Request
from rackrate.errors import EndpointError, UserError, WorkloadError

if TYPE_CHECKING:
    from rackrate.app.context import Context
    from rackrate.measurement.http import Client
    from rackrate.measurement.target import Target
    from rackrate.measurement.token_check import Checked, Counts, Sample

FEWEST = 4
"""Requests that tell text from template."""


@dataclass(frozen=True)
class TokensRequest(Request):
    """Which server to ask, and which tokenizers to count with."""

    NAME: ClassVar[str] = "tokens"

    url: str
    tokenizer: str
    """The model's own: tokenizer.json, its directory, a GGUF file, or `llama3`."""
    other: tuple[str, ...] = ()
    """NAME=PATH of further ones."""
    model: str | None = None
    """Its name there; None: the only one served."""
    requests: Annotated[int, bounds.Bounds("a whole number", 1, 10_000)] = 12
    output_tokens: bounds.Tokens = 64
    key_env: str = DEFAULT_KEY
    """The name of the API key's variable, never the key."""
    allow_plain_http: bool = False
    """Whether the key may go to another machine by http, where others can read it."""


@dataclass(frozen=True)
class TokenCheck:
    """A server's counts against those of tokenizers, the model's own first."""

    url: str
    model: str
    samples: tuple[Sample, ...]
    tokenizers: tuple[Checked, ...]


def check_tokens(request: TokensRequest, context: Context) -> TokenCheck:
    """Asks a server questions of different length, one at a time, and counts prompts and answers. Starts an event loop.

    The API key is the one that `measure` takes where none is named.

    Raises:
        WorkloadError: too few requests.
        EndpointError: the server does not answer, or answers without usage.
        UserError: a tokenizer cannot be read, or its name is taken.
    """
    import asyncio

    from rackrate.measurement.target import parse_url
    from rackrate.measurement.token_check import check

    if request.requests < FEWEST:
        raise WorkloadError(
            f"{{requests}} must be at least {FEWEST} to tell text from template, got {request.requests}",
            field="requests",
        )
    target, key = parse_url(request.url), api_key(request.key_env, context)
    target.refuse_key_in_clear(key, allowed=request.allow_plain_http)
    tokenizers = _tokenizers(request)
    model, samples = asyncio.run(_ask(request, context, target, key))
    return TokenCheck(request.url, model, tuple(samples), tuple(check(samples, tokenizers)))


def _tokenizers(request: TokensRequest) -> dict[str, Counts]:
    from rackrate.models.tokenizer_files import read_tokenizer

    tokenizers: dict[str, Counts] = {"own": read_tokenizer(request.tokenizer)}
    for text in request.other:
        name, equals, path = text.partition("=")
        if not equals or name in tokenizers:
            raise UserError(f"{{other}} takes NAME=PATH with a new name, not {text!r}", field="other")
        tokenizers[name] = read_tokenizer(path)
    return tokenizers


async def _ask(request: TokensRequest, context: Context, target: Target, key: str | None) -> tuple[str, list[Sample]]:
    from rackrate.measurement.http import Client
    from rackrate.measurement.probe import choose_model
    from rackrate.measurement.target import Timeouts

    timeouts = Timeouts(first_token_s=120.0, gap_s=120.0, total_s=300.0)
    async with Client(target, key, timeouts) as client:
        model, _ = await choose_model(client, request.model)
        samples: list[Sample] = []
        for number, prompt in enumerate(_prompts(request.requests)):
            context.notify.progress(f"asking {model} {request.requests} questions", number, request.requests)
            samples.append(await _sample(client, model, prompt, request.output_tokens))
        return model, samples


def _prompts(number: int) -> list[str]:
    """Questions about pieces of the shipped text, of every length from a few words to a page."""
    from rackrate.engines.quality import text

    words = text().split(" ")
    lengths = [round(8 * 1.6**n) % 400 + 8 for n in range(number)]
    return ["Continue this text: " + " ".join(words[37 * n : 37 * n + length]) for n, length in enumerate(lengths)]


async def _sample(client: Client, model: str, prompt: str, output_tokens: int) -> Sample:
    import orjson

    from rackrate.measurement.lenient_json import as_list, as_object, as_text, error_text, parse
    from rackrate.measurement.token_check import Sample
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
