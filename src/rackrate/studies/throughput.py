"""What one machine serves of a question's traffic, from what its scenario states or a run measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rackrate.economics.alternatives import Demand, mixed_tok_s
from rackrate.economics.replica import MIX_TOLERANCE, replica_of
from rackrate.errors import UserError
from rackrate.studies.documents import Number, Scenario

if TYPE_CHECKING:
    from collections.abc import Callable

    from rackrate.economics.ratecard import Serving
    from rackrate.units import Numbers

    Get = Callable[[str, Number], Numbers]

RATES = ("tokens_per_second", "input_tokens_per_second", "output_tokens_per_second", "measured_input_per_output")
"""Keys of a scenario that say what a machine serves."""


def new_input_per_output(demand: Demand) -> float | None:
    """New input tokens for each output token of a demand; None: it has no output."""
    out = float(demand.output_tokens)
    return float(demand.new_input_tokens) / out if out > 0 else None


def served_tok_s(
    scenario: Scenario, get: Get, demand: Demand, mix: float | None, serving: Serving | None, drawn: Numbers | None
) -> Numbers:
    """Tokens a second of one machine at full load, in a demand's mix, cached ones counted. [token/s]

    A new input token takes 1 / P seconds and an output token 1 / D; a cached one none. One stated rate R is both;
    an output rate with so many input tokens beside each is R = (1 + those) x it.

    Args:
        scenario: that states rates, or names a run.
        get: the value of a figure of the scenario.
        demand: the traffic.
        mix: new input tokens for each output token in the central case.
        serving: of the run.
        drawn: the run's throughput (input and output together), with what is uncertain of it.

    Raises:
        UserError: a rate of output alone, and traffic without output; nothing but cached tokens.
    """
    if serving is not None and drawn is not None:
        replica = replica_of(serving)
        share = drawn / serving.tok_s
        if replica.input_tok_s is not None and replica.output_tok_s is not None:
            return mixed_tok_s(demand, replica.input_tok_s * share, replica.output_tok_s * share)
        both = (serving.tok_s - serving.cached_tok_s) * share
        return mixed_tok_s(demand, both, both)
    if scenario.tokens_per_second is not None:
        both = get("tokens_per_second", scenario.tokens_per_second)
        return mixed_tok_s(demand, both, both)
    assert scenario.output_tokens_per_second is not None  # noqa: S101 - the document has one of them
    out = get("output_tokens_per_second", scenario.output_tokens_per_second)
    if scenario.input_tokens_per_second is not None:
        return mixed_tok_s(demand, get("input_tokens_per_second", scenario.input_tokens_per_second), out)
    beside: Numbers | None = mix
    if scenario.measured_input_per_output is not None:
        beside = get("measured_input_per_output", scenario.measured_input_per_output)
    if beside is None:
        raise UserError("output_tokens_per_second says nothing of traffic without output tokens")
    both = out * (1 + beside)
    return mixed_tok_s(demand, both, both)


def caution(scenario: Scenario, measured: float | None, serving: Serving | None, mix: float | None) -> str | None:
    """What a stated throughput leaves out for this traffic, in a sentence; None: nothing.

    Args:
        scenario: that states rates, or names a run.
        measured: the central `measured_input_per_output`, where it is stated.
        serving: of the run.
        mix: new input tokens for each output token in the central case.
    """
    if serving is not None:
        if replica_of(serving).tells_tokens_apart or serving.output_tok_s <= 0:
            return None
        measured = (serving.input_tok_s - serving.cached_tok_s) / serving.output_tok_s
    elif scenario.output_tokens_per_second is None or scenario.input_tokens_per_second is not None or mix is None:
        return None
    if measured is None:
        return (
            f"output_tokens_per_second is taken as measured with this traffic's {mix:.3g} new input tokens beside each "
            "output token, and input as slow as output; state measured_input_per_output, or input_tokens_per_second"
        )
    if mix is not None and abs(mix - measured) > MIX_TOLERANCE * measured:
        return (
            f"measured at {measured:.3g} new input tokens to 1 output token, this traffic has {mix:.3g} to 1: input is "
            "counted as slow as output; input_tokens_per_second tells them apart"
        )
    return None
