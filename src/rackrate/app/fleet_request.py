"""What is asked of a fleet: its traffic, its machines, and the policy that it follows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, get_args

from rackrate import bounds
from rackrate.app.traffic import TrafficFields
from rackrate.errors import PriceError, did_you_mean

if TYPE_CHECKING:
    from rackrate.economics.fleet_types import FleetPlan


@dataclass(frozen=True)
class FleetRequest(TrafficFields):
    """What a fleet for some traffic costs: fixed, following the load, or mixed from several offers."""

    NAME: ClassVar[str] = "fleet"
    run: Path | None = None
    """A run directory: what one replica can do."""
    capacity: str | None = None
    """Instead of a run: `2.5/s`, or `input=8000,output=1500` token/s."""
    models: Path | None = None
    """Instead of run, capacity and traffic: several models that share machines, as YAML."""
    offers: bounds.Names = ()
    """Rented machines, `ID[:KIND][,share=0.3][,most=8][,replicas=4]`. With none at all: the run's cheapest offer."""
    rigs: bounds.Paths = ()
    """Owned machines, as YAML."""
    contracts: bounds.Paths = ()
    """Rented machines at the user's own terms, as YAML."""
    usd_per_hour: bounds.UsdPerHour | None = None
    """A machine at a stated price."""
    replicas_per_machine: bounds.Replicas = 1
    """Replicas (or slots, with `models`) of a machine."""
    shapes: bounds.Names = ()
    """Only these of fixed, autoscaled and mix; empty: all."""
    headroom: str = "auto"
    """Replicas kept per replica of load; auto: as many as being in time takes."""
    floor: bounds.Machines = 1
    spares: bounds.Machines = 0
    """Machines beyond those that the load needs; N+1 is 1."""
    cold_start: str = "3min"
    scale_down: str = "5min"
    resize: str | None = None
    max_wait: str = "1s"
    late_limit: bounds.Share = 0.01
    labour_usd_per_month: bounds.Usd = 0.0
    spot_interruptions: bounds.PerMonth | None = None
    """Of a spot machine, a month; None: as assumed."""
    apis: bounds.Names = ()
    """Whose bill for the same tokens is shown; of a run also the cheapest sellers of its model."""
    currency: str = "USD"
    """Money is shown in it, at a stated rate: `EUR=1.08` is USD a euro."""
    hours_per_month: bounds.HoursPerMonth = 730.0
    at_concurrency: bounds.Concurrency | None = None
    as_if: bool = False
    """Take machines other than the one the run ran on, and say so."""
    force: bool = False
    """Take runs that are not the machine's capacity, and say so."""


def plan_of(request: FleetRequest) -> FleetPlan:
    """The policy and the limits.

    Raises:
        PriceError: one of them cannot be.
    """
    from rackrate.economics.fleet import Policy
    from rackrate.economics.fleet_types import FleetKind, FleetPlan
    from rackrate.workload.traffic_files import parse_duration

    known: tuple[FleetKind, ...] = get_args(FleetKind)
    wrong = next((shape for shape in request.shapes if shape not in known), None)
    if wrong is not None:
        raise PriceError(
            f"{{shapes}} is one of {', '.join(known)}, not {wrong!r}{did_you_mean(wrong, known)}", field="shapes"
        )
    automatic = request.headroom.strip().lower() == "auto"
    try:
        factor = Policy().headroom if automatic else float(request.headroom)
    except ValueError:
        raise PriceError(
            f"{{headroom}} is a number from 1 on, such as 1.25, or auto, not {request.headroom!r}", field="headroom"
        ) from None
    hours = request.hours_per_month
    return FleetPlan(
        policy=Policy(
            headroom=factor,
            floor=request.floor,
            spares=request.spares,
            cold_start_s=seconds(request.cold_start, "cold_start"),
            scale_down_s=seconds(request.scale_down, "scale_down"),
            resize_s=parse_duration(request.resize, "resize") if request.resize else None,
            max_wait_s=seconds(request.max_wait, "max_wait"),
        ),
        kinds=tuple(kind for kind in known if kind in request.shapes) or known,
        late_limit=request.late_limit,
        raise_headroom=automatic,
        labour_usd_month=request.labour_usd_per_month,
        hours_per_month=hours,
    )


def seconds(text: str, field: str) -> float:
    """A length of time, 0 among them. [s] Raises UserError, which names the field."""
    from rackrate.workload.traffic_files import parse_duration

    return 0.0 if text.strip().rstrip("smin") in {"0", "0.0"} else parse_duration(text, field)
