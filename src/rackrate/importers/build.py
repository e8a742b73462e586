"""From the results of other tools to a run like any other: one level after the other, on one clock that starts at 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rackrate.errors import RunError
from rackrate.importers.results import ForeignLevel, ImportedRun
from rackrate.runs.records import (
    Engine,
    Imported,
    Level,
    Machine,
    RequestRecord,
    Run,
    RunHeader,
    ServedModel,
    WorkloadFacts,
)


@dataclass(frozen=True)
class Stated:
    """What the user adds, since files do not say it."""

    machine: Machine
    model: str | None
    catalogue_id: str | None
    engine: str | None
    command: str
    rackrate_version: str
    python_version: str
    now: str
    """UTC, ISO 8601: stands in where a file has no date."""


def build(results: Sequence[ImportedRun], stated: Stated) -> Run:
    """One run of all results, which must be of one tool and one model.

    Raises:
        RunError: they are of several tools or models.
    """
    first = results[0]
    for other in results[1:]:
        if other.tool != first.tool:
            raise RunError(
                f"{other.file} is of {other.tool}, {first.file} of {first.tool}: import them as runs of their own"
            )
        if other.server != first.server:
            differ = sorted({name for name, _ in set(first.server) ^ set(other.server)})
            raise RunError(
                f"{other.file} holds results of servers with other settings ({', '.join(differ)}), and a run is of one "
                "server: import each combination as a run of its own (its summary.json)"
            )
        if stated.model is None and other.model != first.model:
            raise RunError(
                f"{other.file} is of the model {other.model}, {first.file} of {first.model}: import them as runs of "
                "their own, or say with {model} that both are one",
                field="model",
            )
    model = stated.model or first.model or "unnamed model"
    levels: list[Level] = []
    records: list[RequestRecord] = []
    clock_s = 0.0
    for result in results:
        for foreign in result.levels:
            level, added = _level(
                foreign, len(levels), len(records), clock_s, (result.input_tokens, result.output_tokens)
            )
            levels.append(level)
            records += added
            clock_s = level.ended_s if level.ended_s is not None else clock_s
    notes = list(dict.fromkeys(note for result in results for note in result.notes))
    if not any(result.created for result in results):
        notes.append("The file has no date: the run is dated by its import.")
    header = RunHeader(
        mode="imported",
        created=min((result.created for result in results if result.created), default=stated.now),
        command=stated.command,
        rackrate_version=stated.rackrate_version,
        python_version=stated.python_version,
        state="running",  # until every request is in the file
        model=ServedModel(requested=model, catalogue_id=stated.catalogue_id),
        engine=Engine(
            name=stated.engine or first.engine or "unknown engine", url=first.url, settings=dict(first.server)
        ),
        machine=stated.machine,
        workload=WorkloadFacts(
            input_tokens=_one({result.input_tokens for result in results}),
            output_tokens=_one({result.output_tokens for result in results}),
            endpoint=first.endpoint if len({result.endpoint for result in results}) == 1 else None,
            seed=None,
        ),
        levels=levels,
        imported=Imported(
            tool=first.tool,
            version=first.version,
            files=tuple(dict.fromkeys(result.file for result in results)),
            layout=first.layout,
            notes=tuple(notes),
        ),
    )
    return Run(header, records)


def _one(values: set[int | None]) -> int | None:
    """What all say; None where they differ."""
    return values.pop() if len(values) == 1 else None


def _level(
    foreign: ForeignLevel, index: int, first: int, start_s: float, asked: tuple[int | None, int | None]
) -> tuple[Level, list[RequestRecord]]:
    """A level that starts at start_s, whatever the tool's clock said."""
    requests = sorted(foreign.requests, key=lambda item: item.done_s)
    shift_s = start_s - min((request.due_s for request in requests), default=0.0)
    records = [request.record(first + position, index, shift_s, asked) for position, request in enumerate(requests)]
    duration_s = foreign.stated.duration_s if foreign.stated is not None else None
    ended_s = max((record.done_s for record in records), default=start_s + (duration_s or 0.0))
    level = Level(
        index=index,
        kind="closed" if foreign.rate is None else "open",
        concurrency=foreign.concurrency if foreign.rate is None else None,
        rate=foreign.rate,
        arrivals=foreign.arrivals,
        warmed_up=foreign.warmed_up,
        started_s=start_s,
        # an open loop's window ends with the last arrival, a closed loop's with the last request that was sent
        stopped_s=max((record.sent_s for record in records), default=ended_s),
        ended_s=ended_s,
        ended_because="requests",
        tokens_by=foreign.tokens_by,
        stated=foreign.stated,
        unknown=foreign.unknown,
    )
    return level, records
