"""Engines recognised by the pages that each has."""

from __future__ import annotations

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from rackrate.measurement.http import Client
from rackrate.measurement.identify import identify
from rackrate.measurement.target import Timeouts, parse_url


def ask(pages: dict[str, Any], served: dict[str, Any]) -> tuple[str, str | None]:
    """What a server with these pages is taken for."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            page = pages.get(self.path)
            body = page.encode() if isinstance(page, str) else json.dumps(page).encode()
            self.send_response(200 if page is not None else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    async def run() -> tuple[str, str | None]:
        async with Client(parse_url(f"http://127.0.0.1:{server.server_port}"), None, Timeouts(5, 5, 5)) as client:
            return await identify(client, served)

    try:
        return asyncio.run(run())
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("pages", "served", "expected"),
    [
        ({"/version": {"version": "0.32.0"}}, {"owned_by": "vllm"}, ("vLLM", "0.32.0")),
        ({"/get_server_info": {"version": "0.5.3"}}, {"owned_by": "sglang"}, ("SGLang", "0.5.3")),
        ({"/metrics": "# HELP x y\nvllm:num_requests_running 0\n"}, {}, ("vLLM", None)),
        ({"/metrics": "sglang:num_running_reqs 0\n"}, {}, ("SGLang", None)),
        ({"/info": {"router": "text-generation-router", "version": "3.3.4"}}, {"owned_by": "org/model"},
         ("Text Generation Inference", "3.3.4")),
        ({"/api/version": {"version": "0.12.3"}}, {"owned_by": "someone"}, ("Ollama", "0.12.3")),
        ({"/api/v0/models": {"data": [{"id": "m", "compatibility_type": "gguf"}]}}, {}, ("LM Studio", None)),
        ({}, {"owned_by": "organization_owner"}, ("LM Studio", None)),
        ({}, {"owned_by": "llamacpp"}, ("llama.cpp", None)),
        ({"/metrics": "go_goroutines 3\n", "/info": "<html>"}, {"owned_by": "acme"}, ("unknown engine", None)),
    ],
)  # fmt: skip
def test_an_engine_is_told_by_its_pages(
    pages: dict[str, Any], served: dict[str, Any], expected: tuple[str, str | None]
) -> None:
    assert ask(pages, served) == expected
