"""The server's own figures: its /metrics, read before, during and after a level."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Mapping, Sequence

from rackrate.measurement.http import Client
from rackrate.runs.records import ServerFacts
from rackrate.runs.statuses import OK

_LABELS = r'\{(?:[^"}]|"(?:[^"\\]|\\.)*")*\}'
_SAMPLE = re.compile(rf"^(?P<name>[a-zA-Z_:][\w:]*)(?:{_LABELS})?[ \t]+(?P<value>\S+)", re.MULTILINE)
_SHARES = {"kv_use"}
"""Of these the fullest of several engines counts; of all others the sum."""
_EVERY_S = 1.0


class ServerSide:
    """Reads /metrics on a connection of its own."""

    def __init__(self, client: Client, names: Mapping[str, Sequence[str]]) -> None:
        """names: what the engine calls output_tokens, running, waiting, kv_use, preemptions; any may be missing."""
        self._client = client
        self._names = names
        self._samples: list[dict[str, float]] = []
        self._before: dict[str, float] | None = None
        self._sampler: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Reads the counters before a level, and samples the gauges every second until `end`.

        Waits at most 15 s for the server to be idle first: requests that were cut off may still be worked on.
        """
        self._samples = []
        for _ in range(60):
            self._before = await self._read()
            if self._before is None or self._before.get("running", 0) + self._before.get("waiting", 0) == 0:
                break
            await asyncio.sleep(0.25)
        if self._before is not None:
            self._sampler = asyncio.create_task(self._sample())

    async def end(self) -> ServerFacts | None:
        """What the counters rose by and the gauges were; None where the server has no /metrics that is understood."""
        if self._sampler is not None:
            self._sampler.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sampler
            self._sampler = None
        after = await self._read() if self._before is not None else None
        if self._before is None or after is None:
            return None
        facts = ServerFacts()
        for counter in ("output_tokens", "preemptions"):
            if counter in self._before and counter in after:
                setattr(facts, counter, after[counter] - self._before[counter])
        for gauge in ("running", "waiting", "kv_use"):
            seen = [sample[gauge] for sample in self._samples if gauge in sample]
            if seen:
                setattr(facts, f"{gauge}_mean", sum(seen) / len(seen))
                setattr(facts, f"{gauge}_max", max(seen))
        return facts

    async def _sample(self) -> None:
        while True:
            await asyncio.sleep(_EVERY_S)
            sample = await self._read()
            if sample is not None:
                self._samples.append(sample)

    async def _read(self) -> dict[str, float] | None:
        exchange = await self._client.exchange(self._client.request("GET", "/metrics"))
        if exchange.status != OK or exchange.http_status != 200:
            return None
        return read_metrics(exchange.body.decode("utf-8", "replace"), self._names)


def read_metrics(text: str, names: Mapping[str, Sequence[str]]) -> dict[str, float] | None:
    """Figures of a Prometheus text page by our names; samples of one name are summed over their labels.

    >>> read_metrics('a_total{x="1"} 2\\na_total{x="2"} 3\\n', {"output_tokens": ("b_total", "a_total")})
    {'output_tokens': 5.0}
    """
    wanted = {theirs for candidates in names.values() for theirs in candidates}
    samples: dict[str, list[float]] = {}
    for match in _SAMPLE.finditer(text):
        if match["name"] in wanted:
            with contextlib.suppress(ValueError):
                samples.setdefault(match["name"], []).append(float(match["value"]))
    found: dict[str, float] = {}
    for ours, candidates in names.items():
        values = next((samples[theirs] for theirs in candidates if theirs in samples), None)
        if values:
            found[ours] = max(values) if ours in _SHARES else sum(values)
    return found or None
