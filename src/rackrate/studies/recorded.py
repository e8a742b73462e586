"""Traffic of a question from a file: a trace, rates over time, or the usage export of an API."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rackrate.economics.uncertainty import Fixed
from rackrate.errors import WorkloadError
from rackrate.studies.documents import Number, Traffic
from rackrate.units import HOURS_PER_MONTH, SECONDS_PER_HOUR
from rackrate.workload.prompt_mix import PromptMix


@dataclass(frozen=True)
class Recorded:
    """Traffic of a question that is in a file."""

    traffic: Traffic
    note: str
    """Where it comes from, in a sentence."""
    prompts: PromptMix | None
    """Its requests, for prices that hang on their length; None where the study states other ones."""


def recorded(traffic: Traffic, folder: Path, hours_per_month: float = HOURS_PER_MONTH) -> Recorded:
    """What a file says, under what the study says beside it.

    The mean rate, the mean tokens of a request, the share of cached input, the mean day (or week, of a week and more),
    and the busiest step over the mean: whatever the study states itself is left as it is.

    Raises:
        WorkloadError: a file that is none, or one that says nothing of tokens where the study does not either.
    """
    from rackrate.workload.traffic import DAY_S
    from rackrate.workload.traffic_files import profile_of, read_traffic
    from rackrate.workload.traffic_summary import summarised

    assert traffic.file is not None  # noqa: S101 - the caller looked
    path = folder / traffic.file.expanduser()
    found = read_traffic(path, 60.0, traffic.usage_model)
    seen = summarised(found)
    said = traffic.model_fields_set
    told: dict[str, object] = {}

    def tell(key: str, value: float | None) -> None:
        if key not in said and value is not None:
            told[key] = Number(Fixed(value), None)

    days = found.duration_s / DAY_S
    if traffic.tokens_per_month is None and seen.requests is not None:
        tell("requests_per_day", seen.requests / days)
        tell("input_tokens", seen.mean_input_tokens)
        tell("output_tokens", seen.mean_output_tokens)
        for key in ("input_tokens", "output_tokens"):
            if key not in told and key not in said:
                raise WorkloadError(f"{path}: does not say how long requests are: state input_tokens and output_tokens")
    else:
        into, out = seen.input_tokens or 0.0, seen.output_tokens or 0.0
        if into + out > 0:
            months = found.duration_s / (hours_per_month * SECONDS_PER_HOUR)
            if traffic.requests_per_day is None:
                tell("tokens_per_month", (into + out) / months)
            tell("input_share", into / (into + out))
    tell("cached_share", seen.cached_share)
    profile = traffic.profile
    if profile is None and found.step_s <= SECONDS_PER_HOUR and found.duration_s >= DAY_S:
        profile = tuple(float(rate) for rate in profile_of(found).by_hour)
        told["profile"] = profile
    if seen.peak_over_mean is not None:
        highest = max(profile) * len(profile) / sum(profile) if profile else 1.0
        tell("peak_to_mean", max(1.0, seen.peak_over_mean / highest))
    note = f"Traffic: {found.origin}; its busiest {_step(found.step_s)} is {seen.peak_over_mean or 1:.3g} x its mean."
    written = sum(found.total(name) or 0.0 for name in ("written_tokens", "written_1h_tokens"))
    if written or (found.prompts is not None and found.prompts.batch_share):
        note += " Its cache writes and batches are billed as other tokens here; a fleet bills them at their own prices."
        prompts = None
    else:
        prompts = found.prompts if said.isdisjoint({"input_tokens", "output_tokens", "input_share"}) else None
    return Recorded(traffic.model_copy(update=told), note, prompts)


def _step(seconds: float) -> str:
    return f"{seconds / 3600:g} h" if seconds >= 3600 else f"{seconds / 60:g} min"
