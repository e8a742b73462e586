"""Which tool wrote a file, by what is in it; its name says nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import orjson

from rackrate.errors import RunError
from rackrate.importers import aiperf, genai_perf, guidellm, vllm
from rackrate.importers.results import ImportedRun, LayoutError, Object

READABLE = (
    "vLLM `bench serve` (--save-result), guidellm (JSON report), aiperf (profile_export.jsonl, "
    "profile_export_aiperf.json) and genai-perf (profile_export.json, profile_export_genai_perf.json)"
)
_AIPERF_RECORDS, _AIPERF_SUMMARY = "profile_export.jsonl", "profile_export_aiperf.json"
_GENAI_EXPORT, _GENAI_SUMMARY = "profile_export.json", "profile_export_genai_perf.json"


def read_results(path: Path) -> list[ImportedRun]:
    """What a file holds: one result, or several where a tool appends them.

    Sums of aiperf and genai-perf are left for the requests, where the file with these lies beside.

    Raises:
        RunError: unreadable, empty, truncated, of no tool that is known, or without what a result must have.
    """
    values, lines = _parse(path)
    try:
        found = _read(path, values, lines)
    except LayoutError as error:
        raise RunError(f"{path}: {error}; the file is damaged, or of a version that rackrate does not know") from None
    answered = any(
        level.stated.finished if level.stated is not None else any(request.status == "ok" for request in level.requests)
        for match in found
        for level in match.levels
    )
    if not answered:
        raise RunError(f"{path}: no request in it was answered, so there is nothing to import")
    return [replace(match, file=path.name) for match in found]


def _parse(path: Path) -> tuple[Object, list[Object]]:
    """The file as one object, or else as an object a line."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise RunError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise RunError(f"{path}: is a directory; name the file of results in it") from None
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror or error})") from None
    if not data.strip():
        raise RunError(f"{path}: is empty")
    try:
        whole = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        lines = data.splitlines()
        if len(lines) < 2 or not _is_json(lines[0]):
            raise RunError(f"{path}:{error.lineno}:{error.colno}: not JSON, or cut off there ({error.msg})") from None
        return {}, _lines(path, lines)
    if not isinstance(whole, dict):
        raise RunError(f"{path}: is not a result of {READABLE}")
    return cast("Object", whole), [cast("Object", whole)]


def _lines(path: Path, lines: list[bytes]) -> list[Object]:
    found: list[Object] = []
    for position, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value: Any = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise RunError(f"{path}:{position}: not JSON, or cut off there ({error.msg})") from None
        if isinstance(value, dict):
            found.append(cast("Object", value))
    return found


def _is_json(line: bytes) -> bool:
    try:
        return isinstance(orjson.loads(line), dict)
    except orjson.JSONDecodeError:
        return False


def _read(path: Path, values: Object, lines: list[Object]) -> list[ImportedRun]:
    if guidellm.is_guidellm(values):
        return [guidellm.read_guidellm(values)]
    if genai_perf.is_genai_perf_export(values):
        return [
            genai_perf.read_genai_perf_export(values, _beside(path, _GENAI_SUMMARY, genai_perf.is_genai_perf_summary))
        ]
    if aiperf.is_aiperf_summary(values):
        if (path.parent / _AIPERF_RECORDS).is_file() and path.name == _AIPERF_SUMMARY:
            return [aiperf.read_aiperf_records(_parse(path.parent / _AIPERF_RECORDS)[1], values)]
        return [aiperf.read_aiperf_summary(values)]
    if genai_perf.is_genai_perf_summary(values):
        if (path.parent / _GENAI_EXPORT).is_file() and path.name == _GENAI_SUMMARY:
            return [genai_perf.read_genai_perf_export(_parse(path.parent / _GENAI_EXPORT)[0], values)]
        return [genai_perf.read_genai_perf_summary(values)]
    if lines and all(aiperf.is_aiperf_record(line) for line in lines):
        return [aiperf.read_aiperf_records(lines, _beside(path, _AIPERF_SUMMARY, aiperf.is_aiperf_summary))]
    if lines and all(vllm.is_vllm(line) for line in lines):
        return [vllm.read_vllm(line) for line in lines]
    raise RunError(f"{path}: is not a result of {READABLE}")


def _beside(path: Path, name: str, fits: Any) -> Object:
    """The summary beside a file of requests; nothing where it is not there or not what it should be."""
    other = path.parent / name
    if not other.is_file():
        return {}
    values, _ = _parse(other)
    return values if fits(values) else {}
