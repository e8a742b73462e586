"""What `rackrate serve --print` says on machines with GPUs: their drivers' programs are stood in for by scripts that
print what the real ones print (nvidia-smi on a T4; rocm-smi of ROCm 6)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

LLAMA_3_8B = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256,
    "max_position_embeddings": 8192, "torch_dtype": "bfloat16",
}  # fmt: skip
T4 = "Tesla T4, 15360, 15101"
MI300X = {
    "Card Series": "AMD Instinct MI300X", "Card Model": "0x74a1", "VRAM Total Memory (B)": "206141652992",
    "VRAM Total Used Memory (B)": "297971712", "GFX Version": "gfx942",
}  # fmt: skip


@pytest.fixture
def model(tmp_path: Path) -> Path:
    directory = tmp_path / "Llama-3-8B"
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(LLAMA_3_8B))
    return directory


def printing(directory: Path, name: str, text: str) -> str:
    """A PATH with a program that prints a text, and nothing else that lists GPUs."""
    programs = directory / f"programs-{name}"
    programs.mkdir()
    (programs / "text").write_text(text + "\n")
    (programs / name).write_text(f"#!/bin/sh\nwhile read -r line; do echo \"$line\"; done < '{programs}/text'\n")
    (programs / name).chmod(0o755)
    return str(programs)


def serve(environment: dict[str, str], path: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rackrate", "serve", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**environment, "PATH": path, "RACKRATE_VLLM_PYTHON": sys.executable},
    )


def printed(ran: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_four_t4s_serve_an_8b_in_fp16_over_as_few_as_hold_the_requests(
    tmp_path: Path, private_environment: dict[str, str], model: Path
) -> None:
    path = printing(tmp_path, "nvidia-smi", "\n".join([T4] * 4))
    facts = printed(serve(private_environment, path, str(model), "--print", "--json", "--requests", "8"))
    assert facts["engine"] == "vllm"
    assert facts["settings"]["dtype"] == "float16"  # a T4 has no bf16 units
    assert facts["settings"]["tensor_parallel"] == 2  # 16.1 GB do not fit one
    assert facts["argv"][facts["argv"].index("--tensor-parallel-size") + 1] == "2"
    assert "no bf16 units" in facts["why"]
    assert "t4 x 2: 7.5 GiB of weights each" in facts["why"]  # 16.06 GB, halved
    assert "the setting data_parallel=2 serves 2 replicas on all 4 GPUs" in facts["why"]
    more = printed(serve(private_environment, path, str(model), "--print", "--json", "--requests", "60"))
    assert more["settings"]["tensor_parallel"] == 4  # two cards hold the weights, not 60 caches
    said = printed(
        serve(
            private_environment,
            path,
            str(model),
            "--print",
            "--json",
            "--set",
            "tensor_parallel=4",
            "--set",
            "dtype=auto",
        )
    )
    assert (said["settings"]["tensor_parallel"], said["settings"]["dtype"]) == (4, "auto")  # the user's word stands


def test_sglang_is_told_the_same(tmp_path: Path, private_environment: dict[str, str], model: Path) -> None:
    path = printing(tmp_path, "nvidia-smi", "\n".join([T4] * 4))
    environment = {**private_environment, "RACKRATE_SGLANG_PYTHON": sys.executable}
    facts = printed(serve(environment, path, str(model), "--engine", "sglang", "--print", "--json", "--requests", "8"))
    assert facts["settings"]["dtype"] == "float16"
    assert facts["argv"][facts["argv"].index("--tensor-parallel-size") + 1] == "2"
    assert "--device" not in facts["argv"]


def test_tuning_begins_with_the_layouts_that_hold_the_model(
    tmp_path: Path, private_environment: dict[str, str], model: Path
) -> None:
    """An engine that cannot start ends it, after what was predicted was said."""
    path = printing(tmp_path, "nvidia-smi", "\n".join([T4] * 4))
    ran = subprocess.run(
        [sys.executable, "-m", "rackrate", "tune", str(model), "--engine", "vllm", "--minutes", "1"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
        env={**private_environment, "PATH": path, "RACKRATE_VLLM_PYTHON": sys.executable},
    )  # fmt: skip
    assert ran.returncode == 2, ran.stderr
    assert "predicted output tok/s of GPUs that share each layer x replicas: " in ran.stderr
    layouts = ran.stderr.split("x replicas: ")[1].splitlines()[0]
    assert {part.split()[0] for part in layouts.split(", ")} == {"2x2", "4x1"}  # one T4 does not hold it
    assert "the defaults cannot be measured" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_one_t4_is_refused_with_what_would_fit(
    tmp_path: Path, private_environment: dict[str, str], model: Path
) -> None:
    ran = serve(private_environment, printing(tmp_path, "nvidia-smi", T4), str(model), "--print")
    assert ran.returncode == 2
    assert "does not fit the 1 x t4 here" in ran.stderr
    assert "It would fit with" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_an_amd_gpu_is_seen_and_served_as_published(
    tmp_path: Path, private_environment: dict[str, str], model: Path
) -> None:
    path = printing(tmp_path, "rocm-smi", json.dumps({"card0": MI300X, "system": {"Driver version": "6.7.0"}}))
    facts = printed(serve(private_environment, path, str(model), "--print", "--json"))
    assert facts["settings"]["dtype"] == "auto"
    assert facts["settings"].get("tensor_parallel") is None
    assert "mi300x" in facts["why"]
    doctor = subprocess.run(
        [sys.executable, "-m", "rackrate", "doctor"],
        capture_output=True, text=True, check=False, env={**private_environment, "PATH": path},
    )  # fmt: skip
    assert "AMD Instinct MI300X" in doctor.stdout


def test_a_driver_that_does_not_answer_is_no_gpu(
    tmp_path: Path, private_environment: dict[str, str], model: Path
) -> None:
    path = printing(tmp_path, "nvidia-smi", "NVIDIA-SMI has failed because it couldn't communicate with the driver.")
    facts = printed(serve(private_environment, path, str(model), "--print", "--json"))
    assert facts["settings"]["dtype"] == "bfloat16"  # as on a CPU
    assert facts["environment"]["VLLM_CPU_OMP_THREADS_BIND"]
