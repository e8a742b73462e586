"""Which tool wrote a file, by what is in it; its name says nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Protocol

from rackrate.errors import RunError
from rackrate.importers import aiperf, genai_perf, guidellm, inference_perf, sglang, vllm
from rackrate.importers.files import ResultFile, read_file
from rackrate.importers.results import ImportedRun, LayoutError


class Importer(Protocol):
    """What a module that reads a tool's files has."""

    @property
    def FILES(self) -> str:  # noqa: N802 - a constant of the module
        """The tool, and in brackets the files of it that are read."""
        ...

    def read(self, file: ResultFile) -> list[ImportedRun] | None:
        """What the file holds, several results where the tool appends them; None where it is not the tool's.

        Raises:
            LayoutError: what a result must have is missing.
        """
        ...


IMPORTERS: list[Importer] = [vllm, sglang, guidellm, aiperf, genai_perf, inference_perf]
"""Asked in this order. A new one is a module and a word here."""


def read_results(path: Path) -> list[ImportedRun]:
    """What a file holds: one result, or several where a tool appends them.

    Sums of aiperf and genai-perf are left for the requests, where the file with these lies beside.

    Raises:
        RunError: unreadable, empty, truncated, of no tool that is known, or without what a result must have.
    """
    file = read_file(path)
    try:
        found = next((runs for importer in IMPORTERS if (runs := importer.read(file)) is not None), None)
    except LayoutError as error:
        raise RunError(f"{path}: {error}; the file is damaged, or of a version that rackrate does not know") from None
    if found is None:
        tools = [importer.FILES for importer in IMPORTERS]
        raise RunError(f"{path}: is not a result of {', '.join(tools[:-1])} and {tools[-1]}")
    answered = any(
        level.stated.finished if level.stated is not None else any(request.status == "ok" for request in level.requests)
        for match in found
        for level in match.levels
    )
    if not answered:
        raise RunError(f"{path}: no request in it was answered, so there is nothing to import")
    return [replace(match, file=path.name) for match in found]
