"""Makes the fixtures of tests/importers from real outputs of other load generators.

`python tools/trim_imports.py FROM TO`: what no reader reads and what names the machine is taken out, all figures stay.
FROM has, for each fixture, what the tool wrote and `NAME.truth.jsonl`, the log of benchmarks/scripted.py.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

Json = dict[str, Any]
_PATH = re.compile(r"/(?:tmp|root|home|usr|opt|var)/[^\s'\",;]*")
_KEPT_METRICS = {
    "request_totals", "requests_per_second", "request_concurrency", "request_latency", "prompt_token_count",
    "output_token_count", "time_to_first_token_ms", "time_per_output_token_ms", "inter_token_latency_ms",
    "output_tokens_per_second",
}  # fmt: skip
_KEPT_AIPERF = re.compile(
    r"request_|time_to|inter_|output_|input_|usage_|total_|benchmark_|effective_concurrency|schema|aiperf_|error|.*time$"
)


def scrubbed(value: Any) -> Any:
    """Without paths, and with long texts cut."""
    if isinstance(value, dict):
        return {key: scrubbed(item) for key, item in cast("Json", value).items()}
    if isinstance(value, list):
        return [scrubbed(item) for item in cast("list[Any]", value)]
    if isinstance(value, str):
        return _PATH.sub(lambda found: Path(found.group()).name, value)
    return value


def vllm(values: Json) -> Json:
    """vllm bench serve."""
    if "generated_texts" in values:
        values["generated_texts"] = [str(text)[:16] for text in values["generated_texts"]]
    return values


def guidellm(values: Json) -> Json:
    """guidellm, all layouts."""
    for benchmark in values["benchmarks"]:
        metrics = benchmark["metrics"]
        benchmark["metrics"] = {
            name: {kind: item for kind, item in cast("Json", of).items() if kind in {"successful", "total"}}
            if "mean" in cast("Json", of.get("successful") if isinstance(of.get("successful"), dict) else {})
            else of
            for name, of in metrics.items()
            if name in _KEPT_METRICS
        }
        for name in ("scheduler_state", "request_loader", "warnings", "extras"):
            benchmark.pop(name, None)
        for name in ("environment", "profile", "requests", "constraints", "warnings"):
            benchmark.get("config", {}).pop(name, None)
        for requests in benchmark["requests"].values():
            for request in requests or ():
                request.pop("request_args", None)
                parts: list[dict[str, Any]] = [request]
                parts += [request[name] for name in ("input_metrics", "output_metrics") if request.get(name)]
                for part in parts:
                    for key in [key for key, item in part.items() if item is None]:
                        del part[key]
                for name in ("prompt", "output"):
                    if request.get(name):
                        request[name] = request[name][:16]
    return values


def aiperf_line(values: Json) -> Json:
    """A request of aiperf."""
    values["metrics"] = {name: of for name, of in values["metrics"].items() if _KEPT_AIPERF.match(name)}
    return values


def aiperf(values: Json) -> Json:
    """aiperf's sums."""
    return {name: of for name, of in values.items() if _KEPT_AIPERF.match(name) or name == "input_config"}


def genai_perf(values: Json) -> Json:
    """genai-perf, both files."""
    for experiment in values.get("experiments", ()):
        for request in experiment["requests"]:
            payload = json.loads(request["request_inputs"]["payload"])
            payload["messages"][0]["content"] = payload["messages"][0]["content"][:16]
            request["request_inputs"] = {"payload": json.dumps(payload)}
    return values


def sglang(values: Json) -> Json:
    """SGLang's bench."""
    if "generated_texts" in values:
        values["generated_texts"] = [str(text)[:16] for text in values["generated_texts"]]
    return values


def inference_perf(values: Json) -> Json:
    """inference-perf: its requests, of which there is a list, or the sums of a stage."""
    if "info" in values:
        del values["request"], values["response"]
        values["info"]["response_metrics"].pop("response_chunks", None)
        values.pop("computed_metrics", None)
    return values


FILES: dict[str, tuple[str, Callable[[Json], Json]]] = {
    "vllm-detailed.json": ("vllm-detailed.json", vllm),
    "vllm-summary.json": ("vllm-summary.json", vllm),
    "vllm-one.json": ("vllm-one.json", vllm),
    "guidellm.json": ("guidellm.json", guidellm),
    "guidellm-poisson.json": ("guidellm-poisson.json", guidellm),
    "guidellm-0.3.json": ("guidellm-0.3.json", guidellm),
    "aiperf/profile_export.jsonl": ("aiperf/profile_export.jsonl", aiperf_line),
    "aiperf/profile_export_aiperf.json": ("aiperf/profile_export_aiperf.json", aiperf),
    "aiperf-poisson/profile_export.jsonl": ("aiperf-poisson/profile_export.jsonl", aiperf_line),
    "aiperf-poisson/profile_export_aiperf.json": ("aiperf-poisson/profile_export_aiperf.json", aiperf),
    "genai/profile_export.json": ("genai/*/profile_export.json", genai_perf),
    "genai/profile_export_genai_perf.json": ("genai/*/profile_export_genai_perf.json", genai_perf),
    "sglang.jsonl": ("sglang.jsonl", sglang),
    "sglang-detailed.jsonl": ("sglang-detailed.jsonl", sglang),
    **{
        f"{name}/{file}_lifecycle_metrics.json": (f"{name}/{file}_lifecycle_metrics.json", inference_perf)
        for name in ("inference-perf", "inference-perf-2")
        for file in ("per_request", "stage_0", "stage_1", "summary")
    },
    "genai-usage/profile_export.json": ("genai-usage/*/profile_export.json", genai_perf),
}


def main() -> None:
    """Trims what is there."""
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    for name, (pattern, trim) in FILES.items():
        found = next(source.glob(pattern), None)
        if found is None:
            sys.stderr.write(f"not there: {pattern}\n")
            continue
        lines = found.read_text().splitlines() if name.endswith(".jsonl") else [found.read_text()]
        values = [json.loads(line) for line in lines]
        trimmed = [
            [trim(entry) for entry in cast("list[Json]", item)] if isinstance(item, list) else trim(item)
            for item in values
        ]
        texts = [json.dumps(scrubbed(item), separators=(",", ":")) for item in trimmed]
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_text("\n".join(texts) + "\n")
    for config in source.glob("inference-perf*/config.yaml"):
        (target / config.parent.name / config.name).write_text(scrubbed(config.read_text()))
    for truth in source.glob("*.truth.jsonl"):
        (target / truth.name).write_text(truth.read_text())


if __name__ == "__main__":
    main()
