"""What one replica can do, as the busy time that each request or token takes of it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rackrate.errors import PriceError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from rackrate.economics.ratecard import Serving
    from rackrate.workload.traffic import Traffic

    Floats = npt.NDArray[np.float64]

MIX_TOLERANCE = 0.2
"""A traffic whose tokens a request differ more than this from those measured is named, where only requests count."""

FAR = 2.0
"""Where tokens are counted apart, lengths that differ by more than this factor are named."""


@dataclass(frozen=True)
class Replica:
    """Rates of one replica at full load, within its objective. Per second; None: not known."""

    request_s: float | None
    """Requests at the mix of tokens that was measured or stated."""
    input_tok_s: float | None
    """New input tokens when it does nothing else."""
    output_tok_s: float | None
    """Output tokens when it does nothing else."""
    cached_tok_s: float | None = None
    """Cached input tokens when it does nothing else; None: they take no time worth counting."""
    mean_input_tokens: float | None = None
    """New input tokens a request at that mix."""
    mean_output_tokens: float | None = None
    relative_half_width: float | None = None
    """Half of the 95 % interval of its throughput, over the throughput."""
    origin: str = "stated"
    caveats: tuple[str, ...] = ()
    lower_bound: bool = False

    def __post_init__(self) -> None:
        for name in ("request_s", "input_tok_s", "output_tok_s", "cached_tok_s"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise PriceError(f"a replica's {name} must be above 0, got {value:g}")
        if self.request_s is None and self.output_tok_s is None:
            raise PriceError("a replica needs requests a second, or tokens a second")

    @property
    def tells_tokens_apart(self) -> bool:
        """Whether input and output tokens can be priced apart."""
        return self.input_tok_s is not None and self.output_tok_s is not None

    def scaled(self, factor: float) -> Replica:
        """A replica that much faster."""

        def times(value: float | None) -> float | None:
            return None if value is None else value * factor

        return replace(
            self,
            request_s=times(self.request_s),
            input_tok_s=times(self.input_tok_s),
            output_tok_s=times(self.output_tok_s),
            cached_tok_s=times(self.cached_tok_s),
        )


def parse_capacity(text: str) -> Replica:
    """A stated capacity: requests a second (2.5/s), or input=8000,output=1500[,cached=90000] in token/s, each alone.

    >>> parse_capacity("150/min").request_s
    2.5
    >>> parse_capacity("input=8000,output=1500").output_tok_s
    1500.0

    Raises:
        PriceError: neither.
    """
    from rackrate.workload.traffic_files import parse_rate

    origin = f"stated, not measured: {text.strip()} on one replica"
    rate = parse_rate(text, "capacity")
    if rate is not None:
        return Replica(rate, None, None, origin=origin)
    parts = dict(re.findall(r"(input|output|cached)\s*=\s*([\d.eE+]+)", text))
    if {"input", "output"} <= set(parts) and re.fullmatch(r"[a-z\s=\d.eE+,]+", text):
        try:
            cached = float(parts["cached"]) if "cached" in parts else None
            return Replica(None, float(parts["input"]), float(parts["output"]), cached, origin=origin)
        except ValueError:
            pass
    raise PriceError(
        f"{{capacity}} is requests a second of one replica, such as 2.5/s, or token rates such as "
        f"input=8000,output=1500, not {text!r}",
        field="capacity",
    )


def replica_of(serving: Serving) -> Replica:
    """What a measured run says of one replica.

    Prefill takes a share s of the busy time. So it would process fresh input at rate / s if it did nothing else, and
    output at rate / (1 - s): a request's busy time is its new input over the one and its output over the other.
    """
    fresh = serving.input_tok_s - serving.cached_tok_s
    share = serving.prefill_share
    apart = share is not None and 0 < share < 1 and fresh > 0 and serving.output_tok_s > 0
    rate = serving.request_s or None
    return Replica(
        request_s=rate,
        input_tok_s=fresh / share if apart and share else None,
        output_tok_s=serving.output_tok_s / (1 - share) if apart and share is not None else None,
        mean_input_tokens=fresh / rate if rate else None,
        mean_output_tokens=serving.output_tok_s / rate if rate else None,
        relative_half_width=serving.relative_half_width,
        origin=serving.origin,
        caveats=serving.caveats,
        lower_bound=serving.lower_bound,
    )


@dataclass(frozen=True, eq=False)
class BusyTime:
    """Replica-seconds at full load that each step of traffic asks for, and by what."""

    step_s: float
    total: Floats
    input: Floats | None
    """For new input tokens; None where input and output cannot be told apart."""
    cached: Floats | None
    output: Floats | None
    notes: tuple[str, ...] = ()


def busy_time(traffic: Traffic, replica: Replica) -> BusyTime:
    """How long replicas are busy with traffic. [replica-second in each step]

    New input tokens / input rate + output tokens / output rate where both rates and both tokens are known, else
    requests / request rate, which is right only for requests like those measured. Cached input takes no busy time
    unless its rate is stated.

    Raises:
        PriceError: the traffic's tokens or requests are not known.
    """
    given, out, requests = traffic.input_tokens, traffic.output_tokens, traffic.requests
    if replica.input_tok_s is not None and replica.output_tok_s is not None and given is not None and out is not None:
        fresh = given if traffic.cached_tokens is None else given - traffic.cached_tokens
        prefill, decode = fresh / replica.input_tok_s, out / replica.output_tok_s
        hits = None
        if traffic.cached_tokens is not None and replica.cached_tok_s is not None:
            hits = traffic.cached_tokens / replica.cached_tok_s
        total = prefill + decode if hits is None else prefill + hits + decode
        return BusyTime(traffic.step_s, total, prefill, hits, decode, _other_mix(traffic, replica, apart=True))
    if replica.request_s is None:
        raise PriceError(
            "a capacity in tokens a second needs traffic with tokens: say how long requests are with {lengths} IN:OUT",
            field="lengths",
        )
    if requests is None:
        raise PriceError(
            "this traffic has tokens but no requests, and the capacity is in requests a second: state it in tokens, "
            "such as {capacity} input=8000,output=1500, or measure with prefill",
            field="capacity",
        )
    return BusyTime(
        traffic.step_s, requests / replica.request_s, None, None, None, _other_mix(traffic, replica, apart=False)
    )


def _other_mix(traffic: Traffic, replica: Replica, *, apart: bool) -> tuple[str, ...]:
    """Says where requests differ too much from those that were measured."""
    notes: list[str] = []
    requests = traffic.total("requests")
    for name, measured in (("input", replica.mean_input_tokens), ("output", replica.mean_output_tokens)):
        total = traffic.total(f"{name}_tokens")
        if total is None or not requests or not measured:
            continue
        cached = traffic.total("cached_tokens") or 0.0
        mean = (total - (cached if name == "input" else 0.0)) / requests
        said = (
            f"The traffic has {mean:.0f} new {name} tokens a request, the capacity was measured with {measured:.0f}: "
        )
        if name == "output":
            said = said.replace(" new ", " ")
        if not apart and abs(mean / measured - 1) > MIX_TOLERANCE:
            notes.append(
                said + "in requests a second it does not carry over (measure with such lengths, or with prefill)."
            )
        elif apart and not 1 / FAR <= mean / measured <= FAR:
            notes.append(
                said
                + "tokens a second change with the length of contexts, so this is rough (measure with such lengths)."
            )
    return tuple(notes)
