"""What a file of recorded requests is like."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rackrate.app.context import Context
from rackrate.app.request_json import Request

if TYPE_CHECKING:
    from rackrate.workload.trace_summary import TraceSummary

SLOW_BYTES = 100e6
"""Reading more than that takes two seconds and more."""


@dataclass(frozen=True)
class TraceRequest(Request):
    """What recorded requests are like."""

    NAME: ClassVar[str] = "trace"
    file: Path
    """Azure's CSV, Mooncake's JSON lines, or a CSV of the user's own."""


@dataclass(frozen=True)
class DescribedTrace:
    """A file of recorded requests."""

    file: Path
    layout: str
    """Whose file it is, by its columns."""
    summary: TraceSummary


def summarise(request: TraceRequest, context: Context) -> DescribedTrace:
    """Rate, burstiness, lengths, how much of the prompts is shared.

    Raises:
        WorkloadError: the file cannot be read, or is of no known layout.
    """
    from rackrate.workload.trace_files import detect_layout
    from rackrate.workload.trace_summary import summarise_trace
    from rackrate.workload.traces import read_trace
    from rackrate.workload.traffic_files import refuse_future

    layout = detect_layout(request.file).kind
    size = request.file.stat().st_size
    if size > SLOW_BYTES:
        context.notify.note(f"reading {request.file} ({size / 1e6:.0f} MB)")
    trace = read_trace(request.file)
    refuse_future(request.file, None if trace.begins_s is None else trace.begins_s + trace.duration_s, context.clock())
    return DescribedTrace(request.file, layout, summarise_trace(trace))
