"""A row of the published format, as a blog of 2024 would state it."""

from __future__ import annotations

from rackrate.validation.published import COLUMNS

ROW: dict[str, str] = dict.fromkeys(COLUMNS, "") | {
    "source": "a blog", "date": "2024-06",
    "model": "meta-llama/Meta-Llama-3-8B-Instruct", "params": "8.03B", "gpu": "Tesla T4",
    "n_gpus": "4", "tp": "4", "engine": "vllm", "engine_version": "0.4.3", "weight_dtype": "float16", "isl": "128",
    "osl": "256", "concurrency_or_rate": "conc=1", "output_tok_s": "60.6", "itl_ms": "16.5",
}  # fmt: skip
