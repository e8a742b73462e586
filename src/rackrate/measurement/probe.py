"""Before a measurement: is the server there, does it serve this model, does it stream and count, how long is a word.

Every way in which that can go wrong is one sentence (EndpointError).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from rackrate.errors import EndpointError, did_you_mean
from rackrate.measurement.answers import Answer
from rackrate.measurement.backoff import retry_after_s
from rackrate.measurement.exchange import Exchange
from rackrate.measurement.http import Client
from rackrate.measurement.lenient_json import as_list, as_object, as_text, error_text, parse, printable
from rackrate.measurement.sse import decode
from rackrate.runs.statuses import OK
from rackrate.workload.prompts import PromptLength, fit_prompt_length, prompt
from rackrate.workload.synthetic import Endpoint, SyntheticWorkload

PATHS: dict[Endpoint, str] = {"chat": "/v1/chat/completions", "completions": "/v1/completions"}

_PROBE_TOKENS = 24
_FEW_WORDS = 16


@dataclass(frozen=True)
class Dialect:
    """Which keys of a request a server takes. Strict servers refuse keys that they do not know."""

    limit_key: str = "max_tokens"
    forcing: tuple[str, ...] = ("ignore_eos", "min_tokens")
    """Keys that make an answer as long as asked."""
    usage_option: bool = True

    def body(self, endpoint: Endpoint, model: str, text: str | Sequence[str], output_tokens: int) -> bytes:
        """The JSON of a request. Several texts are a conversation: user, assistant, user, ..."""
        values: dict[str, Any] = {"model": model}
        texts = [text] if isinstance(text, str) else text
        if endpoint == "chat":
            values["messages"] = [
                {"role": ("user", "assistant")[number % 2], "content": text} for number, text in enumerate(texts)
            ]
        else:
            values["prompt"] = "\n".join(texts)
        values["stream"] = True
        values[self.limit_key] = output_tokens
        if "ignore_eos" in self.forcing:
            values["ignore_eos"] = True
        if "min_tokens" in self.forcing:
            values["min_tokens"] = output_tokens
        if "generation_config" in self.forcing:  # transformers serve: no token ends an answer
            own = {"eos_token_id": -1, "max_new_tokens": output_tokens, "do_sample": False}
            values["generation_config"] = orjson.dumps(own).decode()
        if self.usage_option:
            values["stream_options"] = {"include_usage": True}
        return orjson.dumps(values)


_DIALECTS = (
    Dialect(),
    Dialect(forcing=("ignore_eos",)),
    Dialect(forcing=("generation_config",)),
    Dialect(forcing=()),
    Dialect(limit_key="max_completion_tokens", forcing=()),
    Dialect(forcing=("ignore_eos",), usage_option=False),
    Dialect(forcing=(), usage_option=False),
)
"""From the most telling to the plainest; the first that a server does not refuse is used."""


@dataclass(frozen=True)
class Probe:
    """What the probing requests found out."""

    model: str
    dialect: Dialect
    length: PromptLength
    counts_usage: bool
    length_forced: str | None
    server: str | None
    served: dict[str, Any] = field(default_factory=dict[str, Any])
    """The server's own words about the model, from /v1/models."""


async def served_models(client: Client) -> list[dict[str, Any]] | None:
    """What /v1/models lists; None where the server has no such page. Raises EndpointError where it cannot be asked."""
    exchange = await client.exchange(client.request("GET", "/v1/models"))
    _require_connection(exchange, client)
    if exchange.http_status in {404, 405, 501}:
        return None
    _require_ok(exchange, client, "/v1/models")
    values = parse(exchange.body)
    if values is None:
        raise EndpointError(
            f"{client.target.url}/v1/models answers with something that is not JSON: "
            "is this an OpenAI-compatible server?"
        )
    listed = as_object(values).get("data", values)
    if not isinstance(listed, list):
        return None
    return [item for item in map(as_object, as_list(listed)) if as_text(item.get("id"))]


async def choose_model(client: Client, wanted: str | None) -> tuple[str, dict[str, Any]]:
    """The model to ask for: the one wanted, or the only one served. Raises EndpointError, naming those served."""
    listed = await served_models(client)
    if listed is None:
        if wanted is None:
            raise EndpointError(f"{client.target.url} does not list its models; name one with {{model}}", field="model")
        return wanted, {}
    names = [str(entry["id"]) for entry in listed]
    if wanted is not None and not listed:  # transformers serve lists the hub's cache, not what it serves
        return wanted, {}
    if wanted is None:
        if len(listed) == 1:
            return names[0], listed[0]
        if not listed:
            raise EndpointError(f"{client.target.url} serves no model at all; load one first")
        raise EndpointError(
            f"{client.target.url} serves {len(names)} models; choose one with {{model}}: {_some(names)}", field="model"
        )
    for entry in listed:
        if wanted in {entry["id"], *map(as_text, as_list(entry.get("aliases")))}:
            return wanted, entry
    hint = did_you_mean(wanted, names) if len(names) > 4 else f"; it serves {_some(names) or 'nothing'}"
    raise EndpointError(f"{client.target.url} does not serve {wanted!r}{hint}")


async def probe(
    client: Client,
    workload: SyntheticWorkload,
    wanted: str | None,
    note: Callable[[str], None] = lambda _: None,
) -> Probe:
    """Asks the server what must be known before it can be loaded. Raises EndpointError with what is wrong."""
    model, served = await choose_model(client, wanted)
    note(f"{client.target.url} serves {model}")
    path = PATHS[workload.endpoint]
    refused: list[str] = []
    for dialect in _DIALECTS:
        few = await _ask(client, path, dialect.body(workload.endpoint, model, _text(_FEW_WORDS, 0), _PROBE_TOKENS))
        if few.http_status in {400, 422} and dialect is not _DIALECTS[-1]:
            refused.append(_reason(few))
            continue
        break
    else:  # pragma: no cover - the loop always breaks at its last round
        raise AssertionError
    answer = _require_stream(few, client, path, model, refused)
    # as long as the prompts to come, so that one that just fits the context is not refused here
    template = max(0, (answer.input_tokens or _FEW_WORDS) - _FEW_WORDS)
    many_words = max(workload.longest_input - template, 2 * _FEW_WORDS)
    second = await _ask(client, path, dialect.body(workload.endpoint, model, _text(many_words, 1), 1))
    if second.status == OK and second.http_status in {400, 413, 422}:
        raise EndpointError(
            f"{client.target.url}{path} refuses a prompt of {many_words} words: {_reason(second)}; "
            f"ask for fewer {{input_tokens}}{' (or {longest}, for a trace)' if workload.trace is not None else ''}",
            fields=("input_tokens", "longest"),
        )
    _require_ok(second, client, path)
    longer = decode(second.pieces)
    length = PromptLength(0.0, 1.0)
    if answer.input_tokens is not None and longer.input_tokens is not None:
        length = fit_prompt_length([(_FEW_WORDS, answer.input_tokens), (many_words, longer.input_tokens)])
        if workload.conversations is not None:
            length = await _with_turns(client, path, dialect, workload.endpoint, model, length)
    forced = "+".join(dialect.forcing) or None
    if answer.output_tokens is not None and answer.output_tokens != _PROBE_TOKENS:
        forced = None
    return Probe(
        model=model,
        dialect=dialect,
        length=length,
        counts_usage=answer.output_tokens is not None,
        length_forced=forced,
        server=None,
        served=served,
    )


async def _with_turns(
    client: Client, path: str, dialect: Dialect, endpoint: Endpoint, model: str, length: PromptLength
) -> PromptLength:
    """The length of prompts, and what a further turn adds to them besides its text."""
    texts = [_text(_FEW_WORDS, index) for index in (2, 3, 4)]
    third = await _ask(client, path, dialect.body(endpoint, model, texts, 1))
    _require_ok(third, client, path)
    counted = decode(third.pieces).input_tokens
    if counted is None:
        return length
    return replace(length, per_turn=counted - length.fixed - 3 * _FEW_WORDS * length.per_word)


def _text(words: int, index: int) -> str:
    return prompt(words, seed=-1, index=index)


async def _ask(client: Client, path: str, body: bytes) -> Exchange:
    exchange = await client.exchange(client.request("POST", path, body))
    _require_connection(exchange, client)
    return exchange


def _require_connection(exchange: Exchange, client: Client) -> None:
    url = client.target.url
    match exchange.status:
        case "refused":
            raise EndpointError(
                f"{url}: no connection ({exchange.detail}); is the server running, and is the port right?"
            )
        case "tls":
            if exchange.detail == "CERTIFICATE_VERIFY_FAILED":
                raise EndpointError(
                    f"{url}: the server's certificate is not trusted; name the file of your own in SSL_CERT_FILE"
                )
            raise EndpointError(f"{url}: the TLS handshake failed ({exchange.detail}); is it an https server?")
        case "timeout-connect":
            raise EndpointError(f"{url}: {exchange.detail}; is the address right?")
        case _:
            pass


def _require_ok(exchange: Exchange, client: Client, path: str) -> None:
    url, code = client.target.url, exchange.http_status
    if exchange.status == "malformed":
        raise EndpointError(f"{url}{path} does not speak HTTP/1.1 ({exchange.detail}); is the port right?")
    if exchange.status != OK:
        raise EndpointError(f"{url}{path}: {exchange.detail} ({exchange.status})")
    if code in {401, 403}:
        raise EndpointError(
            f"{url} refuses the key ({code}): set RACKRATE_API_KEY, or name the variable that holds it with "
            "{key_env}",
            field="key_env",
        )
    if code is not None and 300 <= code < 400:
        raise EndpointError(f"{url}{path} redirects to {exchange.location}; give that address to {{url}}", field="url")
    if code == 429:
        raise EndpointError(
            f"{url} is rate-limited (429){_asked_wait(exchange.retry_after)}: a limit of the account, not of the "
            "machine, would be measured"
        )
    if code is None or code >= 400:
        raise EndpointError(f"{url}{path} answers {code}: {_reason(exchange)}")
    if (encoding := exchange.unasked_encoding) is not None:
        raise EndpointError(
            f"{url}{path} compresses its answers (Content-Encoding: {encoding}), which was not asked for: switch that "
            "off, for packed tokens do not arrive one by one"
        )


def _require_stream(exchange: Exchange, client: Client, path: str, model: str, refused: list[str]) -> Answer:
    url = client.target.url
    if exchange.http_status == 404:
        raise EndpointError(f"{url}{path} answers 404 for {model!r}: {_reason(exchange)}")
    if exchange.http_status in {400, 422} and refused:
        raise EndpointError(f"{url}{path} refuses every form of the request: {refused[0]}")
    _require_ok(exchange, client, path)
    if exchange.content_type == "application/json" or (
        exchange.content_type != "text/event-stream" and exchange.body.lstrip()[:1] == b"{"
    ):
        if (said := error_text(as_object(parse(exchange.body)))) is not None:
            raise EndpointError(f"{url}{path} answers 200, and in it an error: {said}")
        raise EndpointError(
            f"{url}{path} does not stream: it answered in one piece though asked for `stream`; "
            "TTFT and TPOT cannot be measured on it"
        )
    answer = decode(exchange.pieces)
    if answer.status not in {OK, "empty"}:
        raise EndpointError(f"{url}{path}: {answer.detail} ({answer.status})")
    return answer


def _asked_wait(retry_after: str | None) -> str:
    """What a header Retry-After asks for, in words; nothing where it is none.

    >>> _asked_wait("7"), _asked_wait("Wed, 21 Oct 2026 07:28:00 GMT"), _asked_wait("soon")
    ('; it asks to wait 7 s', '; it asks to wait until Wed, 21 Oct 2026 07:28:00 GMT', '')
    """
    seconds = retry_after_s(retry_after)
    if retry_after is None or seconds is None:
        return ""
    text = printable(retry_after)
    return f"; it asks to wait until {text}" if "," in text or " " in text else f"; it asks to wait {seconds:g} s"


def _reason(exchange: Exchange) -> str:
    plain = (
        error_text(as_object(parse(exchange.body)))
        or exchange.body.decode("utf-8", "replace").strip()
        or "no reason given"
    )
    return " ".join(plain.split())[:200]


def _some(names: list[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
