"""A model by whatever name it has: a catalogue entry, a config.json, a directory of weights, a GGUF file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from rackrate.catalog.load import Catalog
from rackrate.catalog.types import Model
from rackrate.errors import UserError, did_you_mean
from rackrate.files import is_directory, is_regular, is_there, open_bytes
from rackrate.models.architecture import Architecture, of_catalogue_model
from rackrate.models.config_values import ConfigValues, read_json
from rackrate.models.formats import repository_formats
from rackrate.models.gguf_model import read_gguf_model
from rackrate.models.hf_config import architecture_of_config, unknown_type
from rackrate.models.safetensors_header import safetensors_size


@dataclass(frozen=True)
class ReadModel:
    """A model and what is known of its files."""

    architecture: Architecture
    weights_file_bytes: int | None = None
    """Exact size of the weights as published, where their files were read. [byte]"""
    notes: tuple[str, ...] = ()
    listed: Model | None = None
    """The catalogue's entry; None where the model was read from files."""

    @property
    def reading_notes(self) -> tuple[str, ...]:
        """The notes on how it was read, without those of the catalogue's entry."""
        return tuple(note for note in self.notes if self.listed is None or note != self.listed.notes)

    @property
    def is_gguf(self) -> bool:
        """Its weights are for llama.cpp."""
        return self.architecture.origin.endswith(".gguf")


def read_model(name: str, catalog: Catalog, *, weights_stated: bool = False) -> ReadModel:
    """The model of that name or path.

    Args:
        name: an id or alias of the catalogue, or the path of a config.json, a directory with one, or a GGUF file.
        catalog: where names are looked up.
        weights_stated: the caller names the weight format, so that an unknown quantisation does not matter.

    Raises:
        UserError: nothing is there, or a file says something missing, absurd or unknown; file and key are named.
    """
    path = Path(name).expanduser()
    model = catalog.known_model(name)
    if is_directory(path) and (model is None or _holds_a_model(path)):
        return _of_directory(path, weights_stated)
    if is_regular(path):
        if path.suffix == ".gguf" or _begins_with(path, b"GGUF"):
            return _of_gguf(path)
        if path.suffix == ".safetensors" or path.name.endswith(".index.json"):
            if is_there(path.parent / "config.json"):
                return _of_directory(path.parent, weights_stated)
            raise UserError(f"{path}: says how large the weights are, but a KV cache needs the config.json beside it")
        return _of_config(path, weights_stated)
    if model is not None:
        return ReadModel(of_catalogue_model(model), notes=(model.notes,) if model.notes else (), listed=model)
    if path.suffix in {".gguf", ".json", ".safetensors"} or name.startswith(("/", "./", "../", "~")):
        raise UserError(f"{name}: no such file or directory")
    suffixed = _with_format(name, catalog)
    if suffixed is not None:
        return suffixed
    raise UserError(
        f"no model is called {name!r}{did_you_mean(name, catalog.models)} (`{{catalog}} models` lists them; or "
        "give the path of a config.json, a directory with one, or a GGUF file)",
        field="catalog",
    )


def _with_format(name: str, catalog: Catalog) -> ReadModel | None:
    """A model of the catalogue in a format that its name ends with, as in Qwen2.5-32B-Instruct-AWQ; else None."""
    for base, form in repository_formats(name):
        model = catalog.known_model(base)
        if model is not None:
            architecture = replace(of_catalogue_model(model), native_weights=form)
            return ReadModel(architecture, notes=(f"{name}: taken as {model.id} in {form}",), listed=model)
    return None


def _holds_a_model(directory: Path) -> bool:
    return is_there(directory / "config.json") or any(directory.glob("*.gguf"))


def _begins_with(path: Path, magic: bytes) -> bool:
    try:
        with open_bytes(path) as file:
            return file.read(len(magic)) == magic
    except OSError:
        return False


def _of_gguf(path: Path) -> ReadModel:
    read = read_gguf_model(path)
    return ReadModel(read.architecture, read.tensor_bytes)


def _of_config(path: Path, weights_stated: bool, *, weights_beside: bool = False) -> ReadModel:
    """A config.json alone; with `weights_beside` of an unknown type, too, because its parameters can be compared."""
    beside = path.with_name("hf_quant_config.json")
    sidecar = ConfigValues(str(beside), read_json(beside)) if is_there(beside) else None
    name = path.parent.name if path.name == "config.json" and path.parent.name else path.stem
    values = ConfigValues(str(path), read_json(path))
    architecture, notes = architecture_of_config(values, name, sidecar, weights_stated=weights_stated)
    if not weights_beside and (unknown := unknown_type(values)) is not None:
        raise _unknown(
            path, unknown, "lay its safetensors beside it, and it is read where they agree with Llama's shape"
        )
    return ReadModel(architecture, notes=tuple(notes))


def _unknown(path: Path, model_type: str, what: str) -> UserError:
    return UserError(
        f"{path}: the model_type {model_type!r} is not known, so what is counted for it could be far off; {what}"
    )


def _of_directory(directory: Path, weights_stated: bool) -> ReadModel:
    config = directory / "config.json"
    if not is_there(config):
        files = sorted(directory.glob("*.gguf"))
        if not files:
            raise UserError(f"{directory}: has neither a config.json nor a GGUF file")
        parts = [file for file in files if "-of-" not in file.name or "-00001-of-" in file.name]
        if len(parts) > 1:
            raise UserError(f"{directory}: has {len(parts)} GGUF files; name one of them, such as {parts[0].name}")
        return _of_gguf(parts[0] if parts else files[0])
    read = _of_config(config, weights_stated, weights_beside=True)
    architecture = read.architecture
    size = safetensors_size(directory, layers=architecture.layers, tied=architecture.parameters.head == 0)
    if size is None:
        return _of_config(config, weights_stated)
    notes = list(read.notes)
    counted = architecture.parameters.total
    if size.vision_parameters:
        architecture = replace(architecture, parameters=replace(architecture.parameters, vision=size.vision_parameters))
        counted += size.vision_parameters
        notes = [note for note in notes if "vision or audio" not in note]
    unknown = unknown_type(ConfigValues(str(config), read_json(config)))
    if unknown is not None and (size.parameters is None or abs(size.parameters - counted) > 0.01 * size.parameters):
        raise _unknown(config, unknown, f"its safetensors do not have the {counted:,} parameters of Llama's shape")
    if size.parameters is not None and abs(size.parameters - counted) > 0.01 * size.parameters:
        notes.append(
            f"{config}: gives {counted:,} parameters where the safetensors files have {size.parameters:,}; "
            "the files' size counts"
        )
    return ReadModel(architecture, size.bytes, tuple(notes))
