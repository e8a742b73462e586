"""Packets are stamped by the kernel, and many are read together; what is read is the same either way."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from collections.abc import Coroutine, Iterator

import pytest
import uvloop

from rackrate.measurement import reader as module
from rackrate.measurement.reader import Reader

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the event loop reads")


class Kept:
    """Keeps what a reader gives it."""

    def __init__(self) -> None:
        self.taken: list[tuple[bytes, float]] = []
        self.ends: list[OSError | None] = []

    def take(self, data: bytes, time_s: float) -> None:
        self.taken.append((data, time_s))

    def lost(self, error: OSError | None) -> None:
        self.ends.append(error)


def pairs(count: int) -> Iterator[tuple[socket.socket, socket.socket]]:
    """So many connections: the reader's end and the other."""
    with socket.create_server(("127.0.0.1", 0), backlog=count) as listener:
        for _ in range(count):
            ours = socket.create_connection(listener.getsockname())
            ours.setblocking(False)
            theirs, _ = listener.accept()
            theirs.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield ours, theirs


def run(work: Coroutine[None, None, None]) -> None:
    """On the loop that measurements use."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)


@pytest.mark.timed
def test_a_busy_client_does_not_move_the_stamps() -> None:
    async def go() -> None:
        reader, kept = Reader(), Kept()
        ((ours, theirs),) = pairs(1)
        reader.add(ours.fileno(), kept)
        theirs.send(b"warm")  # the kernel begins to stamp a moment after it was asked
        await asyncio.sleep(0.05)
        kept.taken.clear()
        sent_s = time.perf_counter()
        theirs.send(b"token")
        time.sleep(0.2)  # noqa: ASYNC251 - the event loop is away
        await asyncio.sleep(0.01)
        ((data, stamp_s),) = kept.taken
        assert data == b"token"
        assert -0.001 < stamp_s - sent_s < 0.1
        reader.close()
        ours.close()
        theirs.close()

    run(go())


@pytest.mark.timed
@pytest.mark.parametrize("typical_s", [None, 0.5, 0.01])
def test_all_is_read_however_often_sockets_are_looked_at(typical_s: float | None) -> None:
    async def go() -> None:
        reader = Reader()
        if typical_s is not None:
            reader.answered(typical_s)
        ends = list(pairs(16))
        keepers = [Kept() for _ in ends]
        for (ours, _), kept in zip(ends, keepers, strict=True):
            reader.add(ours.fileno(), kept)
        looked = 0
        for number in range(400):
            for _, theirs in ends:
                theirs.send(b"%03d" % number)
            await asyncio.sleep(0)
            looked += reader.looks
        await asyncio.sleep(0.05)
        whole = b"".join(b"%03d" % number for number in range(400))
        assert all(b"".join(data for data, _ in kept.taken) == whole for kept in keepers)
        stamps = [stamp_s for _, stamp_s in keepers[0].taken]
        assert stamps == sorted(stamps)
        # answers of 10 ms would be sent on 0.25 ms late: too much, every packet wakes the client
        assert (looked > 50) == (typical_s != 0.01)
        await asyncio.sleep(0.1)
        assert not reader.looks  # nobody sends: it waits to be woken
        reader.close()
        for ours, theirs in ends:
            ours.close()
            theirs.close()

    run(go())


def test_an_end_is_told() -> None:
    async def go() -> None:
        reader = Reader()

        class Ended(Kept):
            def lost(self, error: OSError | None) -> None:
                super().lost(error)
                reader.remove(number)

        kept = Ended()
        ((ours, theirs),) = pairs(1)
        number = ours.fileno()
        reader.add(number, kept)
        theirs.send(b"last")
        theirs.close()
        await asyncio.sleep(0.05)
        assert [data for data, _ in kept.taken] == [b"last"]
        assert kept.ends == [None]
        reader.close()
        ours.close()

    run(go())


def test_quicker_answers_are_looked_for_more_often() -> None:
    async def go() -> None:
        reader = Reader()
        assert reader.interval_s == module.MOST_S
        reader.answered(0.5)
        assert reader.interval_s == pytest.approx(0.5 * module.SHARE)
        reader.answered(0.3)
        assert reader.interval_s == pytest.approx(0.3 * module.SHARE)
        for _ in range(50):
            reader.answered(10.0)
        assert reader.interval_s == module.MOST_S
        reader.close()

    run(go())


@pytest.mark.timed
def test_stamps_are_not_used_while_the_time_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    async def go() -> None:
        reader, kept = Reader(), Kept()
        ((ours, theirs),) = pairs(1)
        reader.add(ours.fileno(), kept)
        theirs.send(b"warm")
        await asyncio.sleep(0.05)
        hour_ns, real = 3600 * 10**9, time.time_ns
        monkeypatch.setattr(module.time, "time_ns", lambda: real() - hour_ns)  # the kernel's stamps seem an hour ahead
        sent_s = time.perf_counter()
        theirs.send(b"token")
        await asyncio.sleep(0.05)
        assert -0.001 < kept.taken[-1][1] - sent_s < 0.05
        reader.close()
        ours.close()
        theirs.close()

    run(go())


def test_nothing_is_read_just_before_a_request_is_due() -> None:
    async def go() -> None:
        reader = Reader()
        ends = list(pairs(16))
        keepers = [Kept() for _ in ends]
        for (ours, _), kept in zip(ends, keepers, strict=True):
            reader.add(ours.fileno(), kept)
        for _ in range(20):
            for _, theirs in ends:
                theirs.send(b"x")
            await asyncio.sleep(0)
        await asyncio.sleep(0.005)
        assert reader.looks
        reader.hold_s = time.perf_counter() + 0.0001
        before = sum(len(kept.taken) for kept in keepers)
        ends[0][1].send(b"x")
        reader.look()
        assert sum(len(kept.taken) for kept in keepers) == before
        reader.look()  # but not twice in a row
        assert sum(len(kept.taken) for kept in keepers) == before + 1
        reader.close()
        for ours, theirs in ends:
            ours.close()
            theirs.close()

    run(go())
