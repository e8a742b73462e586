"""Read results of other load generators into a run directory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from rackrate import bounds
from rackrate.app.request_json import Request
from rackrate.app.runs import LoadedRun, summarised
from rackrate.errors import RunError
from rackrate.files import is_regular, open_bytes

if TYPE_CHECKING:
    from io import BufferedReader

    from rackrate.app.context import Context

_QUICK_MB = 20
"""Some 20 MB take two seconds."""


@dataclass(frozen=True)
class ImportRequest(Request):
    """Which files to read, and what they do not say."""

    NAME: ClassVar[str] = "import"

    files: bounds.Paths
    """Results of one tool and model; several become the levels of one run."""
    out: Path | None = None
    """Where the run goes; None: runs/MODEL-TIME."""
    on: str | None = None
    """The machine, as an offer's id."""
    model: str | None = None
    engine: str | None = None


@dataclass(frozen=True)
class Imported:
    """The run that was written, read back."""

    directory: Path
    kept: LoadedRun


def import_results(request: ImportRequest, context: Context) -> Imported:
    """Reads results and writes them as a run.

    Raises:
        RunError: a file that no importer reads, or a directory that holds a run.
        CatalogError: no offer is called so.
    """
    from rackrate.importers.build import Stated, build
    from rackrate.importers.detect import read_results
    from rackrate.measurement.host import stated_machine
    from rackrate.runs.directories import fresh_directory
    from rackrate.runs.records import Machine
    from rackrate.runs.store import RunWriter, read_run

    catalog, asked = context.catalog, context.provenance
    machine = stated_machine(catalog.offer(request.on)) if request.on else Machine(origin="unknown")
    megabytes = sum(path.stat().st_size for path in request.files if is_regular(path)) / 1e6
    if megabytes > _QUICK_MB:
        context.notify.note(f"reading {megabytes:.0f} MB")
    _refuse_copies(request.files)
    results = [result for path in request.files for result in read_results(path)]
    name = request.model or results[0].model
    known = catalog.known_model(name) if name else None
    run = build(
        results,
        Stated(
            machine=machine,
            model=request.model,
            catalogue_id=known.id if known else None,
            engine=request.engine,
            command=asked.command,
            rackrate_version=asked.version,
            python_version=asked.python_version,
            now=context.now(),
        ),
    )
    directory = request.out or fresh_directory(run.header.model.requested, context.clock())
    with RunWriter(directory, run.header) as writer:
        for record in run.requests:
            writer.add(record)
        run.header.state = "complete"
        writer.finish()
    return Imported(directory, summarised(read_run(directory)))


def _refuse_copies(paths: Sequence[Path]) -> None:
    """Raises RunError where two files hold the same: their requests would be counted twice."""
    from hashlib import file_digest

    from rackrate.importers.files import MOST_RESULTS

    sizes = Counter(path.stat().st_size for path in paths if is_regular(path))
    seen: dict[bytes, Path] = {}
    for path in paths:
        # who reads a file says what is wrong with it, be it a directory or without end
        if not is_regular(path) or not (sizes[path.stat().st_size] > 1 and path.stat().st_size <= MOST_RESULTS):
            continue
        with open_bytes(path) as file:
            digest = file_digest(cast("BufferedReader", file), "sha256").digest()
        if digest in seen:
            raise RunError(f"{path} holds the same as {seen[digest]}: its requests would be counted twice")
        seen[digest] = path
