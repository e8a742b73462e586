"""The Python API: light to import, the same answers as the commands, and the examples of docs/python.md."""

from __future__ import annotations

import asyncio
import html
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import rackrate as package
from priced_runs import FOUR_T4, G4DN_12XLARGE, Command, write_run
from rackrate import api
from rackrate.app.plan_request import PlanRequest
from rackrate.app.pricing import PriceRequest
from rackrate.errors import PriceError, UserError
from rackrate.runs.store import JOURNAL
from rackrate.units import usd_per_million
from scripted_server import ScriptedServer

ROOT = Path(__file__).parents[1]
EXAMPLES = re.findall(
    r"^```python\n(.*?)^```", (ROOT / "docs" / "python.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
)
FUNCTIONS = [name for name in package.__all__ if name != "__version__"]

pytestmark = pytest.mark.usefixtures("shipped_catalogue")


def test_importing_it_loads_nothing_heavy() -> None:
    code = "import json, sys, rackrate; dir(rackrate); print(json.dumps(sorted(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(json.loads(ran.stdout))
    assert {name for name in loaded if name.startswith("rackrate")} == {"rackrate"}
    assert loaded.isdisjoint({"numpy", "pydantic", "typer", "rich", "yaml", "dataclasses"})


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_function_is_found_and_documented(name: str) -> None:
    assert callable(getattr(package, name))
    described = getattr(api, name).__doc__
    assert described
    assert "Raises:" in described
    assert f"rackrate.{name}(" in (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    assert name in dir(package)


def test_functions_and_rooms_do_not_get_in_each_others_way() -> None:
    code = (
        "import rackrate.studies.results as before, rackrate\n"
        "import rackrate.simulation.step as step\n"
        "from rackrate.studies import results\n"
        "assert results is before and step.__name__ == 'rackrate.simulation.step'\n"
        "assert callable(rackrate.study) and callable(rackrate.simulate)\n"
        "try: rackrate.study('nowhere.yaml')\n"
        "except rackrate.errors.UserError as error: print(error)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "nowhere.yaml" in ran.stdout


def test_a_name_that_is_not_there_is_not_found() -> None:
    with pytest.raises(AttributeError, match="'prize'"):
        _ = package.prize  # pyright: ignore[reportAttributeAccessIssue]


def test_a_call_gives_what_the_command_prints(tmp_path: Path, rackrate: Command) -> None:
    run = write_run(tmp_path / "run", FOUR_T4)
    printed = rackrate("price", str(run), "--offer", "aws/g4dn.12xlarge", "--utilisation", "0.5", "--json").json
    pricing = package.price(run, offers=["aws/g4dn.12xlarge"], utilisation=0.5)
    (machine,) = pricing.machines
    assert machine.full.blended_usd == printed["machines"][0]["full_load"]["blended_usd"]
    assert machine.full.blended_usd == pytest.approx(usd_per_million(G4DN_12XLARGE, pricing.serving.tok_s))
    assert machine.at_load is not None
    assert machine.at_load.blended_usd == printed["machines"][0]["at_load"]["blended_usd"]


def test_the_catalogue_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RACKRATE_CATALOG", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="RACKRATE_CATALOG names"):
        package.price(tokens_per_second=60, usd_per_hour=1)


def test_a_request_and_its_fields_ask_the_same() -> None:
    request = PriceRequest(tokens_per_second=60.6, usd_per_hour=3.912, apis=("openai/gpt-4o-mini",))
    assert package.price(request) == package.price(
        tokens_per_second=60.6, usd_per_hour=3.912, apis="openai/gpt-4o-mini"
    )


def test_a_field_that_is_not_there_is_a_mistake_in_the_call() -> None:
    with pytest.raises(TypeError, match="'utilization'; did you mean utilisation"):
        package.price(tokens_per_second=60, utilization=0.5)
    with pytest.raises(TypeError, match="PriceRequest"):
        package.price(PlanRequest("llama-3-8b-instruct", "1/s"))  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="not both"):
        package.price(PriceRequest(tokens_per_second=60), usd_per_hour=1)


def test_what_the_user_can_mend_names_the_field(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="tokens_per_second") as caught:
        package.price(tokens_per_second="many")
    assert caught.value.field == "tokens_per_second"
    run = write_run(tmp_path / "run", FOUR_T4)
    with pytest.raises(PriceError, match="a figure belongs to its machine") as refused:
        package.price(run, offers="aws/p5.48xlarge")
    assert refused.value.field == "as_if"


def test_a_notebook_shows_an_answer_escaped_in_a_frame_without_scripts(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", FOUR_T4, note="<b>")
    pricing = package.price(run, offers="aws/g4dn.12xlarge")
    shown = str(getattr(pricing, "_repr_html_")())  # noqa: B009 - a method that the API gives it
    assert shown.startswith("<iframe srcdoc=")
    assert shown.count("<") == 2
    page = html.unescape(shown)
    assert "aws/g4dn.12xlarge" in page
    assert "<b>" not in page.replace("&lt;b&gt;", "")
    assert "vega" not in page


def test_notes_go_to_the_logger_and_progress_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="rackrate"):
        listener = api.default_context().notify
        listener.progress("candidates", 1, 2)
        listener.note("100 % assumed")
    assert caplog.messages == ["100 % assumed"]


def test_measuring_refuses_what_cannot_be_from_within_an_event_loop(tmp_path: Path) -> None:
    async def asked() -> None:
        await package.ameasure("http://127.0.0.1:9", levels=1, requests=2, out=tmp_path / "run", connect_timeout=1)

    with pytest.raises(UserError, match=r"127\.0\.0\.1:9"):
        asyncio.run(asked())
    assert callable(package.measure)
    with pytest.raises(TypeError, match="did you mean levels"):
        package.measure("http://127.0.0.1:9", level=1)


def test_a_cancelled_measurement_is_kept_as_interrupted_before_the_caller_goes_on(tmp_path: Path) -> None:
    async def cancelled(url: str) -> str:
        task = asyncio.ensure_future(
            package.ameasure(
                url, levels=2, seconds=60, max_seconds=90, warmup=0, precision="none", input_tokens=16, output_tokens=8,
                out=tmp_path / "run",
            )
        )  # fmt: skip
        journal = tmp_path / "run" / JOURNAL
        while not (journal.exists() and journal.stat().st_size):  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return package.load(tmp_path / "run").run.header.state

    with ScriptedServer(ttft_s=0.01, itl_s=0.002) as server:
        assert asyncio.run(cancelled(server.url)) == "interrupted"


def test_a_measured_run_is_shown_in_a_notebook(tmp_path: Path) -> None:
    with ScriptedServer(ttft_s=0.01, itl_s=0.002) as server:
        found = package.measure(
            server.url, levels=2, requests=4, warmup=0, prefill=False, input_tokens=16, output_tokens=8,
            out=tmp_path / "run",
        )  # fmt: skip
    assert "output" in html.unescape(str(getattr(found, "_repr_html_")()))  # noqa: B009


@pytest.mark.parametrize("name", ["x" * 300, "runs/" + "y" * 5000, "a\0b", 3])
def test_a_name_that_no_disk_takes_is_a_sentence(name: object) -> None:
    with pytest.raises(UserError, match="run"):
        package.load(name)  # pyright: ignore[reportArgumentType]


def test_the_examples_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path / "runs" / "gpu", FOUR_T4)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for example in EXAMPLES:
        exec(compile(example, "docs/python.md", "exec"), names)  # noqa: S102
    assert {"pricing", "planned", "fleet"} <= set(names)
