"""Measure by any request: at once, or as a handle that is followed and stopped from anywhere."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Generic, TypeVar

from rackrate.app.measuring.measurement import Measured, measure
from rackrate.app.measuring.request import MeasureRequest, ResumeRequest
from rackrate.measurement.watching import Event, Follower

if TYPE_CHECKING:
    from rackrate.app.context import Context
    from rackrate.app.measuring.several import EnginesMeasured
    from rackrate.measurement.plan import SweepPlan
    from rackrate.measurement.stop import Stop
    from rackrate.measurement.watching import Meter, Watch

A = TypeVar("A")


def run(
    request: MeasureRequest | ResumeRequest, context: Context, *, watch: Watch | None = None, stop: Stop | None = None
) -> Measured | EnginesMeasured:
    """Measures a server, an engine, or several in turn, or goes on with what was stopped. Waits until it is over.

    Args:
        request: `measure`, `measure_engines` and `resume` say what each field does.
        context: whose listener hears what is waited for.
        watch: makes the display of the levels; None: nobody looks.
        stop: asks it to end; what was measured is kept.

    Raises:
        UserError: as those do.
    """
    if isinstance(request, ResumeRequest):
        from rackrate.app.measuring.resume import resume

        return resume(request, context, watch=watch, stop=stop)
    if len(request.engines) > 1:
        from rackrate.app.measuring.several import measure_engines

        return measure_engines(request, context, watch=watch, stop=stop)
    return measure(request, context, watch=watch, stop=stop)


class Measurement(Generic[A]):
    """A measurement under way in a thread of its own."""

    def __init__(self, work: Callable[[Context, Watch, Stop], A], context: Context) -> None:
        """Begins the work at once; what is wrong with it is raised by `result`."""
        from rackrate.measurement.stop import Stop

        self._stop = Stop()
        self._follower = Follower()
        self._answer: A | None = None
        self._error: BaseException | None = None
        heard = replace(context, notify=self._follower)

        def begin() -> None:
            try:
                self._answer = work(heard, self._followed, self._stop)
            except BaseException as error:  # noqa: BLE001 - raised again by `result`, in the thread that asks
                self._error = error
            finally:
                self._follower.ended()

        self._thread = threading.Thread(target=begin, name="rackrate measure", daemon=True)
        self._thread.start()

    def _followed(self, plan: SweepPlan, meter: Meter | None) -> Follower:
        del plan, meter
        return self._follower

    def follow(self) -> Iterator[Event]:
        """What happened so far, then every event as it comes, until it is over. Many may follow; each hears all."""
        return self._follower.events()

    def stop(self) -> None:
        """Asks it to end; what was measured is kept. May be called from any thread, and more than once."""
        self._stop.request()

    @property
    def running(self) -> bool:
        """Whether it goes on."""
        return self._thread.is_alive()

    def result(self, timeout_s: float | None = None) -> A:
        """The answer, once it is over.

        Raises:
            TimeoutError: it is not over after `timeout_s`.
            UserError: as `run` does.
        """
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            raise TimeoutError(f"the measurement goes on after {timeout_s:g} s")
        if self._error is not None:
            raise self._error
        assert self._answer is not None  # noqa: S101 - one of the two is there
        return self._answer


def start(request: MeasureRequest | ResumeRequest, context: Context) -> Measurement[Measured | EnginesMeasured]:
    """Begins a measurement of any kind and gives a handle: from any thread, and from within a running event loop."""
    return Measurement(lambda heard, watch, stop: run(request, heard, watch=watch, stop=stop), context)


def start_one(request: MeasureRequest, context: Context) -> Measurement[Measured]:
    """As `start`, of one server or engine: others are refused."""
    return Measurement(lambda heard, watch, stop: measure(request, heard, watch=watch, stop=stop), context)
