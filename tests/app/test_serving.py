"""Serving as a use case: wrong numbers, want of memory, and an end that another thread asks for."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from rackrate.app.context import Collected, Context, Provenance
from rackrate.app.request_json import from_json, to_json
from rackrate.app.serving import Launchable, Server, ServeRequest
from rackrate.catalog.load import load_catalog
from rackrate.cli.names import option_name
from rackrate.engines.process import EngineCommand, free_port
from rackrate.engines.weights import Weights
from rackrate.errors import EngineError, UserError


def context(directory: Path) -> Context:
    return Context(load_catalog, Provenance("test", "0", "3"), directory, notify=Collected())


def launchable(directory: Path, program: str) -> Launchable:
    port = free_port()
    command = EngineCommand(
        name="fake", version=None, argv=[sys.executable, "-c", program, str(port)], environment={}, host="127.0.0.1",
        port=port, ready_path="/", served_name="m", settings={},
    )  # fmt: skip
    weights = Weights(Path("llama-3-8b-instruct"), None, "bf16", None)
    return Launchable("fake", "as asked for", command, weights, directory / "log")


ANSWERS = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.mark.parametrize("field", ["requests", "context_tokens"])
def test_a_number_below_one_names_its_field(field: str) -> None:
    with pytest.raises(UserError) as caught:
        from_json(ServeRequest, {"model": "m.gguf", field: 0})
    assert caught.value.named(option_name).startswith(f"{option_name(field)} is a whole number of ")
    assert caught.value.field == field


def test_want_of_memory_says_what_would_fit_in_the_words_of_the_shell(tmp_path: Path) -> None:
    dies = launchable(tmp_path, "print('failed to allocate'); raise SystemExit(1)")
    request = ServeRequest("llama-3-8b-instruct", requests=10**6, context_tokens=8192)
    with pytest.raises(EngineError, match="It ran out of memory") as caught:
        Server(dies, request, context(tmp_path)).run()
    assert "{" not in caught.value.named(option_name)
    assert "--requests" in caught.value.named(option_name)


def test_another_thread_ends_it(tmp_path: Path) -> None:
    """No signal and no terminal: a page could do the same."""
    ready = threading.Event()
    lines: list[str] = []
    server = Server(launchable(tmp_path, ANSWERS), ServeRequest("m"), context(tmp_path), lambda _: ready.set())
    end = server.follow_log(lines.append)
    thread = threading.Thread(target=server.run)
    thread.start()
    assert ready.wait(30)
    server.stop()
    thread.join(30)
    end()
    assert not thread.is_alive()
    assert any("GET /" in line for line in lines)


def test_the_request_is_json() -> None:
    request = ServeRequest("m", engine="vllm", settings=("eager=on",), log=Path("x.log"))
    assert from_json(ServeRequest, to_json(request)) == request
