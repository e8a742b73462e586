"""What is found out before a measurement: every way in which that fails is one sentence, and prompts fit exactly."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
from collections.abc import Coroutine
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar, get_args

import pytest
import uvloop

from rackrate.errors import EndpointError, WorkloadError
from rackrate.measurement.http import Client
from rackrate.measurement.probe import PATHS, Probe, probe
from rackrate.measurement.target import Timeouts, parse_url
from rackrate.workload.prompts import prompt
from rackrate.workload.synthetic import Endpoint, SyntheticWorkload
from scripted_answers import Oddity
from scripted_server import ScriptedServer

T = TypeVar("T")

WORKLOAD = SyntheticWorkload(input_tokens=64, output_tokens=8)
QUICK = Timeouts(connect_s=2.0, first_token_s=0.3, gap_s=0.2, total_s=2.0)
ENDPOINTS: tuple[Endpoint, ...] = get_args(Endpoint)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs it on the loop that measurements use."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def ask(
    url: str,
    workload: SyntheticWorkload = WORKLOAD,
    *,
    model: str | None = None,
    key: str | None = None,
    notes: list[str] | None = None,
) -> Probe:
    """Probes a server."""

    async def go() -> Probe:
        async with Client(parse_url(url), key, QUICK) as client:
            return await probe(client, workload, model, notes.append if notes is not None else lambda _: None)

    return run(go())


def served(*oddities: Oddity, **script: Any) -> ScriptedServer:
    """A fast server with these oddities."""
    options: dict[str, Any] = {"ttft_s": 0.002, "itl_s": 0.0, "oddities": oddities, **script}
    return ScriptedServer(**options)


def complaint(server: ScriptedServer, **how: Any) -> str:
    """What probing this server complains of; one line that names the server."""
    with server, pytest.raises(EndpointError) as caught:
        ask(server.url, **how)
    said = str(caught.value)
    assert server.url in said
    assert "\n" not in said
    assert not said.rstrip().endswith((":", ",", "()", "None"))
    return said


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(
        EndpointError, match=r"no connection .*is the server running, and is the port right\?"
    ) as caught:
        ask(url)
    assert url in str(caught.value)


@pytest.mark.parametrize("key", [None, "wrong"])
def test_a_missing_or_wrong_key(key: str | None) -> None:
    said = complaint(served(key="sesame"), key=key)
    assert "refuses the key (401)" in said
    assert "RACKRATE_API_KEY" in said
    assert "key_env" in said


def test_a_right_key() -> None:
    with served(key="sesame") as server:
        assert ask(server.url, key="sesame").model == "scripted"


def test_a_key_that_only_completions_refuse() -> None:
    assert "refuses the key (401)" in complaint(served("status-401"))


def test_an_unknown_model_with_those_served() -> None:
    said = complaint(served(models=("alpha", "beta")), model="gamma")
    assert "does not serve 'gamma'" in said
    assert "alpha, beta" in said


def test_an_unknown_model_of_many_with_the_nearest() -> None:
    said = complaint(served(models=[f"model-{n}" for n in range(9)] + ["llama-3"]), model="lama-3")
    assert "did you mean llama-3" in said


def test_several_models_and_none_chosen() -> None:
    said = complaint(served(models=("alpha", "beta")))
    assert "serves 2 models" in said
    assert "model: alpha, beta" in said


def test_more_models_than_a_line_holds_are_not_all_named() -> None:
    said = complaint(served(models=[f"model-{n}" for n in range(50)]))
    assert "model-0" in said
    assert "and 44 more" in said
    assert "model-49" not in said


def test_no_model_at_all() -> None:
    assert "no model" in complaint(served(models=()))


def test_one_of_several_models_can_be_chosen() -> None:
    with served(models=("alpha", "beta")) as server:
        assert ask(server.url, model="beta").model == "beta"
        assert {request.model for request in server.log} == {"beta"}


def test_the_only_model_is_chosen_and_said() -> None:
    notes: list[str] = []
    with served() as server:
        found = ask(server.url, notes=notes)
        assert (found.model, found.served["owned_by"]) == ("scripted", "scripted")
        assert notes == [f"{server.url} serves scripted"]


def test_a_server_without_a_models_page_needs_a_name() -> None:
    assert "name one with model" in complaint(served(models_status=404))
    with served(models_status=404) as server:
        assert ask(server.url, model="anything").model == "anything"


def test_a_models_page_that_is_not_json() -> None:
    said = complaint(served(models_body=b"<html>Welcome to nginx!</html>"))
    assert "/v1/models answers with something that is not JSON" in said
    assert "is this an OpenAI-compatible server?" in said


@pytest.mark.parametrize("listing", [b'{"data": {}}', b'{"models": []}', b"3", b'"text"'])
def test_a_models_page_of_another_shape_lists_nothing(listing: bytes) -> None:
    assert "name one with model" in complaint(served(models_body=listing))


def test_a_bare_list_of_models_is_read() -> None:
    with served(models_body=b'[{"id": "alpha"}, {"name": "no id"}, 3]') as server:
        assert ask(server.url).model == "alpha"


def test_no_streaming() -> None:
    said = complaint(served("not-streaming"))
    assert "/v1/chat/completions does not stream" in said
    assert "TTFT and TPOT cannot be measured" in said


def test_an_error_in_an_answer_of_200_is_told_in_the_servers_own_words() -> None:
    said = complaint(served("error-in-200"))
    assert said.endswith("/v1/chat/completions answers 200, and in it an error: Unexpected endpoint or method.")


@pytest.mark.parametrize("page", ["models", "completions"])
def test_a_redirect_names_where_it_leads(page: str) -> None:
    server = served(models_status=307) if page == "models" else served("redirect")
    said = complaint(server)
    assert f"{page} redirects to {server.url}/elsewhere" in said
    assert "url" in said


def test_a_rate_limit() -> None:
    said = complaint(served("status-429"))
    assert "rate-limited (429)" in said
    assert "it asks to wait 7 s" in said
    assert "not of the machine" in said


def test_a_rate_limit_until_a_date() -> None:
    with served("status-429") as server:
        server.retry_after = "Wed, 21 Oct 2026 07:28:00 GMT"
        with pytest.raises(EndpointError, match=r"it asks to wait until Wed, 21 Oct 2026 07:28:00 GMT: a limit"):
            ask(server.url)


def test_no_such_page() -> None:
    said = complaint(served("status-404"))
    assert "/v1/chat/completions answers 404 for 'scripted': Not Found" in said


@pytest.mark.parametrize("page", ["models", "completions"])
def test_a_server_that_fails(page: str) -> None:
    said = complaint(served(models_status=500) if page == "models" else served("status-500"))
    assert f"{page} answers 500: Internal Server Error" in said


def test_not_http() -> None:
    said = complaint(served("not-http"))
    assert "does not speak HTTP/1.1" in said
    assert "is the port right?" in said


@pytest.mark.parametrize(
    ("oddity", "said"),
    [
        ("malformed", "not a JSON object"),
        ("error-event", "the engine ran out of memory"),
        ("reset", "(reset)"),
        ("cut", "(reset)"),
        ("stall", "(timeout-gap)"),
        ("stall-first", "(timeout-first-token)"),
    ],
)
def test_a_stream_that_breaks(oddity: Oddity, said: str) -> None:
    assert said in complaint(served(oddity))


def test_a_prompt_longer_than_the_context() -> None:
    said = complaint(served(context_tokens=200), workload=SyntheticWorkload(1000, 8))
    assert "the context of 200 tokens is too short" in said
    assert "input_tokens" in said


def test_a_prompt_that_just_fits_the_context_is_not_refused() -> None:
    # the probing prompts are no longer than those to come, else they
    # are more tokens than any request of the load will have.
    with served(context_tokens=200, template_tokens=31) as server:
        found = ask(server.url, SyntheticWorkload(190, 8))
    assert found.length.words_for(190) == 159


@pytest.mark.parametrize(
    ("oddities", "limit_key", "forcing", "usage"),
    [
        ((), "max_tokens", "ignore_eos+min_tokens", True),
        (("strict",), "max_tokens", None, True),
        (("only-max-completion-tokens",), "max_completion_tokens", None, True),
        (("no-stream-options",), "max_tokens", "ignore_eos", False),
        (("strict", "no-stream-options"), "max_tokens", None, False),
    ],
)
def test_the_most_telling_dialect_that_a_server_takes(
    oddities: tuple[Oddity, ...], limit_key: str, forcing: str | None, usage: bool
) -> None:
    with served(*oddities) as server:
        found = ask(server.url)
        assert found.dialect.limit_key == limit_key
        assert found.length_forced == forcing
        assert found.counts_usage is usage
        assert [request.status for request in server.log[-2:]] == [200, 200]
        assert all(limit_key in request.body for request in server.log[-2:])


def test_a_server_that_takes_no_dialect_says_why() -> None:
    said = complaint(served("only-max-completion-tokens", "no-stream-options"))
    assert "refuses every form of the request" in said
    assert "Unrecognized request argument supplied" in said


def test_a_length_that_is_not_kept_is_not_forced() -> None:
    with served("ends-early") as server:
        found = ask(server.url)
    assert found.length_forced is None
    assert found.counts_usage


@pytest.mark.parametrize("oddity", ["no-usage", "no-stream-options"])
def test_missing_usage_is_noticed(oddity: Oddity) -> None:
    with served(oddity) as server:
        found = ask(server.url)
    assert not found.counts_usage
    assert (found.length.fixed, found.length.per_word) == (0.0, 1.0)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("template", [0, 7, 31])
@pytest.mark.parametrize("asked", [32, 33, 64, 500])
def test_prompts_have_exactly_the_tokens_asked_for(endpoint: Endpoint, template: int, asked: int) -> None:
    workload = SyntheticWorkload(asked, 4, endpoint)

    async def go(url: str) -> Probe:
        async with Client(parse_url(url), None, QUICK) as client:
            found = await probe(client, workload, None)
            for index in range(3):
                text = prompt(found.length.words_for(asked), workload.seed, index)
                body = found.dialect.body(endpoint, found.model, text, workload.output_tokens)
                await client.exchange(client.request("POST", PATHS[endpoint], body))
            return found

    with served(template_tokens=template) as server:
        found = run(go(server.url))
    assert found.length.fixed == template
    sent = server.log[2:]
    assert [request.prompt_tokens for request in sent] == [asked] * 3
    assert [len(request.token_s) for request in sent] == [4] * 3
    assert {request.path for request in sent} == {PATHS[endpoint]}
    texts = [str(request.body.get("prompt") or request.body["messages"]) for request in sent]
    assert len(set(texts)) == 3


@pytest.mark.parametrize("asked", [1, 7, 31])
def test_fewer_input_tokens_than_the_template_has_cannot_be_sent(asked: int) -> None:
    with served(template_tokens=31) as server:
        found = ask(server.url, SyntheticWorkload(asked, 4))
    with pytest.raises(WorkloadError, match="the server counts 31 for an empty prompt") as caught:
        found.length.words_for(asked)
    named = int(str(caught.value).split("input_tokens ")[1].split()[0])
    assert named > 31
    assert found.length.words_for(named) >= 1


class _Packed(BaseHTTPRequestHandler):
    """Packs every answer, whatever it was asked for."""

    def do_GET(self) -> None:
        self._say(b'{"data": [{"id": "m"}]}')

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._say(b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n')

    def _say(self, body: bytes) -> None:
        data = gzip.compress(body)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream" if self.command == "POST" else "application/json")
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002 - as the library calls it


def test_a_server_that_packs_its_answers_unasked_is_told_so() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Packed) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        with pytest.raises(EndpointError, match=r"compresses its answers \(Content-Encoding: gzip\)"):
            ask(f"http://127.0.0.1:{server.server_port}", model="m")
        server.shutdown()
        thread.join()
