"""What an engine gets to know: of the user's environment what it needs, of an API key nothing that `ps` shows."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from rackrate.app.context import Collected, Context, Provenance
from rackrate.app.serving import ServeRequest, prepare
from rackrate.catalog.load import load_catalog
from rackrate.engines import llamacpp, vllm
from rackrate.engines.environment import inherited
from rackrate.engines.known import names_that_take_keys
from rackrate.engines.process import KEY_VARIABLE, EngineCommand, RunningEngine, free_port
from rackrate.engines.settings import LaunchOptions
from rackrate.engines.weights import Weights
from rackrate.errors import EndpointError, EngineError
from rackrate.report.render import render

SECRETS = (
    "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GITHUB_TOKEN", "PGPASSWORD",
    "RACKRATE_API_KEY", "RACKRATE_ENGINE_KEY", "VLLM_API_KEY", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "WANDB_API_KEY",
    "KUBECONFIG", "SSH_AUTH_SOCK", "DATABASE_URL", "https_proxy", "HTTPS_PROXY", "CUDA_AUTH_TOKEN", "HF_API_KEYS",
    "RAY_REDIS_PASSWORD", "GOOGLE_APPLICATION_CREDENTIALS",
)  # fmt: skip
NEEDED = (
    "PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "NCCL_DEBUG", "HF_HOME",
    "HF_HUB_OFFLINE", "OMP_NUM_THREADS", "GOMP_SPINCOUNT", "VLLM_ATTENTION_BACKEND", "TOKENIZERS_PARALLELISM",
    "PYTORCH_CUDA_ALLOC_CONF", "XDG_CACHE_HOME", "ROCR_VISIBLE_DEVICES", "TRITON_CACHE_DIR", "RAY_ADDRESS",
)  # fmt: skip


def _installed(name: str) -> bool:
    return bool(name)


def test_no_secret_is_inherited_and_nothing_needed_is_missing() -> None:
    shell: dict[str, str] = dict.fromkeys((*SECRETS, *NEEDED, "MY_OWN"), "x")
    assert set(inherited(shell)) == set(NEEDED)
    assert set(inherited(shell, fetches=True)) == {
        *NEEDED, "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "https_proxy", "HTTPS_PROXY",
    }  # fmt: skip


def test_an_engine_runs_without_the_secrets_of_the_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*SECRETS, "MY_OWN"):
        monkeypatch.setenv(name, "top-secret")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    said = tmp_path / "environment.json"
    program = f"import json, os; json.dump(dict(os.environ), open({str(said)!r}, 'w'))"
    for children in (False, True):
        command = EngineCommand(
            name="fake", version=None, argv=[sys.executable, "-c", program], environment={"SHOWN": "1"},
            host="127.0.0.1", port=free_port(), ready_path="/", served_name="m", settings={}, has_children=children,
            secrets={KEY_VARIABLE: "the-key"},
        )  # fmt: skip
        with RunningEngine(command, tmp_path / "log") as engine, pytest.raises(EngineError):
            engine.wait_until_ready()
        found = json.loads(said.read_text(encoding="utf-8"))
        assert "top-secret" not in found.values()
        assert (found["SHOWN"], found[KEY_VARIABLE], found["OMP_NUM_THREADS"]) == ("1", "the-key", "3")
        assert "the-key" not in f"{command.shell} {command!r} {command.watched_argv}"


def test_an_engine_is_told_its_key_by_its_environment_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wanted = LaunchOptions(slots=1, context_tokens=64, key="top-secret")
    assert "top-secret" not in repr(wanted)
    monkeypatch.setattr(llamacpp, "is_installed", _installed)
    monkeypatch.setenv("RACKRATE_VLLM_PYTHON", sys.executable)
    weights = Weights(tmp_path / "m.gguf", None, "Q8_0", None)
    hub = replace(weights, hub_id="someone/model")
    found = {
        "llamacpp": llamacpp.command(weights, "m", wanted),
        "vllm": vllm.command(hub, "m", wanted),
    }
    assert dict(found["llamacpp"].secrets) == {KEY_VARIABLE: "top-secret"}
    assert dict(found["vllm"].secrets) == {"VLLM_API_KEY": "top-secret"}
    for command in found.values():
        assert "top-secret" not in f"{command.shell} {command!r} {dict(command.environment)}"
    assert (found["llamacpp"].fetches, found["vllm"].fetches) == (False, True)
    assert names_that_take_keys() == ["llamacpp", "vllm", "naive"]


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(
        load_catalog, Provenance("test", "0", "3"), tmp_path, notify=Collected(),
        secret={"MY_KEY": "top-secret", "SPACED": "a b"}.get,
    )  # fmt: skip


@pytest.fixture
def gguf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(llamacpp, "is_installed", _installed)
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF" + (3).to_bytes(4, "little") + (1).to_bytes(8, "little") + bytes(8))
    return str(path)


def notes(context: Context) -> str:
    listener = context.notify
    assert isinstance(listener, Collected)
    return "\n".join(listener.notes)


@pytest.mark.parametrize(
    ("host", "warned"),
    [("127.0.0.1", False), ("localhost", False), ("0.0.0.0", True), ("::", True), ("10.0.0.7", True)],
)
def test_a_model_that_others_can_use_is_warned_of(context: Context, gguf: str, host: str, warned: bool) -> None:
    prepare(ServeRequest(gguf, engine="llamacpp", host=host, requests=1, context_tokens=64), context)
    assert ("anyone who reaches" in notes(context)) is warned


def test_a_key_is_asked_for_and_shown_nowhere(context: Context, gguf: str) -> None:
    request = ServeRequest(gguf, engine="llamacpp", host="0.0.0.0", requests=1, api_key_env="MY_KEY")
    launchable = prepare(request, context)
    assert dict(launchable.command.secrets) == {KEY_VARIABLE: "top-secret"}
    assert "top-secret" not in render(launchable, "json") + launchable.command.shell + notes(context) + repr(launchable)
    assert "anyone who reaches" not in notes(context)


@pytest.mark.parametrize(("name", "said"), [("NO_KEY", "which is not set"), ("SPACED", "characters that no key has")])
def test_a_key_that_is_none_is_refused(context: Context, gguf: str, name: str, said: str) -> None:
    with pytest.raises(EndpointError, match=said):
        prepare(ServeRequest(gguf, engine="llamacpp", api_key_env=name), context)


def test_the_default_variable_is_refused_like_any_other_where_it_is_not_set(context: Context, gguf: str) -> None:
    with pytest.raises(EndpointError, match="api_key_env names RACKRATE_API_KEY, which is not set"):
        prepare(ServeRequest(gguf, engine="llamacpp", api_key_env="RACKRATE_API_KEY"), context)


def test_an_engine_that_takes_keys_in_its_command_alone_takes_none(context: Context, gguf: str) -> None:
    with pytest.raises(EngineError, match="transformers takes an API key in its command alone"):
        prepare(ServeRequest(gguf, engine="transformers", api_key_env="MY_KEY"), context)
