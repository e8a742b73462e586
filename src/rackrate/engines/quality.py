"""What a cheaper number format lost, against a reference format of the same model."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from rackrate.engines.environment import child_environment
from rackrate.engines.install import environment_python, is_installed
from rackrate.engines.safetensors import CONVERTER
from rackrate.errors import EngineError

ANSWER_TOKENS = 32
NORMAL_95 = 1.96


@dataclass(frozen=True)
class Quality:
    """One format against the reference, computed alike."""

    model: str
    perplexity: float
    """On the shipped text: e to the mean of nats per token."""
    tokens: int
    ratio: float | None
    """Perplexity over the reference's; None for the reference itself."""
    ratio_interval: tuple[float, float] | None
    """95 %, from the tokens' differences in pairs."""
    agreement: float | None
    """Share of the reference's greedy answer tokens that this one would have chosen after the same words."""
    same_answers: int | None
    """Answers that are the reference's, word by word."""
    answers: int | None


def text() -> str:
    """The shipped text (engines/data/SOURCES.md says of what)."""
    return (resources.files("rackrate.engines") / "data" / "quality_text.txt").read_text(encoding="utf-8")


def prompts() -> list[str]:
    """The fifty prompts."""
    lines = (resources.files("rackrate.engines") / "data" / "quality_prompts.txt").read_text(encoding="utf-8")
    return [line for line in lines.splitlines() if line.strip()]


def measure_quality(
    models: Mapping[str, Path], reference: str, on_progress: Callable[[float], None] = lambda _: None
) -> list[Quality]:
    """Perplexity and greedy agreement of models, the reference first.

    Args:
        models: name to GGUF file or directory of safetensors; all of one model.
        reference: the name of the one that others are set against.
        on_progress: takes the share that is done, 0 to 1.

    Raises:
        EngineError: transformers is not installed, or cannot read a file.
    """
    if not is_installed(CONVERTER):
        raise EngineError(
            f"quality is computed with transformers: run `{{engines install}} {CONVERTER}`", field="engines install"
        )
    asked = {
        "models": {name: str(path) for name, path in models.items()},
        "reference": reference,
        "text": text(),
        "prompts": prompts(),
        "tokens": ANSWER_TOKENS,
    }
    script = Path(__file__).parent / "launch" / "quality.py"
    process = subprocess.Popen(
        [str(environment_python(CONVERTER)), str(script), json.dumps(asked)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # on a busy machine threads that spin at barriers are ten times slower than threads that sleep
        env={**child_environment(), "OMP_WAIT_POLICY": "PASSIVE"},
    )
    words: list[str] = []
    with process:
        assert process.stderr is not None  # noqa: S101 - a pipe was asked for
        assert process.stdout is not None  # noqa: S101
        try:
            for line in process.stderr:
                if line.startswith("progress "):
                    on_progress(float(line.split()[1]))
                else:
                    words.append(line.rstrip())
            output = process.stdout.read()
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        last = "\n".join(f"  {line}" for line in words[-6:])
        raise EngineError(f"the quality could not be computed; the last lines:\n{last}")
    return read_results(json.loads(output))


def read_results(results: Mapping[str, Mapping[str, float]]) -> list[Quality]:
    """What the script found, with intervals.

    >>> counts = {"agreed_tokens": 9, "answer_tokens": 10, "agreed_answers": 1, "answers": 2}
    >>> losses = {"tokens": 9, "perplexity": 8.8, "log_ratio": 0.0953, "log_ratio_error": 0.01}
    >>> low, high = read_results({"b": losses | counts})[0].ratio_interval
    >>> round(low, 3), round(high, 3)
    (1.079, 1.122)
    """
    found: list[Quality] = []
    for name, result in results.items():
        ratio = interval = agreement = None
        if "log_ratio" in result:
            middle, half = result["log_ratio"], NORMAL_95 * result["log_ratio_error"]
            ratio, interval = math.exp(middle), (math.exp(middle - half), math.exp(middle + half))
            agreement = result["agreed_tokens"] / result["answer_tokens"]
        found.append(
            Quality(
                model=name,
                perplexity=result["perplexity"],
                tokens=int(result["tokens"]),
                ratio=ratio,
                ratio_interval=interval,
                agreement=agreement,
                same_answers=int(result["agreed_answers"]) if "agreed_answers" in result else None,
                answers=int(result["answers"]) if "answers" in result else None,
            )
        )
    return found
