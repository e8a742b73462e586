"""Every reader of files that strangers may have made: how it is called, and which modules it goes through.

A new module that opens files belongs in `READERS`, or in `OWN` with the reason why nobody else writes what it reads.
`test_hostile_readers` finds modules by what they call, and options of the command line by their type.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rackrate.app.context import Context, Provenance
from rackrate.catalog.load import Catalog, load_catalog
from written_runs import WHOLE, write


@dataclass(frozen=True)
class Reader:
    """A way in which a file gets in."""

    name: str
    file: str
    """What the file is called; endings tell kinds apart."""
    modules: tuple[str, ...]
    """Of rackrate, that open the file or hand it to what does."""
    call: Callable[[Path], Any]
    prepare: Callable[[Path], object] = lambda _: None
    """What lies in the directory besides."""
    links: bool = True
    """Whether a link may stand there."""
    sample: str | None = None
    """JSON that is read, whose values are exchanged one by one."""
    follows: bool = False
    """Whether it makes do with what lies beside where the file is not there at all."""
    needed: bool = True
    """Whether it says so where what is there cannot be read; else it does without."""


@functools.cache
def catalog() -> Catalog:
    """The catalogue as it ships."""
    return load_catalog()


def context(directory: Path) -> Context:
    """Nobody listens, and nothing is known."""
    return Context(load_catalog, Provenance("a test", "0", "3"), directory / "cache")


def _run(directory: Path) -> None:
    write(directory, [WHOLE], finish=False)


def _read_run(path: Path) -> object:
    from rackrate.metrics.summary import summarise
    from rackrate.runs.store import read_run

    return summarise(read_run(path.parent))


def _resume(path: Path) -> object:
    from rackrate.app.measuring.resume import read_kept

    return read_kept(path)


def _quality(path: Path) -> object:
    from rackrate.app import side_by_side

    return vars(side_by_side)["_quality"](path.parent)


def _tune(path: Path) -> object:
    from rackrate.app import tuning
    from rackrate.engines.knobs import Space

    request = tuning.TuneRequest("llamacpp", out=path.parent)
    return vars(tuning)["_same_search"](request, Space((), ()))


def _power(path: Path) -> object:
    from rackrate.measurement.energy import read_power

    return read_power(path.parent)


def _model(path: Path) -> object:
    from rackrate.models.read_model import read_model

    return read_model(str(path), catalog())


def _config(directory: Path) -> None:
    (directory / "config.json").write_text(CONFIG, encoding="utf-8")


def _safetensors(path: Path) -> object:
    from rackrate.models.safetensors_header import read_safetensors_header

    return list(read_safetensors_header(path))


def _gguf_weights(path: Path) -> object:
    from rackrate.engines.weights import check_gguf

    return check_gguf(path)


def _requantise(path: Path) -> object:
    from rackrate.engines.requantise import requantise

    return requantise(path, path.with_name("out.gguf"), "Q4_0", lambda _: None)


def _tokenizer(path: Path) -> object:
    from rackrate.models.tokenizer_files import read_tokenizer

    return read_tokenizer(str(path))


def _ratio(path: Path) -> object:
    from rackrate.studies.tokenizers import measured_ratio

    return measured_ratio(path, path, path)


def _coefficients(path: Path) -> object:
    from rackrate.steptime.coefficient_file import read_coefficients

    return read_coefficients(path)


def _calibration(path: Path) -> object:
    from rackrate.calibration.document import read_calibration

    return read_calibration(path)


def _rows(path: Path) -> object:
    from rackrate.validation.published import read_rows

    return read_rows(path)


def _import(path: Path) -> object:
    from rackrate.importers.build import Stated, build
    from rackrate.importers.detect import read_results
    from rackrate.metrics.summary import summarise
    from rackrate.runs.records import Machine

    stated = Stated(Machine(origin="unknown"), None, None, None, "a test", "0", "3", "2026-12-01T00:00:00+00:00")
    return summarise(build(read_results(path), stated))


def _import_two(path: Path) -> object:
    from rackrate.app.importing import ImportRequest, import_results

    with TemporaryDirectory() as place:
        other = Path(place, "other.json")
        other.write_text(VLLM, encoding="utf-8")
        return import_results(ImportRequest(files=(other, path), out=Path(place, "imported")), context(Path(place)))


def _stages(directory: Path) -> None:
    (directory / "stage_0_lifecycle_metrics.json").write_text(STAGE, encoding="utf-8")


def _config_beside(path: Path) -> object:
    return _import(path.with_name("stage_0_lifecycle_metrics.json"))


def _trace(path: Path) -> object:
    from rackrate.workload.traces import read_trace

    return read_trace(path)


def _traffic(path: Path) -> object:
    from rackrate.workload.traffic_files import read_traffic

    return read_traffic(path, 300.0)


def _lengths(path: Path) -> object:
    from rackrate.workload.distributions import parse_distribution

    return parse_distribution(f"file:{path}", "input_tokens")


def _study(path: Path) -> object:
    from rackrate.studies.loading import load_study

    return load_study(path)


def _rig(path: Path) -> object:
    from rackrate.economics.hourly import read_rig

    return read_rig(path, catalog())


def _fleet_models(path: Path) -> object:
    from rackrate.app.fleet_models import read_models

    return read_models(path)


def _overlay(path: Path) -> object:
    return load_catalog.__wrapped__((path.parent,))


CONFIG = (
    '{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 128, '
    '"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 100, '
    '"max_position_embeddings": 512, "tie_word_embeddings": false, "torch_dtype": "bfloat16", "rope_scaling": null}'
)
USAGE = (
    '{"object": "page", "data": [{"object": "bucket", "start_time": 1730419200, "end_time": 1730505600, "results": '
    '[{"object": "organization.usage.completions.result", "input_tokens": 100, "output_tokens": 50, '
    '"input_cached_tokens": 10, "num_model_requests": 5, "model": "gpt-4o", "batch": false}]}], "has_more": false}'
)
VLLM = (
    '{"date": "20260101-000000", "backend": "openai-chat", "model_id": "m", "tokenizer_id": "m", "num_prompts": 2, '
    '"request_rate": "inf", "max_concurrency": 2, "duration": 1.0, "completed": 2, "failed": 0, '
    '"total_input_tokens": 8, "total_output_tokens": 8, "request_throughput": 2.0, "output_throughput": 8.0, '
    '"input_lens": [4, 4], '
    '"output_lens": [4, 4], "ttfts": [0.1, 0.1], "itls": [[0.1, 0.1, 0.1], [0.1, 0.1, 0.1]], "errors": ["", ""], '
    '"start_times": [0.0, 0.0], "mean_ttft_ms": 100.0, "median_ttft_ms": 100.0, "p99_ttft_ms": 100.0}'
)
STAGE = '{"load_summary": {"count": 1}, "successes": {"count": 1}, "failures": {"count": 0}}'
QUALITY = (
    '{"reference": "a", "models": [{"model": "b", "perplexity": 9.0, "tokens": 5, "ratio": 1.1, '
    '"ratio_interval": [1.0, 1.2], "agreement": 0.9, "same_answers": 1, "answers": 2}]}'
)

READERS = (
    Reader("run header", "run.json", ("runs.store",), _read_run, _run, links=False),
    Reader("run journal", "requests.jsonl", ("runs.store",), _read_run, _run, links=False),
    Reader("run table", "requests.parquet", ("runs.store", "runs.table"), _read_run, _run, links=False, follows=True),
    Reader("power", "power.csv", ("measurement.energy",), _power, links=False, follows=True),
    Reader("comparison's request", "request.json", ("app.measuring.resume",), _resume, links=False,
           sample='{"schema": "x", "request": {"engines": ["naive"]}}'),
    Reader("qualities", "quality.json", ("app.side_by_side",), _quality, links=False, follows=True, sample=QUALITY),
    Reader("search", "tune.json", ("app.tuning",), _tune, links=False, follows=True, sample='{"engine": "llamacpp"}'),
    Reader("model config", "config.json", ("models.config_values", "models.read_model"), _model, sample=CONFIG),
    Reader("model GGUF", "m.gguf", ("models.gguf_header", "models.read_model"), _model),
    Reader("model index", "model.safetensors.index.json", ("models.config_values",), _model, _config,
           sample='{"metadata": {"total_size": 1000}, "weight_map": {"a": "b.safetensors"}}'),
    Reader("safetensors", "m.safetensors", ("models.safetensors_header",), _safetensors),
    Reader("weights", "m.gguf", ("engines.weights",), _gguf_weights),
    Reader("weights to rewrite", "m.gguf", ("engines.requantise",), _requantise),
    Reader("tokenizer", "tokenizer.json", ("models.tokenizer_files",), _tokenizer),
    Reader("ranks", "tokenizer.model", ("models.tokenizer_files",), _tokenizer),
    Reader("text to count", "text.txt", ("studies.tokenizers",), _ratio),
    Reader("coefficients", "c.json", ("steptime.coefficient_file",), _coefficients),
    Reader("calibration", "calibration.json", ("calibration.document",), _calibration),
    Reader("published rows", "rows.csv", ("validation.published", "files.bounded"), _rows),
    Reader("results", "vllm.json", ("importers.files",), _import, sample=VLLM),
    Reader("results beside others", "vllm.json", ("app.importing",), _import_two),
    Reader("results in lines", "vllm.jsonl", ("importers.files",), _import),
    Reader("results in a table", "genai.csv", ("importers.files",), _import),
    Reader("results' config", "config.yaml", ("importers.inference_perf",), _config_beside, _stages, needed=False),
    Reader("trace", "trace.csv", ("workload.trace_files", "workload.traces", "workload.csv_rows"), _trace),
    Reader("trace, lines", "trace.jsonl", ("workload.trace_files", "workload.traces"), _trace),
    Reader("trace, packed", "trace.csv.gz", ("workload.trace_files", "files.bounded"), _trace),
    Reader("traffic", "traffic.csv", ("workload.traffic_files", "workload.csv_rows"), _traffic),
    Reader("usage", "usage.json", ("workload.usage_exports",), _traffic, sample=USAGE),
    Reader("lengths", "lengths.csv", ("workload.distributions",), _lengths),
    Reader("study", "study.yaml", ("studies.loading", "files.yaml", "catalog.documents"), _study),
    Reader("rig", "rig.yaml", ("catalog.documents", "files.yaml"), _rig),
    Reader("fleet's models", "models.yaml", ("catalog.documents",), _fleet_models),
    Reader("overlay", "offers.yaml", ("catalog.load",), _overlay, follows=True),
)  # fmt: skip

OWN = {
    "catalog.apis": "its file ships with rackrate",
    "validation.names": "its files ship with rackrate",
    "models.hf_defaults": "its file ships with rackrate",
    "steptime.accelerator_errors": "its file ships with rackrate",
    "app.studying": "its template ships with rackrate",
    "report.render.html": "its scripts ship with rackrate",
    "engines.quality": "its text ships with rackrate",
    "validation.fit_file": "a digest of a file that published has read",
    "engines.install": "pin files that ship with rackrate, and digests of files in the cache",
    "engines.process": "the log that it has opened for the engine, without links",
    "engines.supervise": "the log that it has opened for the engine, without links",
    "engines.vllm": "pages of /sys",
    "memory.what_would_fit": "pages of /sys",
    "measurement.host": "pages of /proc",
    "simulation.compiled": "rackrate's own source, for a digest",
}

WRITES = {
    "measure --out", "import --out", "price --save-rig", "calibrate --out", "calibrate --report", "simulate --out",
    "serve --log", "tune --report",
}  # fmt: skip
"""Options that name what is written, whole; so does every `-o`."""
OPTIONS = {
    "measure --trace": "trace", "measure --resume": "run header",
    "trace file": "trace",
    "import files": "results",
    "show run": "run header",
    "side-by-side runs": "run header", "side-by-side --own": "rig",
    "price run": "run header", "price --own": "rig",
    "compare run": "run header", "compare --own": "rig",
    "study file": "study",
    "fleet run": "run header", "fleet --models": "fleet's models", "fleet --own": "rig", "fleet --contract": "rig",
    "report run": "run header", "report --own": "rig",
    "calibrate --data": "published rows", "calibrate --other": "published rows",
    "verify run": "run header", "verify --calibration": "calibration",
    "validate files": "published rows", "validate --other": "published rows", "validate --coefficients": "coefficients",
    "simulate --calibration": "calibration", "simulate --trace": "trace",
    "plan --trace": "trace", "plan --calibration": "calibration",
    "tune --own": "rig", "tune --out": "search",
    "quality --run": "run header",
    "energy run": "power",
}  # fmt: skip
"""Options and arguments of the command line that name files or directories, and how those get in."""
