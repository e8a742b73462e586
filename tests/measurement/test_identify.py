"""Engines recognised by the pages that each has."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pages import serve_pages
from rackrate.measurement.http import Client
from rackrate.measurement.identify import identify
from rackrate.measurement.target import Timeouts, parse_url


def ask(pages: dict[str, Any], served: dict[str, Any]) -> tuple[str, str | None]:
    """What a server with these pages is taken for."""

    async def run(url: str) -> tuple[str, str | None]:
        async with Client(parse_url(url), None, Timeouts(5, 5, 5)) as client:
            return await identify(client, served)

    with serve_pages(pages) as url:
        return asyncio.run(run(url))


@pytest.mark.parametrize(
    ("pages", "served", "expected"),
    [
        ({"/version": {"version": "0.32.0"}}, {"owned_by": "vllm"}, ("vLLM", "0.32.0")),
        ({"/get_server_info": {"version": "0.5.3"}}, {"owned_by": "sglang"}, ("SGLang", "0.5.3")),
        ({"/metrics": "# HELP x y\nvllm:num_requests_running 0\n"}, {}, ("vLLM", None)),
        ({"/metrics": "sglang:num_running_reqs 0\n"}, {}, ("SGLang", None)),
        ({"/metrics": "sglang_num_running_reqs 0\n"}, {}, ("SGLang", None)),
        ({"/metrics": "ray_vllm_num_requests_running 0\n"}, {}, ("vLLM", None)),
        ({"/metrics": "dynamo_frontend_inflight_requests 0\n"}, {"owned_by": "nvidia"}, ("Dynamo", None)),
        ({"/metrics": "lmdeploy:num_requests_running 0\n"}, {}, ("LMDeploy", None)),
        ({}, {"owned_by": "lmdeploy"}, ("LMDeploy", None)),
        ({"/version": {"version": "1.2.0"}}, {"owned_by": "tensorrt_llm"}, ("TensorRT-LLM", "1.2.0")),
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
