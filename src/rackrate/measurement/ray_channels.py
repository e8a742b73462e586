"""Load processes on the machines of a Ray cluster (extra `ray`), one on each node in turn.

Their clocks differ: each is compared with ours by the quickest of many round trips, and its records are moved by the
difference. Half that round trip is how far they may still be off.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import Any

from rackrate.errors import EngineError

_ROUND_TRIPS = 40
_CLOCK_LIMIT_S = 0.005
"""A clock that is known less well would make latencies of one machine differ from those of another."""


class _Actor:
    """A worker on some machine. Its messages wait in queues, since Ray calls, and is not called."""

    def __init__(self) -> None:
        self._inbox: asyncio.Queue[Any] = asyncio.Queue()
        self._outbox: asyncio.Queue[Any] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def clock(self) -> float:
        """What this machine's clock shows."""
        return time.perf_counter()

    async def node(self) -> str:
        """The node's address."""
        import ray.util  # pyright: ignore[reportMissingImports]

        return str(ray.util.get_node_ip_address())  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]

    async def put(self, message: Any) -> None:
        """Takes a message; the first one sets it up."""
        from rackrate.measurement.worker import Setup, work

        if isinstance(message, Setup):
            self._task = asyncio.create_task(work(message, self._inbox.get, self._outbox.put_nowait))
            self._task.add_done_callback(lambda _: self._outbox.put_nowait(None))
        else:
            self._inbox.put_nowait(message)

    async def get(self) -> list[Any]:
        """What it has to say: waits for one message, then takes all that there are."""
        messages = [await self._outbox.get()]
        while not self._outbox.empty():
            messages.append(self._outbox.get_nowait())
        return messages


@dataclass
class RayChannel:
    """A way to a worker on another machine."""

    actor: Any
    node: str
    offset_s: float
    uncertainty_s: float

    def __post_init__(self) -> None:
        self._waiting: list[Any] = []
        self._ended = False

    @property
    def pid(self) -> int | None:
        """None: it may be on another machine."""
        return None

    def send(self, message: Any) -> None:
        """Gives it a message. Ray keeps the order of one caller's messages to one actor."""
        self.actor.put.remote(message)

    async def receive(self) -> Any:
        """Its next message; None once it is gone."""
        import ray.exceptions  # pyright: ignore[reportMissingImports]

        if not self._waiting and not self._ended:
            try:
                self._waiting = await self.actor.get.remote()
            except ray.exceptions.RayError:  # pyright: ignore[reportUnknownMemberType]
                self._ended = True
        return self._waiting.pop(0) if self._waiting else None

    async def close(self) -> None:
        """Has it end."""
        import ray  # pyright: ignore[reportMissingImports]

        self.actor.put.remote(None)
        with contextlib.suppress(Exception):  # it may be gone with its node
            ray.kill(self.actor)  # pyright: ignore[reportUnknownMemberType]


async def start_channels(address: str, number: int) -> list[RayChannel]:
    """Workers on a cluster, spread over its nodes.

    Args:
        address: of the cluster, or `auto` for the one that this machine belongs to.
        number: how many.

    Raises:
        EngineError: Ray is not installed, the cluster cannot be reached or has no room, or a clock cannot be compared.
    """
    try:
        import ray  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise EngineError("{ray} needs the extra: pip install 'rackrate[ray]'", field="ray") from None
    cluster: Any = ray
    try:
        cluster.init(address=address, ignore_reinit_error=True, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise EngineError(f"{{ray}} {address}: no Ray cluster there ({reason})", field="ray") from None
    remote = cluster.remote(num_cpus=1, scheduling_strategy="SPREAD", max_concurrency=64)(_Actor)
    actors = [remote.remote() for _ in range(number)]
    try:
        async with asyncio.timeout(60.0):
            nodes = await asyncio.gather(*(actor.node.remote() for actor in actors))
    except TimeoutError:
        for actor in actors:
            cluster.kill(actor)
        raise EngineError(
            f"{{ray}} {address}: the cluster has no room for {number} load processes of one CPU", field="ray"
        ) from None
    return [await _compared(actor, node) for actor, node in zip(actors, nodes, strict=True)]


async def _compared(actor: Any, node: str) -> RayChannel:
    """A worker with its clock compared to ours."""
    best: tuple[float, float] | None = None
    for _ in range(_ROUND_TRIPS):
        before = time.perf_counter()
        there = await actor.clock.remote()
        after = time.perf_counter()
        if best is None or after - before < best[0]:
            best = (after - before, there - (before + after) / 2)
    assert best is not None  # noqa: S101 - there was a round trip
    if best[0] / 2 > _CLOCK_LIMIT_S:
        raise EngineError(
            f"the clock of {node} cannot be compared with ours to better than {best[0] / 2 * 1000:.1f} ms "
            f"(limit {_CLOCK_LIMIT_S * 1000:.0f} ms); use machines that are nearer to each other"
        )
    return RayChannel(actor, node, best[1], best[0] / 2)
