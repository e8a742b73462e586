"""Published measurements in one CSV format: rows are read, understood, and made cases that can be predicted.

Columns: source, date, model, params, gpu, n_gpus, tp, engine, engine_version, weight_dtype, isl, osl,
concurrency_or_rate, output_tok_s, total_tok_s, ttft_ms, itl_ms, notes. A row that cannot be predicted keeps the reason.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from rackrate.catalog.types import Accelerator
from rackrate.engines.releases import assumed_release, release_of, scheduler_of
from rackrate.errors import UserError
from rackrate.files import reason
from rackrate.files.bounded import open_text_lines
from rackrate.models.architecture import Architecture, of_catalogue_model
from rackrate.models.formats import format_in_results, native_step_name
from rackrate.steptime.load import Observed
from rackrate.steptime.work import Parallel, formats_on, linear_work
from rackrate.units import GIB
from rackrate.validation.cases import Case
from rackrate.validation.names import CannotPredictError, PublishedNames, number_of
from rackrate.validation.row_load import load_of_row

COLUMNS = (
    "source", "date", "model", "params", "gpu", "n_gpus", "tp", "engine", "engine_version", "weight_dtype", "isl",
    "osl", "concurrency_or_rate", "output_tok_s", "total_tok_s", "ttft_ms", "itl_ms", "notes",
)  # fmt: skip

MAX_ROWS = 2_000_000


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a file. Raises UserError where it is not of the format."""
    try:
        with open_text_lines(path) as file:
            reader = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise UserError(
                    f"{path}: not the format of published rows: the column{'s' if len(missing) > 1 else ''} "
                    f"{', '.join(missing)} {'are' if len(missing) > 1 else 'is'} missing (docs/predict.md lists them)"
                )
            rows: list[dict[str, str]] = []
            for row in reader:
                rows.append({name: (row.get(name) or "") for name in COLUMNS})
                if len(rows) > MAX_ROWS:
                    raise UserError(f"{path}: more than {MAX_ROWS:,} rows; split the file")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read ({reason(error)})") from None
    if not rows:
        raise UserError(f"{path}: has no rows under its header")
    return rows


def _author(row: Mapping[str, str]) -> str:
    text = re.sub(r"@[0-9a-f]{6,}", "", row["source"])
    return " ".join(re.split(r"\s+(?:results|summary|systems|docs|Plots|v\d)", text)[0].split())[:60]


def _layout(
    row: Mapping[str, str], model: Architecture, accelerator: Accelerator, weights: str, layers_split: bool
) -> Parallel:
    """How the row's accelerators share the work. `layers_split`: each has its layers, one after the other."""
    count = int(number_of(row["n_gpus"]) or 1) * (2 if "dual" in row["gpu"].lower() else 1)
    notes = row["notes"]
    # attention replicated and experts spread, as notes or the column of tensor parallelism say it
    dp = re.search(r"\bdp=(\d+)", notes) or re.search(r"\bDP ?(\d+)", row["tp"])
    data = max(int(dp[1]), 1) if dp else 1
    ep = re.search(r"moe_ep=(\d+)", notes) or re.search(r"\bEP ?(\d+)", row["tp"])
    pp = re.search(r"\bPP ?=?(\d+)", f"{notes} {row['tp']}", re.IGNORECASE)
    pipeline = max(int(pp[1]), 1) if pp else 1
    replicas = re.search(r"(\d+) replicas", row["tp"])
    stated = re.match(r"\s*(\d+)", row["tp"])
    expert = max(int(ep[1]), 1) if ep else 1
    if layers_split and count > 1 and not replicas:
        return Parallel(1, count)
    if stated is None:
        tensor = _smallest_tensor(count, model, accelerator, weights)
    else:
        tensor = max(int(stated[1]), 1)
        if replicas:
            return Parallel(tensor, 1, max(int(replicas[1]), 1), expert)
    mixed = re.search(r"moe_tp=(\d+)", notes)
    if mixed and expert > 1 and int(mixed[1]) == expert and count == expert * expert:
        # this author's table multiplies moe_tp and moe_ep, which name the same ranks
        count = expert
        tensor, data = (min(tensor, expert), 1) if data == 1 else (1, expert)
    elif mixed and data > 1 and tensor == data and expert == count == data * data:
        count = expert = data  # and so it does replicas of attention and ranks of experts, of vLLM
        tensor = 1
    if tensor * pipeline * data > max(count, 1):
        tensor = max(count // (pipeline * data), 1)
    if dp is None and tensor * pipeline < count:
        data = count // (tensor * pipeline)
    return Parallel(tensor, pipeline, data, expert)


def _smallest_tensor(count: int, model: Architecture, accelerator: Accelerator, weights: str) -> int:
    size = model.parameters.total * formats_on(accelerator, weights).weight_bits / 8
    memory = (accelerator.memory_gib or 0) * 2**30
    tensor = 1
    while tensor < count and tensor < 8 and size / tensor > 0.6 * memory:
        tensor *= 2
    return tensor


def understand(row: Mapping[str, str], names: PublishedNames, file: str, line: int) -> Case:
    """The case of a row. Raises CannotPredictError with the reason."""
    accelerator = names.accelerator(row["gpu"])
    listed, assumed = names.model(row["model"], row["params"])
    model = of_catalogue_model(listed, rounded=True)
    year = re.search(r"20\d\d", row["date"])
    stated_year = int(year[0]) if year else None
    release = release_of(row["engine"], row["engine_version"], stated_year, cpu=accelerator.kind == "cpu")
    flags: set[str] = {"assumed-model"} if assumed else set()
    if release is None:
        # another engine, or none stated: the arithmetic is the same, the host's time that of vLLM at that date
        release = assumed_release(stated_year)
        flags.add("assumed-engine")
    weights = format_in_results(row["weight_dtype"])
    named = format_in_results(row["model"])
    if weights in {None, "bf16"} and named is not None:
        weights = named  # the column then states what is computed with, the name what is stored
    if weights is None:
        weights = native_step_name(model.native_weights)
        flags.add("assumed-format")
    if (weights, listed.weight_format) in {("w4a16", "int4"), ("fp4", "fp4")}:
        weights = native_step_name(model.native_weights)  # the model's own checkpoint
    parallel = _layout(row, model, accelerator, weights, release.layers_in_turn)
    formats = formats_on(accelerator, weights)
    work = linear_work(model, formats)
    share = work.weight_bytes / parallel.ranks + work.expert_bytes / max(parallel.ranks, parallel.expert)
    if share > (accelerator.memory_gib or math.inf) * GIB:
        raise CannotPredictError("the weights do not fit the accelerators that the row states")
    load, more = load_of_row(row, parallel.data)
    notes = row["notes"]
    for mark in ("SUSPECT", "LOW TRUST", "do not use"):
        if mark in notes:
            raise CannotPredictError("marked suspect or of low trust by who collected it")
    said = notes.lower()
    if re.search(r"speculative|eagle ?-?\d|\bmtp\b(?! off)|draft model", said) and "no speculative" not in said:
        raise CannotPredictError("speculative decoding: how many tokens a step makes is not stated")
    if re.search(r"enforce[- _]eager|no cuda graphs", said):
        release = replace(release, captured=False)
    throttle = re.search(r"throttle_ratio=([\d.]+)", notes)
    if throttle and float(throttle[1]) < 0.9:
        flags.add("throttled")
    output = number_of(row["output_tok_s"])
    elapsed = re.search(r"elapsed_s=([\d.]+)", notes)
    if output is None and elapsed and load.kind == "poisson":
        output = load.requests * load.output_tokens / float(elapsed[1])
    tpot, ttft = number_of(row["itl_ms"]), number_of(row["ttft_ms"])
    tpot_s = tpot / 1000 if tpot else None
    ttft_s = ttft / 1000 if ttft else None
    if "itl = latency/osl" in notes or "1/avg per-request" in notes:
        tpot_s = None
    if "ttft derived" in notes:
        ttft_s = None
    if "aiconfigurator" in row["source"]:
        flags.add("queued-ttft")
    if "prefix caching on" in notes.lower() or "multi-turn" in notes.lower():
        flags.add("prefix-cache")
        ttft_s = None  # the share of prompts that was cached is not stated
    if "assumed-prompt" in more:
        ttft_s = None  # no prompt length, no time to read it
    observed = Observed(output, tpot_s, ttft_s)
    if observed == Observed():
        raise CannotPredictError("no throughput, TTFT or time per token published")
    scheduler = scheduler_of(release, accelerator, load.prompt_tokens)
    kv = (
        "fp8"
        if ("kv fp8" in notes and weights in {"fp8", "fp4", "mxfp4"})
        or (release.narrow_kv and weights in {"fp8", "fp4", "mxfp4"})
        else None
    )
    return Case(
        file, line, _author(row), accelerator.id, model, accelerator, release, scheduler, weights, kv, parallel, load,
        observed, frozenset(flags | more),
    )  # fmt: skip


@dataclass(frozen=True)
class Published:
    """A file, understood: cases, and the rows left out with their reason."""

    path: Path
    rows: int
    cases: tuple[Case, ...]
    left_out: tuple[tuple[int, str], ...]


def read_published(path: Path, names: PublishedNames) -> Published:
    """The cases of a file. Raises UserError where it is not of the format."""
    rows = read_rows(path)
    cases: list[Case] = []
    left_out: list[tuple[int, str]] = []
    for line, row in enumerate(rows, start=2):
        try:
            cases.append(understand(row, names, path.stem, line))
        except (CannotPredictError, UserError) as reason:
            left_out.append((line, str(reason)))
    return Published(path, len(rows), tuple(cases), tuple(left_out))
