"""The server's own figures: its /metrics, read before, during and after a level."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Mapping, Sequence

from rackrate.engines import known
from rackrate.measurement.http import Client
from rackrate.runs.records import ServerFacts
from rackrate.runs.statuses import OK

Names = Mapping[str, Sequence[str]]
"""What an engine calls output_tokens, running, waiting, kv_use and preemptions; any may be missing."""

_LABELS = r'\{(?:[^"}]|"(?:[^"\\]|\\.)*")*\}'
_SAMPLE = re.compile(rf"^(?P<name>[a-zA-Z_:][\w:]*)(?P<labels>{_LABELS})?[ \t]+(?P<value>\S+)", re.MULTILINE)
_LABEL = re.compile(r'(?P<label>[a-zA-Z_]\w*)="(?P<value>(?:[^"\\]|\\.)*)"')
_SHARES = {"kv_use"}
"""Of these the fullest of several engines counts; of all others the sum."""
_SAME_REQUESTS = {
    "tp_rank", "pp_rank", "ep_rank", "moe_ep_rank", "cp_rank", "attn_cp_rank", "attn_tp_rank", "moe_dp_rank",
}  # fmt: skip
"""Labels whose values work on the same requests: with all schedulers' metrics on, SGLang reports each request once a
rank. Ranks of data parallelism (dp_rank, engine) have requests of their own."""
_PARTS = {"priority"}
"""Labels that divide a gauge which SGLang also gives in whole, under the empty value."""
_COUNTERS = ("output_tokens", "preemptions")
_OF_ANY_PROGRAM = ("python_", "process_", "go_", "http_", "promhttp_")
_EVERY_S = 1.0


async def find_server_side(client: Client, label: str, note: Callable[[str], None]) -> ServerSide | None:
    """The reader of the figures of an engine that runs call so; None where there is nothing to read.

    A page that has none of that engine's names may be of another, such as a router before it: the first engine whose
    names are there is read. Names of none are noted.
    """
    spec = known.engine_of_label(label)
    specs = [*([spec] if spec is not None else []), *known.ENGINES]
    named: list[str] = []
    for page in dict.fromkeys(each.metrics_page for each in specs if each.metrics):
        text = await _page(client, page)
        if text is None:
            continue
        for each in specs:
            if each.metrics_page == page and read_metrics(text, each.metrics) is not None:
                return ServerSide(client, each.metrics, page)
        named += unread_prefixes(text)
    if named:
        note(
            f"The server's metrics are not read: rackrate knows no names that begin with {', '.join(named)}. Its "
            "counters and queue are not in this run."
        )
    return ServerSide(client, spec.metrics, spec.metrics_page) if spec is not None and spec.metrics else None


class ServerSide:
    """Reads /metrics on a connection of its own."""

    def __init__(self, client: Client, names: Names, page: str = "/metrics") -> None:
        self._client = client
        self._names = names
        self._page = page
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
        for counter in _COUNTERS:
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
        text = await _page(self._client, self._page)
        return read_metrics(text, self._names) if text is not None else None


async def _page(client: Client, page: str) -> str | None:
    exchange = await client.exchange(client.request("GET", page))
    if exchange.status != OK or exchange.http_status != 200:
        return None
    return exchange.body.decode("utf-8", "replace")


def read_metrics(text: str, names: Names) -> dict[str, float] | None:
    """Figures of a Prometheus text page by our names.

    Samples of one name are summed over their labels, but for ranks that work on the same requests and for parts of a
    whole that is there too: of these the largest counts. Ray exports `vllm:x` as `ray_vllm_x`, others as `vllm_x`; both
    are the same name.

    >>> read_metrics('a_total{x="1"} 2\\na_total{x="2"} 3\\n', {"output_tokens": ("b_total", "a_total")})
    {'output_tokens': 5.0}
    >>> read_metrics('a{tp_rank="0"} 4\\na{tp_rank="1"} 4\\n', {"running": ("a",)})
    {'running': 4.0}
    """
    wanted = {_plain(theirs): ours for ours, candidates in names.items() for theirs in candidates}
    samples: dict[str, dict[tuple[str, ...], float]] = {}
    for match in _SAMPLE.finditer(text):
        ours = wanted.get(name := _plain(match["name"]))
        if ours is None:
            continue
        alike = _SAME_REQUESTS if ours in _COUNTERS else _SAME_REQUESTS | _PARTS
        labels = tuple(label[0] for label in _LABEL.finditer(match["labels"] or "") if label["label"] not in alike)
        with contextlib.suppress(ValueError):
            value, seen = float(match["value"]), samples.setdefault(name, {})
            seen[labels] = max(value, seen.get(labels, value))
    found: dict[str, float] = {}
    for ours, candidates in names.items():
        values = next((samples[_plain(theirs)] for theirs in candidates if _plain(theirs) in samples), None)
        if values:
            found[ours] = max(values.values()) if ours in _SHARES else sum(values.values())
    return found or None


def _plain(name: str) -> str:
    """A name as it reads once a registry without colons has had it."""
    return name.removeprefix("ray_").replace(":", "_")


def unread_prefixes(text: str) -> list[str]:
    """What the names of a page begin with, names of any program left out; a few at most.

    >>> unread_prefixes("# HELP\\nmy:x 1\\nmy:y 2\\nother_z 3\\nprocess_cpu_seconds_total 4\\n")
    ['my:', 'other_']
    """
    names = dict.fromkeys(match["name"] for match in _SAMPLE.finditer(text))
    ours = [name for name in names if not name.startswith(_OF_ANY_PROGRAM)]
    return list(dict.fromkeys(found[0] for name in ours if (found := re.match(r"[^:_]+[:_]", name))))[:5]
