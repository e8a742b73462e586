"""Published measurements in one CSV format: rows are read, understood, and made cases that can be predicted.

Columns: source, date, model, params, gpu, n_gpus, tp, engine, engine_version, weight_dtype, isl, osl,
concurrency_or_rate, output_tok_s, total_tok_s, ttft_ms, itl_ms, notes. A row that cannot be predicted keeps the reason.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from rackrate.catalog.documents import parse_document, read_yaml
from rackrate.catalog.load import load_catalog
from rackrate.catalog.types import Accelerator, Model
from rackrate.errors import CatalogError, UserError
from rackrate.steptime.engine_releases import ENGINE_RELEASES, EngineRelease, Scheduler, release_of, scheduler_of
from rackrate.steptime.load import Load, LoadKind, Observed
from rackrate.steptime.replay import kv_capacity_tokens
from rackrate.steptime.work import NATIVE_FORMATS, Parallel, Work, formats_on, linear_work
from rackrate.units import GIB

COLUMNS = (
    "source", "date", "model", "params", "gpu", "n_gpus", "tp", "engine", "engine_version", "weight_dtype", "isl",
    "osl", "concurrency_or_rate", "output_tok_s", "total_tok_s", "ttft_ms", "itl_ms", "notes",
)  # fmt: skip

MAX_ROWS = 2_000_000
MOST_AT_ONCE, MOST_TOKENS = 100_000, 10_000_000
"""Beyond these a row is a slip of the pen: sequences or requests per second; requests, or tokens of one."""


class _Names(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    models: dict[str, str]
    added_models: list[Model]
    accelerators: dict[str, str]
    added_accelerators: list[Accelerator]


class _Models(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    models: list[Model]


class CannotPredictError(Exception):
    """Why a row is left out; counted, never raised to the user."""


@dataclass(frozen=True)
class Case:
    """One row, understood."""

    file: str
    line: int
    source: str
    """The author: the source up to its first space or slash of a result."""
    gpu: str
    """The accelerator's id."""
    model: Model
    accelerator: Accelerator
    release: EngineRelease
    scheduler: Scheduler
    weights: str
    kv: str | None
    parallel: Parallel
    load: Load
    observed: Observed
    flags: frozenset[str] = field(default_factory=frozenset[str])
    """Known faults: what must not be fitted on this row."""

    @property
    def cell(self) -> tuple[str, str, str]:
        """File, accelerator, engine."""
        return self.file, self.gpu, self.release.engine


def cache_tokens(case: Case, work: Work, engine_gib: float) -> float:
    """The cache of a published row. At least one request fits: the row says that it ran. [token]"""
    kv_capacity = kv_capacity_tokens(case.accelerator, case.parallel, case.scheduler, work, engine_gib)
    return max(kv_capacity, case.load.prompt_tokens + (case.load.output_cap or case.load.output_tokens) + 1)


@cache
def _names() -> _Names:
    with resources.as_file(resources.files("rackrate.validation") / "data" / "published_names.yaml") as file:
        return parse_document(read_yaml(file), _Names, file)


@cache
def _added_models() -> dict[str, Model]:
    """By every name."""
    with resources.as_file(resources.files("rackrate.validation") / "data" / "published_models.yaml") as file:
        more = parse_document(read_yaml(file), _Models, file).models
    return {alias: model for model in (*_names().added_models, *more) for alias in (model.id, *model.aliases)}


def _squeeze(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


@cache
def _accelerators() -> dict[str, Accelerator]:
    table: dict[str, Accelerator] = {}
    names = _names()
    for accelerator in (*load_catalog().accelerators.values(), *names.added_accelerators):
        for name in (accelerator.id, accelerator.name, *accelerator.aliases):
            table.setdefault(_squeeze(name), accelerator)
    for name, target in names.accelerators.items():
        if _squeeze(target) in table:
            table.setdefault(_squeeze(name), table[_squeeze(target)])
    return table


@cache
def find_accelerator(name: str) -> Accelerator:
    """The accelerator of a published spelling. Raises CannotPredictError."""
    if "unknown" in name.lower() or not name.strip():
        raise CannotPredictError("the accelerator is not stated")
    if name.count(" (x") >= 1:
        raise CannotPredictError("several accelerator types in one row")
    one_of = re.sub(r"(?i)^\s*\d+\s*x\s*|^hpu\s+|\s+mig .*$|-\d+q$|\s+x\s*\d+$|\s+oam$", "", name)
    tries = [name, one_of, re.sub(r"\(.*?\)", "", one_of)]
    tries += [
        re.sub(r"(?i)virtualized|-cts$|-nps1-spx|-\d+w$|geforce|(blackwell )?(server|workstation) edition", "", attempt)
        for attempt in tuple(tries)
    ]
    maker = re.compile(r"(?i)^\s*(nvidia|amd|intel|amd instinct|tesla|radeon pro)[\s-]+")
    tries += [maker.sub("", attempt) for attempt in tuple(tries)]
    tries += [re.sub(r"(?i)(\d)g$", r"\1gb", attempt) for attempt in tuple(tries)]
    tries += [re.sub(r"(?i)[ -]*\d+(\.\d+)?\s*gb.*$", "", attempt) for attempt in tuple(tries)]
    tries += [re.sub(r"(?i)^\s*(nvidia|amd|amd instinct|tesla|rtx)\s+", "", attempt) for attempt in tuple(tries)]
    tries += [f"rtx{attempt}" for attempt in tuple(tries)]
    table = _accelerators()
    for attempt in tries:
        if (found := table.get(_squeeze(attempt))) is not None:
            return found
    try:
        return load_catalog().accelerator(name)
    except CatalogError:
        raise CannotPredictError(f"no facts about the accelerator {name}") from None


_SUFFIXES = re.compile(
    r"[-.](gguf|i?q\d[\w-]*|fp8.*|w?\d?-?(nv|mx)?fp4.*|awq.*|gptq.*|exl2.*|int[48].*|w\da\d+.*|quantized.*|bnb.*|\d-?bit"
    r"|bf16|fp16|f16|float16|kv|hf|dynamic|instruct|chat|it|base|instruct-v[\d.]+)$"
)


def _spellings(name: str) -> list[str]:
    """The name, and what is left of it without its organisation, number format and kind of tuning, longest first."""
    last = re.sub(r"[\s:_]+", "-", name.lower().strip().rsplit("/", 1)[-1])
    found = [name.lower().strip(), name.lower().strip().rsplit("/", 1)[-1], last]
    while (shorter := _SUFFIXES.sub("", last)) != last:
        found.append(shorter)
        last = shorter
    return list(dict.fromkeys(found))


@cache
def _models() -> dict[str, Model]:
    """By every name, and by its letters and digits alone; what the catalogue lists comes first."""
    table: dict[str, Model] = {}
    listed: list[tuple[str, Model]] = []
    for model in load_catalog().models.values():
        hub = (model.hub_id.rsplit("/", 1)[-1],) if model.hub_id else ()
        listed += [(name, model) for name in (model.id, *model.aliases, *hub)]
    listed += list(_added_models().items())
    for name, entry in listed:
        table.setdefault(name.lower(), entry)
    for name, target in _names().models.items():
        if target in table:
            table.setdefault(name, table[target])
    for name, item in tuple(table.items()):
        for spelling in _spellings(name):
            table.setdefault(spelling, item)
    for name, item in tuple(table.items()):
        table.setdefault(_squeeze(name), item)
    return table


@cache
def find_model(name: str, params: str) -> tuple[Model, bool]:
    """The model of a published name, and whether its shape was only assumed from the parameter count."""
    table = _models()
    for spelling in _spellings(name):
        found = table.get(spelling) or table.get(_squeeze(spelling))
        if found is not None:
            return found, False
    return _assumed(name, params), True


_UNITS = {"M": 1e6, "B": 1e9, "T": 1e12}


def stated_sizes(params: str, name: str) -> list[float]:
    """Parameters, and active ones if there are, from the column, else as names state them. [parameter]

    >>> stated_sizes("1T(32B active)", ""), stated_sizes("", "someone/tuned-30b-a3b"), stated_sizes("494M", "")
    ([1000000000000.0, 32000000000.0], [30000000000.0, 3000000000.0], [494000000.0])
    """
    bare = _number(params)
    if bare is not None:
        return [bare if bare > 1e6 else bare * 1e9]
    found = re.findall(r"(\d+(?:\.\d+)?)\s*([MBT])(?![A-Z])", params.upper())
    if not found:
        found = re.findall(r"(?<![A-Z0-9.])A?(\d+(?:\.\d+)?)([MBT])(?![A-Z0-9])", name.upper())
    sizes = [float(number) * _UNITS[unit] for number, unit in found if float(number) > 0]
    return sizes[:2] if len(sizes) > 1 and sizes[1] < sizes[0] else sizes[:1]


def _assumed(name: str, params: str) -> Model:
    """A model of the nearest known shape, scaled to the stated parameters."""
    sizes = stated_sizes(params, name)
    if not sizes:
        raise CannotPredictError(f"no facts about the model {name}, and no parameter count")
    total = sizes[0]
    active = sizes[1] if len(sizes) > 1 else None
    routed = active is not None or re.search(r"\bmoe\b|experts", params.lower()) is not None

    def distance(model: Model) -> float:
        apart = abs(math.log(model.parameters / total))
        if active is not None and model.active_parameters is not None:
            apart += abs(math.log(model.active_parameters / active))
        return apart

    pool = [
        model
        for model in load_catalog().models.values()
        if (model.active_parameters is not None) == routed and model.attention in {"gqa", "mha", "mla"}
    ]
    nearest = min(pool, key=distance)
    changes: dict[str, Any] = {"parameters": int(total), "id": f"like-{nearest.id}"}
    if active is not None:
        changes["active_parameters"] = int(active)
    return nearest.model_copy(update=changes)


def _number(text: str) -> float | None:
    try:
        value = float(text.replace(",", "").strip())
    except ValueError:
        return None
    return value if value > 0 and value < 1e15 else None


# Weight formats as authors spell them.
_FORMATS: tuple[tuple[str, str], ...] = (
    (r"q2_k|iq2", "q2_k"),
    (r"q3_k|iq3", "q3_k"),
    (r"q4_k|iq4|q4_1", "q4_k"),
    (r"q4_0", "q4_0"),
    (r"q5", "q5_k"),
    (r"q6", "q6_k"),
    (r"q8", "q8_0"),
    (r"nvfp4|mxfp4|fp4|w4a4", "fp4"),
    (r"w4a16|awq|gptq|int4|uint4|4-?bit|q4|marlin|exl2|[34]\.\d*bpw|exllama|compressed-tensors int4", "w4a16"),
    (r"w8a16", "w8a16"),
    (r"w8a8|int8|smooth", "w8a8"),
    (r"fp8|w8fp8|e4m3", "fp8"),
    (r"8-?bit", "w8a16"),
    (r"fp32|float32", "fp32"),
    (r"fp16|bf16|bfloat16|float16|half", "bf16"),
)


def weight_format(text: str) -> str | None:
    """Our name of a published weight format; None where nothing is stated.

    >>> weight_format("fp16/bf16 (native; see repo)"), weight_format("awq-int4 (marlin)"), weight_format("")
    ('bf16', 'w4a16', None)
    """
    lowered = text.lower()
    return next((name for pattern, name in _FORMATS if re.search(pattern, lowered)), None)


# Mean prompt tokens of data sets that rows name but do not count. AccelMark: sibling rows on the same prompts. MLPerf:
# from MLCommons' posts on 405B (9,428) and 8B (778); the others are guesses, so that none of these rows is fitted.
_PROMPTS: tuple[tuple[str, str, float], ...] = (
    ("notes", "sharegpt_standard", 257),
    ("notes", "sharegpt_edge", 104),
    ("notes", "sharegpt_longctx", 28640),
    ("variant", "llama2-70b", 160),
    ("variant", "llama3.1-405b", 9430),
    ("variant", "llama3.1-8b", 780),
    ("variant", "mixtral-8x7b", 300),
    ("variant", "deepseek-r1", 800),
)
_OUTPUTS: tuple[tuple[str, float], ...] = (("max_new=512", 352), ("max_new=256", 212))
# Prompt lengths of conversations: mean 236, standard deviation 145 in the prompts that AccelMark publishes.
_SPREAD_CV = 0.61


def _load(row: Mapping[str, str], replicas: int) -> tuple[Load, frozenset[str]]:
    text, notes = row["concurrency_or_rate"].lower(), row["notes"]
    prompt = 1.0 if row["isl"].strip() == "0" else _number(row["isl"])  # an empty prompt still has its first token
    output = _number(row["osl"])
    flags: set[str] = set()
    if prompt is None:
        where = notes.lower()
        prompt, assumed = next(
            ((mean, kind == "variant") for kind, word, mean in _PROMPTS if word in where), (None, False)
        )
        if assumed:
            flags.add("assumed-prompt")
    if output is None:
        output = next((mean for word, mean in _OUTPUTS if word in notes), None)
    if prompt is None or output is None:
        raise CannotPredictError("prompt or output length not stated")
    cap = None
    named = re.search(r"max_new=(\d+)", notes)
    spread = "dataset" in notes or "mlperf" in row["source"].lower() or "mlcommons" in row["source"].lower()
    spread = spread or "sharegpt" in notes.lower()
    if named is not None:
        cap = float(named[1])
    elif spread:
        cap = 128.0 if output <= 130 else 4 * output
    cv = _SPREAD_CV if spread and "longctx" not in notes else 0.0
    stated = re.search(r"n_req=(\d+)", notes) or re.search(r"(\d+) req", text)
    count = int(stated[1]) if stated else None

    def load(kind: LoadKind, value: float, requests: int, whole: bool = True) -> Load:
        if (kind != "burst" and not 0 < value <= MOST_AT_ONCE) or max(requests, prompt, output) > MOST_TOKENS:
            raise CannotPredictError("load, prompt or output out of all proportion")
        return Load(kind, value, max(requests, 1), prompt, output, cap, cv, whole)

    numbers = [float(item) for item in re.findall(r"\d+(?:\.\d+)?", text)]
    if "target_qps" in text and numbers:
        if "offline" in text:
            return load("burst", 0, 24576 // replicas if prompt < 2000 else 8192 // replicas), frozenset(flags)
        if "singlestream" in text:
            return load("closed", 1, 16, whole=False), frozenset(flags)
        rate = numbers[-1] / replicas
        # runs last ten minutes at least (MLPerf rules, min_duration): shorter ones would end before they are full
        return load("poisson", rate, int(min(max(rate * 600, 300), 12000))), frozenset(flags)
    if "burst test" in text:
        # the steady seconds of a test that had a burst before: the queue it left is not stated
        if "steady" in text:
            flags.add("burst")
        return load("poisson", numbers[0] / replicas, count or 300), frozenset(flags)
    if re.search(r"burst \d+", text) and numbers:
        return load("poisson", numbers[0] / replicas, max(int(numbers[0] * numbers[1] / replicas), 1)), frozenset(flags)
    if ("qps" in text or "rps" in text or "rate=" in text or "req/s" in text) and numbers:
        rate = numbers[0] / replicas
        return load("poisson", rate, (count or 300) // replicas), frozenset(flags)
    if "infinite" in text or "max load" in text or "inf" in text.split():
        if count is None:
            long = prompt + output
            count = 3000 if long <= 2600 else 1500 if long <= 6000 else 1000
        return load("burst", 0, count // replicas), frozenset(flags)
    if "offline" in text and numbers:
        return load("burst", 0, int(numbers[0]) // replicas), frozenset(flags)
    if not numbers:
        raise CannotPredictError("load not understood")
    if "sequential" in text:
        return load("closed", 1, 24, whole=False), frozenset(flags)
    if "batch" in text or "bs=" in text:
        size = int(numbers[0])
        return load("static", size, max(size // replicas, 1)), frozenset(flags)
    if "conc" in text or "users" in text or "streams" in text or "closed" in text or "parallel" in text:
        streams = max(numbers[0] / replicas, 1)
        requests = int(min(max(4 * streams, 24), max(2.0 * streams, 1500)))
        # clients that draw lengths at random do not move in lockstep; those that repeat one length do
        drawn = "llmperf" in notes.lower()
        return replace(load("closed", streams, requests, whole=False), staggered=drawn), frozenset(flags)
    raise CannotPredictError("load not understood")


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a file. Raises UserError where it is not of the format."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
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
        raise UserError(f"{path}: cannot be read ({error})") from None
    if not rows:
        raise UserError(f"{path}: has no rows under its header")
    return rows


def _author(row: Mapping[str, str]) -> str:
    text = re.sub(r"@[0-9a-f]{6,}", "", row["source"])
    return " ".join(re.split(r"\s+(?:results|summary|systems|docs|Plots|v\d)", text)[0].split())[:60]


def _layout(
    row: Mapping[str, str], model: Model, accelerator: Accelerator, weights: str, layers_split: bool
) -> Parallel:
    """How the row's accelerators share the work. `layers_split`: each has its layers, one after the other."""
    count = int(_number(row["n_gpus"]) or 1) * (2 if "dual" in row["gpu"].lower() else 1)
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


def _smallest_tensor(count: int, model: Model, accelerator: Accelerator, weights: str) -> int:
    size = model.parameters * formats_on(accelerator, weights).weight_bits / 8
    memory = (accelerator.memory_gib or 0) * 2**30
    tensor = 1
    while tensor < count and tensor < 8 and size / tensor > 0.6 * memory:
        tensor *= 2
    return tensor


def understand(row: Mapping[str, str], file: str, line: int) -> Case:
    """The case of a row. Raises CannotPredictError with the reason."""
    accelerator = find_accelerator(row["gpu"])
    model, assumed = find_model(row["model"], row["params"])
    year = re.search(r"20\d\d", row["date"])
    release = release_of(
        row["engine"], row["engine_version"], int(year[0]) if year else None, cpu=accelerator.kind == "cpu"
    )
    flags: set[str] = {"assumed-model"} if assumed else set()
    if release is None:
        # another engine, or none stated: the arithmetic is the same, the host's time that of vLLM at that date
        release = (
            ENGINE_RELEASES["vllm-0.4"] if year is not None and int(year[0]) < 2025 else ENGINE_RELEASES["vllm-0.8"]
        )
        flags.add("assumed-engine")
    weights = weight_format(row["weight_dtype"])
    named = weight_format(row["model"])
    if weights in {None, "bf16"} and named is not None:
        weights = named  # the column then states what is computed with, the name what is stored
    if weights is None:
        weights = NATIVE_FORMATS.get(model.weight_format, "bf16")
        flags.add("assumed-format")
    if (weights, model.weight_format) in {("w4a16", "int4"), ("fp4", "fp4")}:
        weights = NATIVE_FORMATS[model.weight_format]  # the model's own checkpoint
    parallel = _layout(row, model, accelerator, weights, release.engine in {"llama.cpp", "transformers"})
    formats = formats_on(accelerator, weights)
    work = linear_work(model, formats)
    share = work.weight_bytes / parallel.ranks + work.expert_bytes / max(parallel.ranks, parallel.expert)
    if share > (accelerator.memory_gib or math.inf) * GIB:
        raise CannotPredictError("the weights do not fit the accelerators that the row states")
    load, more = _load(row, parallel.data)
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
    output = _number(row["output_tok_s"])
    elapsed = re.search(r"elapsed_s=([\d.]+)", notes)
    if output is None and elapsed and load.kind == "poisson":
        output = load.requests * load.output_tokens / float(elapsed[1])
    tpot, ttft = _number(row["itl_ms"]), _number(row["ttft_ms"])
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
        or (release.engine == "tensorrt-llm" and weights in {"fp8", "fp4", "mxfp4"})
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


def read_published(path: Path) -> Published:
    """The cases of a file. Raises UserError where it is not of the format."""
    rows = read_rows(path)
    cases: list[Case] = []
    left_out: list[tuple[int, str]] = []
    for line, row in enumerate(rows, start=2):
        try:
            cases.append(understand(row, path.stem, line))
        except (CannotPredictError, UserError) as reason:
            left_out.append((line, str(reason)))
    return Published(path, len(rows), tuple(cases), tuple(left_out))
