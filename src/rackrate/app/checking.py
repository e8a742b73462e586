"""Does a model fit a machine, by how much, how many requests beside it, and what would fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rackrate import bounds
from rackrate.app.request_json import Request

if TYPE_CHECKING:
    from rackrate.app.context import Context
    from rackrate.catalog.places import Place
    from rackrate.catalog.types import Accelerator
    from rackrate.engines.spec import EngineMemory
    from rackrate.errors import UserError
    from rackrate.memory.fit import Fit
    from rackrate.memory.remedies import Remedy
    from rackrate.models.read_model import ReadModel


@dataclass(frozen=True)
class FitRequest(Request):
    """A model, and how it would be served where."""

    NAME: ClassVar[str] = "fit"

    model: str
    """A catalogue name or hub id, or the path of a model's files."""
    on: bounds.Names = ()
    """`t4`, `t4x4`, or offers; none: every GPU of the catalogue."""
    weights: str | None = None
    """A number format; None: as published."""
    kv_format: str = "auto"
    """Of the KV cache; auto: 16 bits."""
    context_tokens: bounds.Tokens | None = None
    """Input and output tokens of a request; None: 4096, or the model's if less."""
    tp: bounds.Ranks | None = None
    """Tensor-parallel ranks; None: as many as the model allows."""
    pp: bounds.Ranks | None = None
    """Pipeline stages; None: the rest."""
    engine: str | None = None
    """None: llamacpp for GGUF, else vllm."""
    memory: bounds.GiB | None = None
    """Of each accelerator, for programs; None: the catalogue's. [GiB]"""


@dataclass(frozen=True)
class FitAt:
    """The fit on one machine, and what would make it one."""

    fit: Fit
    remedies: tuple[Remedy, ...] = ()


@dataclass(frozen=True)
class Fits:
    """The model, and its fit on each machine."""

    read: ReadModel
    engine: EngineMemory
    places: tuple[FitAt, ...]
    everywhere: bool
    """Whether every GPU of the catalogue was tried, each with as few as hold the model."""
    bits_per_weight: float
    """Of the first fit's format, or of the files as they are."""

    @property
    def refusal(self) -> UserError | None:
        """That the model fits nowhere of what was asked; None where it fits somewhere."""
        from rackrate.errors import UserError

        if any(place.fit.fits for place in self.places):
            return None
        name = self.read.architecture.name
        if len(self.places) == 1:
            return UserError(f"{name} does not fit there; the answer names what would")
        return UserError(f"{name} does not fit: none of the {len(self.places)} holds it; the answer names what would")


def fits(request: FitRequest, context: Context) -> Fits:
    """Weights, KV cache and working memory on each machine; the longest context, the most requests, what would fit.

    Raises:
        UserError: an unknown model, machine, format or engine, or ranks that are not those of the machine.
    """
    from rackrate.catalog.places import place_of
    from rackrate.errors import UserError

    work = _Checking(request, context)
    if request.on:
        places = [
            place_of(text, context.catalog, otherwise="name its CPU, with {memory}", fields=("memory",))
            for text in request.on
        ]
        found = tuple(work.at(place) for place in places)
    elif request.tp is not None or request.pp is not None:
        raise UserError("{tp} and {pp} need {on}: say which accelerators are split", fields=("tp", "pp", "on"))
    else:
        found = tuple(FitAt(work.fewest(card)) for card in context.catalog.accelerators.values() if card.kind == "gpu")
    return Fits(work.read, work.engine, found, not request.on, work.bits_per_weight(found[0].fit))


class _Checking:
    """What is asked, read and checked."""

    def __init__(self, request: FitRequest, context: Context) -> None:
        from rackrate.memory.engine_memory import engine_memory
        from rackrate.models.formats import kv_value_bytes, weight_format
        from rackrate.models.read_model import read_model
        from rackrate.units import GIB

        if request.kv_format != "auto":
            kv_value_bytes(request.kv_format)
        self.request, self.catalog = request, context.catalog
        self.read = read_model(request.model, self.catalog, weights_stated=request.weights is not None)
        self.architecture = self.read.architecture
        form = weight_format(request.weights or self.architecture.native_weights)
        gguf = form.family == "gguf" or self.read.is_gguf
        self.engine = engine_memory(request.engine or ("llamacpp" if gguf else "vllm"))
        self.memory_bytes = None if request.memory is None else request.memory * GIB
        self.file_bytes = self.read.weights_file_bytes if request.weights is None else None
        """The exact size of the files, unless another format is asked for."""

    def fit(self, accelerator: Accelerator, tp: int, pp: int) -> Fit:
        """The answer for one split over accelerators."""
        from rackrate.memory.fit import fit

        return fit(
            self.architecture, accelerator, tp=tp, pp=pp, weights=self.request.weights, kv=self.request.kv_format,
            context_tokens=self.request.context_tokens, engine=self.engine, memory_bytes=self.memory_bytes,
            weights_file_bytes=self.file_bytes,
        )  # fmt: skip

    def at(self, place: Place) -> FitAt:
        """The fit on a machine, with remedies where it is none."""
        from rackrate.memory.remedies import remedies

        found = self.fit(place.accelerator, *self._split(place))
        if found.fits or self.memory_bytes is not None:  # other counts and cards have other memories
            return FitAt(found)
        ways = remedies(
            self.architecture, place.accelerator, found, weights=self.request.weights, engine=self.engine,
            others=self.catalog.accelerators.values(), weights_file_bytes=self.file_bytes,
        )  # fmt: skip
        return FitAt(found, ways)

    def _split(self, place: Place) -> tuple[int, int]:
        """Tensor-parallel ranks and pipeline stages. UserError where they are not the machine's accelerators."""
        from rackrate.errors import UserError
        from rackrate.memory.sharding import best_parallelism

        tp, pp, count = self.request.tp, self.request.pp, place.count
        if tp is None and pp is None:
            return best_parallelism(self.architecture, count, self.engine)
        tp = tp if tp is not None else max(1, count // (pp or 1))
        pp = pp if pp is not None else max(1, count // tp)
        if tp * pp != count:
            raise UserError(
                f"{{tp}} {tp} times {{pp}} {pp} is {tp * pp}, but {{on}} names {count} x {place.accelerator.id}",
                fields=("tp", "pp", "on"),
            )
        return tp, pp

    def fewest(self, accelerator: Accelerator) -> Fit:
        """The fit on the fewest of a card, or on one where none will do."""
        from rackrate.memory.remedies import smallest_count

        found = None
        if self.memory_bytes is None:
            found = smallest_count(
                self.architecture, accelerator, weights=self.request.weights, kv=self.request.kv_format,
                context_tokens=self.request.context_tokens, engine=self.engine, weights_file_bytes=self.file_bytes,
            )  # fmt: skip
        return found or self.fit(accelerator, 1, 1)

    def bits_per_weight(self, found: Fit) -> float:
        """Of the files where they are served as they are, else of the format."""
        from rackrate.models.formats import weight_format
        from rackrate.models.weight_sizes import bits_per_weight

        if self.file_bytes is None:
            return bits_per_weight(self.architecture, weight_format(found.weights_format))
        return 8 * found.total_weights_bytes / self.architecture.parameters.total
