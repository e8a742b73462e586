"""A new engine is one file and one line of the list: every room above knows it from there."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rackrate.cli import app
from rackrate.engines import known, vllm
from rackrate.engines.choose import choose
from rackrate.engines.knobs import Knob, Machine, Space
from rackrate.engines.memory_errors import ran_out_of_memory
from rackrate.engines.process import EngineCommand
from rackrate.engines.settings import LaunchOptions, Setting
from rackrate.engines.spec import EngineMemory, EngineRelease, EngineSpec, Fingerprint, HostTimes, Launch, Scheduler
from rackrate.engines.weights import Weights
from rackrate.measurement.identify import identify
from rackrate.tuning.space import space_of

SETTINGS = (Setting("beads", "whole", "strings of it", least=1),)


def _command(weights: Weights, alias: str, wanted: LaunchOptions) -> EngineCommand:
    return EngineCommand(
        name="Abacus", version="1", argv=["abacus", weights.argument], environment={}, host=wanted.host,
        port=wanted.port or 8000, ready_path="/health", served_name=alias, settings=wanted.settings,
    )  # fmt: skip


def _find(model: str, notify: object, *, install: bool = True) -> Weights:
    return Weights(Path(model), None, "bf16", None)


ABACUS = EngineSpec(
    name="abacus",
    title="Abacus, made up",
    label="Abacus",
    needs="patience",
    launch=Launch(
        settings=SETTINGS, is_ready=lambda: True, install=lambda notify: None, find=_find, command=_command
    ),
    chosen_for={"safetensors": "nothing else is installed"},
    metrics={"output_tokens": ("abacus:tokens",)},
    fingerprint=Fingerprint(owned_by=("abacus",)),
    memory=EngineMemory("abacus", usable_share=0.5, batch_tokens=512, max_requests=8),
    out_of_memory=("no beads left",),
    releases=(
        EngineRelease(
            "abacus-1", "abacus", captured=False,
            host_times=HostTimes(host_step_s=0.5, host_sequence_s=1e-4, host_prefill_s=1e-3, stream_s=1e-5,
                                 request_s=1e-3),
            scheduler=lambda accelerator, prompt_tokens: Scheduler(
                8, 512, mixed=True, reserve_fraction=0.0, memory_share=0.5
            ),
        ),
    ),
    spellings=("abacus",),
    tuning=lambda machine: Space((Knob("beads", (1, machine.cores), "strings"),), ()),
)  # fmt: skip


@pytest.fixture(autouse=True)
def one_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "ENGINES", (*known.ENGINES, ABACUS))


def _ran(*arguments: str) -> Any:
    result = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_it_is_listed_with_its_settings() -> None:
    assert [row["state"] for row in _ran("engines")["engines"] if row["name"] == "abacus"] == ["ready"]
    assert [row["name"] for row in _ran("engines", "settings", "abacus")["settings"]] == ["beads"]


def test_it_is_launched(tmp_path: Path) -> None:
    assert choose("org/model", gpu=False, ready=lambda name: name == "abacus") == (
        "abacus",
        "nothing else is installed",
    )
    facts = _ran("serve", str(tmp_path), "--engine", "abacus", "--set", "beads=3", "--print")
    assert (facts["argv"], facts["settings"]) == (["abacus", str(tmp_path)], {"beads": 3})


def test_a_server_of_it_is_recognised_and_read() -> None:
    assert asyncio.run(identify(None, {"owned_by": "abacus"})) == ("Abacus", None)  # pyright: ignore[reportArgumentType]
    found = known.engine_of_label("Abacus")
    assert found is not None
    assert found.metrics["output_tokens"] == ("abacus:tokens",)
    assert ran_out_of_memory("sorry: no beads left", 1)


def test_its_memory_is_counted() -> None:
    """It takes half of the card where vLLM takes nine tenths."""
    ours, theirs = (
        _ran("fit", "llama-3-8b-instruct", "--on", "h100-sxm", "--engine", name)["fits"][0]
        for name in ("abacus", "vllm")
    )
    assert (ours["engine"], theirs["engine"]) == ("abacus", "vllm")
    assert 0 < ours["kv_tokens"] < theirs["kv_tokens"] / 2


def test_it_is_simulated_and_planned_with() -> None:
    ours, theirs = (
        _ran("simulate", "llama-3-8b-instruct", "--on", "h100-sxm", "--engine", name, "--concurrency", "4",
             "--requests", "16", "--input-tokens", "64", "--output-tokens", "16")
        for name in ("abacus", "vllm")
    )  # fmt: skip
    slow, fast = (view["levels"][0]["output_tok_s"] for view in (ours, theirs))
    assert slow < 4 / 0.5 < fast  # half a second of its host for each step
    assert ours["provenance"]["engine"]["name"] == "abacus"
    plan = _ran(
        "plan", "llama-3-8b-instruct", "--traffic", "1/s", "--input-tokens", "64", "--output-tokens", "16", "--engine",
        "abacus", "--offer", "aws/p5.4xlarge", "--requests", "200", "--slo", "p95 ttft < 60s",
    )  # fmt: skip
    assert {row["engine"] for row in plan["rows"]} == {"abacus-1"}


def test_it_is_tuned() -> None:
    space = space_of("abacus", Machine(cores=4, logical=8, concurrency=2, gguf=False))
    assert space.default == {"beads": 1}


def test_a_kin_of_an_engine_never_hides_an_engine_of_that_very_name(monkeypatch: pytest.MonkeyPatch) -> None:
    from rackrate.engines.releases import release_of

    greedy = replace(vllm.SPEC, name="greedy", kin=("abacus",), spellings=("greedy",))
    monkeypatch.setattr(known, "ENGINES", (greedy, *known.ENGINES))
    found = release_of("My Abacus 2")
    assert found is not None
    assert found.id == "abacus-1"
