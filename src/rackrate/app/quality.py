"""What a cheaper number format lost."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rackrate.app.request_json import Request
from rackrate.errors import EngineError, RunError
from rackrate.files import is_directory, is_there

if TYPE_CHECKING:
    from rackrate.app.context import Context
    from rackrate.engines.quality import Quality

SCHEMA = "rackrate.quality/1"
FILE = "quality.json"
"""In a run directory: comparisons show it beside the price."""


@dataclass(frozen=True)
class QualityRequest(Request):
    """Which number formats of one model to judge."""

    NAME: ClassVar[str] = "quality"

    models: tuple[str, ...]
    """Embedded models, GGUF files (`MODEL:FORMAT` rewrites them), directories of safetensors."""
    reference: str = "smollm2-135m-instruct"
    """What they are set against: the same model, as published."""
    with_run: Path | None = None
    """A run of the (one) model: the result is kept with it, too."""


@dataclass(frozen=True)
class FormatQuality:
    """The reference, and what the others lost against it."""

    created: str
    reference: str
    models: tuple[Quality, ...]


def measure_formats(request: QualityRequest, context: Context) -> FormatQuality:
    """Perplexity on a text and greedy agreement over 50 prompts; some minutes a model on a CPU.

    Raises:
        EngineError: nothing to judge, no such weights, transformers is not installed, or no run to keep it with.
        RunError: the result cannot be kept with the run.
    """
    from rackrate.engines.quality import measure_quality
    from rackrate.runs.store import HEADER

    reference, run = request.reference, request.with_run
    names = [name for name in dict.fromkeys(request.models) if name != reference]
    if not names:
        raise EngineError("name a model other than the reference, such as smollm2-135m-instruct:Q4_0", field="models")
    if run is not None and (len(names) != 1 or not is_there(run / HEADER)):
        raise EngineError(
            f"{{with_run}} takes a run directory and goes with one model; {run} is none, or there are several",
            field="with_run",
        )
    paths = {name: _path(name, context) for name in (reference, *names)}
    what = f"computing {len(paths)} models, some minutes each on a CPU"
    context.notify.progress(what, 0.0, 1.0)
    found = measure_quality(paths, reference, lambda share: context.notify.progress(what, share, 1.0))
    answer = FormatQuality(context.now(), reference, tuple(found))
    if run is not None:
        _keep(answer, run / FILE)
    return answer


def _path(name: str, context: Context) -> Path:
    from rackrate.engines.weights import find_weights

    path = Path(name).expanduser()
    return path if is_directory(path) else find_weights(name, context.notify.note, install=False).path


def _keep(answer: FormatQuality, path: Path) -> None:
    import orjson

    from rackrate.files.writing import write_whole

    try:
        kept = orjson.dumps({"schema": SCHEMA, **asdict(answer)}, option=orjson.OPT_INDENT_2)
        write_whole(path, kept + b"\n", private=True)
    except OSError as error:
        raise RunError(f"{path}: cannot be written ({error.strerror or error})") from None
