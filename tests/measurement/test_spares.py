"""Connections opened ahead: a request of an open loop does not wait for one, nor one for a server of few threads."""

# pyright: reportPrivateUsage=false
from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

from rackrate.measurement.http import Client
from rackrate.measurement.target import parse_url
from rackrate.runs.statuses import OK
from scripted_server import ScriptedServer

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def request(client: Client) -> bytes:
    values = {"model": "scripted", "messages": [{"role": "user", "content": "one"}], "stream": True, "max_tokens": 2}
    return client.request("POST", "/v1/chat/completions", json.dumps(values).encode())


async def all_spares(client: Client) -> int:
    """Opens as many as are wanted; how many that were."""
    number = 0
    while client.wants_spare:
        client.open_spare()
        number += 1
    for _ in range(200):
        if not client._opening:
            break
        await asyncio.sleep(0.01)
    return number


def test_spares_are_opened_once_many_are_in_use_and_few_are_left() -> None:
    async def go(url: str) -> None:
        async with Client(parse_url(url)) as client:
            assert not client.wants_spare  # it is not known whether the server keeps them open
            assert (await client.exchange(request(client))).status == OK
            await client.open_spares(8)
            under_way = [asyncio.create_task(client.exchange(request(client))) for _ in range(7)]
            await asyncio.sleep(0)
            assert not client.wants_spare  # the server may have a thread for each of so few
            await client.open_spares(9)
            under_way += [asyncio.create_task(client.exchange(request(client))) for _ in range(8)]
            await asyncio.sleep(0)
            assert await all_spares(client) == 3  # besides the one that is idle
            assert not client.wants_spare
            assert [item.status for item in await asyncio.gather(*under_way)] == [OK] * 15

    with ScriptedServer(ttft_s=0.5, itl_s=0.0) as server:
        run(go(server.url))


def test_a_spare_is_used_last() -> None:
    async def go(url: str) -> int:
        async with Client(parse_url(url)) as client:
            await client.exchange(request(client))
            await client.open_spares(16)
            under_way = [asyncio.create_task(client.exchange(request(client))) for _ in range(15)]
            await asyncio.sleep(0)
            known = set(client._connections)
            assert await all_spares(client) == 3
            await asyncio.gather(*under_way)
            for _ in range(20):  # each on one that was used before
                await client.exchange(request(client))
                assert client._idle[-1] in known
            return len(client._connections)

    with ScriptedServer(ttft_s=0.5, itl_s=0.0) as server:
        assert run(go(server.url)) == 19


def test_a_spare_that_cannot_be_opened_is_not_tried_for_ever() -> None:
    async def go(server: ScriptedServer) -> int:
        async with Client(parse_url(server.url)) as client:
            await client.exchange(request(client))
            await client.open_spares(16)
            under_way = [asyncio.create_task(client.exchange(request(client))) for _ in range(15)]
            await asyncio.sleep(0)
            client.target = parse_url("http://127.0.0.1:9")  # where nobody is
            number = await all_spares(client)
            await asyncio.gather(*under_way)
            return number + await all_spares(client)

    with ScriptedServer(ttft_s=0.5, itl_s=0.0) as server:
        assert run(go(server)) == 3
