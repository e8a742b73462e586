"""Published claims against what their own numbers give."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from rackrate.economics.uncertainty import Estimate, estimate
from rackrate.studies.documents import Claim, Study
from rackrate.studies.inputs import Inputs
from rackrate.studies.results import ClaimResult, ClaimVerdict

if TYPE_CHECKING:
    from rackrate.units import Numbers


def check_claim(
    claim: Claim, study: Study, inputs: Inputs, middle: Mapping[str, Numbers], drawn: Mapping[str, Numbers]
) -> ClaimResult:
    """Computes a claim's formula and says whether it gives the published number."""
    missing = tuple(f"{name}: {inputs.missing[name]}" for name in claim.formula.names if name in inputs.missing)
    computed: Estimate | None = None
    if not missing:
        value = float(claim.formula.value(middle))
        if math.isfinite(value):
            computed = estimate(value, claim.formula.value(drawn))
        else:
            missing = ("its formula divides by zero, or leaves the numbers",)
    tolerance = claim.tolerance
    return ClaimResult(
        id=claim.id,
        says=claim.says,
        source=claim.source or study.source,
        formula=str(claim.formula),
        unit=claim.unit,
        published=claim.published,
        relation=claim.is_,
        within=tolerance.absolute + tolerance.relative * abs(float(claim.published)),
        computed=computed,
        verdict="cannot be checked" if computed is None else _verdict(claim, computed),
        missing=missing,
        why=claim.why,
    )


def _verdict(claim: Claim, computed: Estimate) -> ClaimVerdict:
    """Reproduced where the published number is within the tolerance of what was computed, or of its 80 % interval."""
    published = float(claim.published)
    assert computed.value is not None  # noqa: S101 - the caller looked
    low = min(computed.value, computed.low if computed.low is not None else computed.value)
    high = max(computed.value, computed.high if computed.high is not None else computed.value)
    # a published 167.17 for 167.1795 is one cent of rounding, not half a one: the last digit's noise is let through
    room = claim.tolerance.absolute + claim.tolerance.relative * abs(published) + 1e-12 * abs(published)
    holds = {
        "equal": low - room <= published <= high + room,
        "below": low < published + room,
        "above": high > published - room,
    }[claim.is_]
    return "reproduced" if holds else "does not follow"
