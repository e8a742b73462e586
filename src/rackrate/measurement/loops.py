"""What a level does: a closed loop (so many requests in flight at all times), an open one (each sent when it is due),
or conversations.

Answers are taken in and the next requests written from the sockets' own callbacks, without a task each; what can wait
(decoding an answer, writing its record, making the requests to come) is done between, while no socket has anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from typing import Protocol

from rackrate.measurement.answers import Answer
from rackrate.measurement.backoff import backoff_s, retry_after_s
from rackrate.measurement.exchange import Exchange
from rackrate.measurement.http import Client
from rackrate.measurement.lenient_json import as_object, error_text, parse, printable
from rackrate.measurement.live import LiveLevel
from rackrate.measurement.pacing import SPUN_SHARE, Alarm
from rackrate.measurement.sessions import ConversationRunner, Turn
from rackrate.measurement.sse import chunks_so_far, decode_body
from rackrate.runs.records import Level, RequestRecord
from rackrate.runs.statuses import OK
from rackrate.workload.prompts import Ask, PromptLength
from rackrate.workload.rows import Rows
from rackrate.workload.schedule import Schedule
from rackrate.workload.synthetic import SyntheticWorkload

HEAD_START_S = 0.05
"""From the start of an open level to the first moment of its schedule."""
_SPARES = 8
"""Idle connections that an open loop begins with. More would take the threads of servers that have one for each."""
_SMALL_BYTES = 2048
"""A smaller answer may be an error told as a stream: it is decoded before its worker goes on."""
_WAITING_BYTES = 64 * 2**20
"""Answers that wait to be decoded take at most so much. A server without delay sends faster than that is done."""
_WAITING_S = 0.5
"""Nor do they wait for longer: a run that is killed has all but its last second."""
_PACE_S = 0.00025
"""Between two of the first requests of a closed level."""
_LINE_S = 0.064
"""In which all of the first are sent, however many."""
_AT_ONCE = 32
_SOON_S = 0.0003
"""So long before a request of an open loop is due, nothing else is begun."""
_PREPARED = 64
"""Requests of an open loop that are made ahead."""


@dataclass(frozen=True, slots=True)
class WorkerShare:
    """Which of several processes this is: of a level's requests it sends number, number + of, number + 2 x of, ..."""

    number: int
    of: int

    def share(self, total: int) -> int:
        """How many of so many things are this part's.

        >>> [WorkerShare(number, 3).share(8) for number in range(3)]
        [3, 3, 2]
        """
        return len(range(self.number, total, self.of))


WHOLE = WorkerShare(0, 1)


@dataclass(frozen=True, slots=True)
class Planned:
    """A request that is ready to be written."""

    index: int
    ask: Ask
    request: bytes
    due_s: float | None = None
    """On `time.perf_counter`; None in a closed loop, where it is due when it is sent."""
    stagger: bool = False
    session: int | None = None
    turn: int | None = None


class Generator(Protocol):
    """What a loop needs of the load generator that it belongs to: see `load`."""

    client: Client
    workload: SyntheticWorkload
    part: WorkerShare
    length: PromptLength
    origin_s: float
    stop_event: asyncio.Event

    @property
    def stopping(self) -> bool: ...
    def now(self) -> float: ...
    def number(self) -> int: ...
    def take_back(self, unsent: int) -> None: ...
    def request(self, index: int, ask: Ask, texts: Sequence[str] | None = None) -> bytes: ...
    def record(
        self, level: Level, planned: Planned, exchange: Exchange, answer: Answer | None = None
    ) -> RequestRecord: ...
    def fail(self, error: BaseException) -> None: ...


def loop_for(generator: Generator, live: LiveLevel, schedule: Schedule | None) -> Loop:
    """The loop that a level needs."""
    # prefill alone is measured on single requests: what is said before would be in the cache
    if generator.workload.conversations is not None and live.level.kind != "prefill":
        return _Conversations(generator, live, schedule)
    return _OpenLoop(generator, live, schedule) if schedule is not None else _ClosedLoop(generator, live)


class Loop:
    """What all loops have in common: answers wait to be decoded until there is time."""

    def __init__(self, generator: Generator, live: LiveLevel) -> None:
        self.generator = generator
        self.live = live
        self.prepared: deque[Planned] = deque()
        self._answers: deque[tuple[Planned, Exchange]] = deque()
        self._waiting_bytes = 0
        self._events = asyncio.get_running_loop()
        self._busy = False
        self._quiet = asyncio.Event()
        self._quiet.set()

    async def prepare(self) -> None:
        """What is done before the level's clock runs."""

    def begin(self, begin_s: float | None) -> None:
        """Sends the first requests. Open loops begin at `begin_s` on `time.perf_counter`, or a moment from now."""
        raise NotImplementedError

    @property
    def over(self) -> bool:
        """Whether every request of the level was sent, answered and recorded."""
        raise NotImplementedError

    def close(self) -> None:
        """Asks for no more calls."""
        self.generator.take_back(len(self.prepared))
        self.prepared.clear()

    def wants_preparing(self) -> bool:
        """Whether a request should be made ahead."""
        return False

    def prepare_one(self) -> None:
        """Makes one ahead."""

    def send(self, planned: Planned) -> None:
        """Writes a request; `ended` hears of its answer."""
        self.live.in_flight += 1
        self._quiet.clear()
        self.generator.client.post(planned.request, partial(self._ended, planned))

    def _ended(self, planned: Planned, exchange: Exchange) -> None:
        self.live.in_flight -= 1
        self._answers.append((planned, exchange))
        self._waiting_bytes += exchange.received
        self.wake()
        try:
            self.ended(planned, exchange)
        except Exception as error:  # noqa: BLE001 - it must not be lost in the event loop
            self.generator.fail(error)

    def ended(self, planned: Planned, exchange: Exchange) -> None:
        """An answer is in; what is to be sent at once is sent here."""

    def wake(self) -> None:
        """Has the work that can wait done, a little in each turn of the event loop."""
        if not self._busy:
            self._busy = True
            self._events.call_soon(self._work)

    def _work(self) -> None:
        if self.hurries:
            self._events.call_soon(self._work)
            return
        try:
            if self._answers:
                self.record_one()
            while self._answers and self._waiting_bytes > _WAITING_BYTES:
                self.record_one()
            # some at a time: whoever reads until none is late is away from the sockets for as long as they have waited
            for _ in range(_AT_ONCE):
                if not self._answers or time.perf_counter() - (self._answers[0][1].done_s or 0.0) < _WAITING_S:
                    break
                self.record_one()
            if self.wants_preparing():
                self.prepare_one()
        except Exception as error:  # noqa: BLE001 - it must not be lost in the event loop
            self.generator.fail(error)
        if self._answers or self.wants_preparing():
            self._events.call_soon(self._work)
        else:
            self._busy = False
            if not self.live.in_flight:
                self._quiet.set()

    @property
    def hurries(self) -> bool:
        """Whether something is to be sent so soon that nothing else should be begun."""
        return False

    def record_one(self) -> RequestRecord:
        """Records the answer that has waited longest."""
        return self._record(*self._answers.popleft())

    def record_latest(self) -> RequestRecord:
        """Records the answer that has just come in."""
        return self._record(*self._answers.pop())

    def _record(self, planned: Planned, exchange: Exchange) -> RequestRecord:
        self._waiting_bytes -= exchange.received
        return self.generator.record(self.live.level, planned, exchange)

    @property
    def idle(self) -> bool:
        """Whether nothing is under way and every answer is recorded."""
        return not self.live.in_flight and not self._answers

    def note_sent(self, exchange: Exchange) -> None:
        """Of a stated number of requests, the last one's sending ends the level's window."""
        level = self.live.level
        if self.live.limits.exact:
            level.stopped_s = max(level.stopped_s or 0.0, (exchange.sent_s or 0.0) - self.generator.origin_s)

    async def all_in(self) -> None:
        """Waits for every answer under way and for its record."""
        while not self.idle:
            self.wake()
            await self._quiet.wait()
            self._quiet.clear()


class _ClosedLoop(Loop):
    """So many workers, each sending its next request as soon as its last one is answered."""

    def __init__(self, generator: Generator, live: LiveLevel) -> None:
        super().__init__(generator, live)
        level, limits = live.level, live.limits
        self._workers = generator.part.share(level.concurrency or 1)
        self._left = limits.requests if limits.exact else None
        self._rows = Rows(generator.workload, level.index)
        self._position = generator.part.number
        # not where the user asked for so many requests: those are all of the length asked for
        self._staggers = level.kind == "closed" and (level.concurrency or 1) > 1 and not limits.exact
        total = level.concurrency or 1
        places = list(range(total))
        random.Random(f"{generator.workload.seed}/{level.index}").shuffle(places)
        self._shares = [(place + 0.5) / total for place in places]
        """Of its first request that each worker of the level asks for, those of other processes among them."""
        self._failures = 0
        self._first: deque[Planned] = deque()
        self._begun_s = self._pace_s = 0.0
        """When the next of the first requests is sent, and what lies between two."""
        self._alarm: Alarm | None = None

    async def prepare(self) -> None:
        number = self._workers if self._left is None else min(self._workers, self._left)
        await self.generator.client.open_spares(number)
        self._first.extend(self._plan(rank) for rank in range(number))
        for _ in range(min(number, 16)):
            self.prepare_one()

    def _plan(self, rank: int | None = None) -> Planned:
        generator = self.generator
        index, ask = generator.number(), self._rows.ask(self._position)
        self._position += generator.part.of
        if self.live.level.kind == "prefill":
            ask = replace(ask, output_tokens=1)
        staggers = rank is not None and self._staggers
        if rank is not None and staggers:
            # as long as what requests under way have left, evenly spread, so that workers never march in step
            share = self._shares[generator.part.number + rank * generator.part.of]
            ask = replace(ask, output_tokens=max(1, round(share * ask.output_tokens)))
        return Planned(index, ask, generator.request(index, ask), stagger=staggers)

    def wants_preparing(self) -> bool:
        wanted = self._workers if self._left is None else min(self._workers, self._left)
        return not self.generator.stopping and len(self.prepared) < wanted

    def prepare_one(self) -> None:
        self.prepared.append(self._plan())

    def begin(self, begin_s: float | None) -> None:
        """One after the other at a pace at which servers read them, lest the first answers wait in line at the server.

        Workers of requests that are all alike would march in step ever after.
        """
        self._begun_s = time.perf_counter()
        self._pace_s = min(_PACE_S, _LINE_S / max(1, len(self._first)))
        self._alarm = Alarm(self._begin_some)
        self._begin_some()

    def _begin_some(self) -> None:
        try:
            while self._first and not self.generator.stopping and self._alarm is not None:
                if self._begun_s > time.perf_counter():
                    self._alarm.set(self._begun_s)
                    return
                self._begun_s += self._pace_s
                self._send(self._first.popleft())
        except Exception as error:  # noqa: BLE001 - it must not be lost in the event loop
            self.generator.fail(error)

    def close(self) -> None:
        super().close()
        self._left = 0  # a worker may still rest, and would wake in the next level
        if self._alarm is not None:
            self._alarm.close()
            self._alarm = None

    def _send(self, planned: Planned | None = None) -> None:
        if self.generator.stopping or self._left == 0:
            return
        if self._left is not None:
            self._left -= 1
        self.send(planned or (self.prepared.popleft() if self.prepared else self._plan()))

    @property
    def over(self) -> bool:
        # a worker that rests has nothing left to send then
        return self._left == 0 and self.idle

    def ended(self, planned: Planned, exchange: Exchange) -> None:
        self.note_sent(exchange)
        fine = exchange.status == OK and (exchange.http_status or 0) < 300
        if not fine or exchange.received < _SMALL_BYTES:
            fine = self.record_latest().ok
        if fine:
            self._failures = 0
            self._send()
            return
        self._failures += 1
        self._events.call_later(backoff_s(self._failures / self._workers, _retry_after_s(exchange)), self._send)


class _OpenLoop(Loop):
    """Sends each request of a schedule when it is due."""

    def __init__(self, generator: Generator, live: LiveLevel, schedule: Schedule) -> None:
        super().__init__(generator, live)
        self._schedule = schedule
        self._step = generator.part.of
        self._made = generator.part.number
        """Position in the schedule of the next request to be made."""
        self._next = generator.part.number
        """Of the next one to be sent."""
        self._begin_s = 0.0
        self._alarm: Alarm | None = None

    async def prepare(self) -> None:
        await self.generator.client.open_spares(_SPARES)
        self._alarm = Alarm(self._send_what_is_due, SPUN_SHARE / self._step)
        while self.wants_preparing():
            self.prepare_one()

    def wants_preparing(self) -> bool:
        if self.generator.stopping or self._made >= len(self._schedule):
            return False
        return len(self.prepared) < _PREPARED or self.generator.client.wants_spare

    def prepare_one(self) -> None:
        if self.generator.client.wants_spare and self.prepared:
            self.generator.client.open_spare()
            return
        index, ask = self.generator.number(), self._schedule.ask(self._made)
        self.prepared.append(Planned(index, ask, self.generator.request(index, ask)))
        self._made += self._step

    def begin(self, begin_s: float | None) -> None:
        self._begin_s = begin_s or time.perf_counter() + HEAD_START_S
        self.live.level.started_s = self._begin_s - self.generator.origin_s
        self._set()

    @property
    def hurries(self) -> bool:
        if self._next >= len(self._schedule) or self.generator.stopping:
            return False
        return self._begin_s + float(self._schedule.due_s[self._next]) - time.perf_counter() < _SOON_S

    def _set(self) -> None:
        if self._alarm is not None and self._next < len(self._schedule):
            due_s = self._begin_s + float(self._schedule.due_s[self._next])
            self.generator.client.hold_until(due_s)
            self._alarm.set(due_s)

    def _send_what_is_due(self) -> None:
        try:
            schedule, end = self._schedule, len(self._schedule)
            while self._next < end and not self.generator.stopping:
                due_s = self._begin_s + float(schedule.due_s[self._next])
                if due_s > time.perf_counter():
                    self._set()
                    break
                if not self.prepared:
                    self.prepare_one()
                self._next += self._step
                if self._next >= end:
                    self.live.level.stopped_s = self.generator.now()
                self.send(replace(self.prepared.popleft(), due_s=due_s))
            self.wake()
        except Exception as error:  # noqa: BLE001 - it must not be lost in the event loop
            self.generator.fail(error)

    @property
    def over(self) -> bool:
        return self._next >= len(self._schedule) and self.idle

    def close(self) -> None:
        super().close()
        if self._alarm is not None:
            self._alarm.close()
            self._alarm = None


class _Conversations(Loop):
    """So many users' conversations at all times, or each from when it is due. A task holds each of them."""

    def __init__(self, generator: Generator, live: LiveLevel, schedule: Schedule | None) -> None:
        super().__init__(generator, live)
        self._schedule = schedule
        self._left = live.limits.requests if live.limits.exact else None
        self._talking: asyncio.Task[None] | None = None

    async def prepare(self) -> None:
        if self._schedule is not None:
            await self.generator.client.open_spares(_SPARES)

    def begin(self, begin_s: float | None) -> None:
        if self._schedule is not None:
            begin_s = begin_s or time.perf_counter() + HEAD_START_S
            self.live.level.started_s = begin_s - self.generator.origin_s
        self._talking = asyncio.create_task(self._talk(begin_s or 0.0))

    async def _talk(self, begin_s: float) -> None:
        generator, level = self.generator, self.live.level
        talk = ConversationRunner(
            Rows(generator.workload, level.index),
            generator.workload,
            generator.length,
            generator.number,
            self._take_turn,
            generator.stop_event,
            (generator.part.number, generator.part.of),
        )
        try:
            if self._schedule is None:
                await talk.users(level.concurrency or 1)
            else:
                await talk.arrivals(begin_s, self._schedule)
        except Exception as error:  # noqa: BLE001 - it is raised once the level has ended
            generator.fail(error)

    async def _take_turn(self, turn: Turn) -> tuple[RequestRecord, str, float | None] | None:
        if self._left == 0:
            return None
        if self._left is not None:
            self._left -= 1
        generator = self.generator
        request = generator.request(turn.index, turn.ask, turn.history)
        self.live.in_flight += 1
        exchange = await generator.client.exchange(request)
        self.live.in_flight -= 1
        self.note_sent(exchange)
        answer = classify_exchange(exchange)
        planned = Planned(turn.index, turn.ask, b"", turn.due_s, session=turn.session, turn=turn.number)
        return generator.record(self.live.level, planned, exchange, answer), answer.text, _retry_after_s(exchange)

    @property
    def over(self) -> bool:
        return self._talking is not None and self._talking.done()

    async def all_in(self) -> None:
        if self._talking is not None:
            await self._talking

    def close(self) -> None:
        super().close()
        if self._talking is not None:
            self._talking.cancel()


def classify_exchange(exchange: Exchange) -> Answer:
    """The answer, or the fault that the exchange met."""
    status, detail = exchange.status, exchange.detail
    code = exchange.http_status or 0
    if status == OK and code >= 300:
        status = "http-429" if code == 429 else f"http-{code // 100}xx" if code < 600 else "http-5xx"
        detail = f"{code} {_reason(exchange)}".strip()
    elif status == OK and (encoding := exchange.unasked_encoding) is not None:
        status, detail = "malformed", f"its content is encoded as {encoding}, which was not asked for"
    elif status == OK and exchange.content_type == "application/json":
        status, detail = "not-streaming", "the answer came in one piece"
    if status == OK:
        answer = exchange.answer()
        if answer is not None:
            return answer
        if exchange.packets:  # it ended as most do, but was not of the usual kind: [DONE] may also stand before the end
            exchange.digest()
            exchange.done_s = exchange.done_line_s() or exchange.done_s
        if exchange.fault is None:
            lengths, body = exchange.joined()
            return decode_body(exchange.times, lengths, body)
        status, detail = "malformed", exchange.fault
    return Answer(status, detail, chunks_so_far(exchange.times, exchange.parts), None, None, None, None)


def _retry_after_s(exchange: Exchange) -> float | None:
    """How long the server asks to wait before the next request."""
    return retry_after_s(exchange.retry_after) if (exchange.http_status or 0) >= 400 else None


def _reason(exchange: Exchange) -> str:
    """What the server said, or else what its code means."""
    said = error_text(as_object(parse(exchange.body)))
    if said is None:
        with contextlib.suppress(ValueError):
            said = HTTPStatus(exchange.http_status or 0).phrase
        said = f"{said}: to {printable(exchange.location)}" if said and exchange.location else said
    return (said or "")[:200]
