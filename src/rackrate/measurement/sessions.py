"""Conversations: each turn is due a think time after the answer before it, and carries all that was said so far.

The server's own answers are the assistant's turns, so that what it cached of a conversation is of use to it.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rackrate.measurement.backoff import backoff_s
from rackrate.measurement.pacing import Alarm
from rackrate.runs.records import RequestRecord
from rackrate.workload.prompts import Ask, PromptLength, prompt, prompt_text
from rackrate.workload.rows import Rows
from rackrate.workload.schedule import Schedule
from rackrate.workload.synthetic import SyntheticWorkload


@dataclass(frozen=True, slots=True)
class Turn:
    """One request of a conversation, ready to be sent."""

    session: int
    number: int
    index: int
    ask: Ask
    """Input tokens are all of them, the history too."""
    due_s: float
    """On `time.perf_counter`."""
    history: Sequence[str]
    """What was said so far, then the new question: user, assistant, user, ..."""


class Diary:
    """Wakes tasks at moments of `time.perf_counter`, all with one alarm. Use it as a context."""

    def __init__(self, stop: asyncio.Event) -> None:
        """Once `stop` is set, every waiter is woken, and nobody waits any more."""
        self._stop = stop
        self._due: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def __enter__(self) -> Diary:
        self._alarm = Alarm(self._ring)
        self._stopping = asyncio.create_task(self._wake_all())
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.cancel()
        self._alarm.close()

    async def until(self, moment_s: float) -> bool:
        """Waits for a moment; False if the stop came before it."""
        if not self._stop.is_set() and moment_s > time.perf_counter():
            woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            heapq.heappush(self._due, (moment_s, next(self._order), woken))
            if self._due[0][2] is woken:
                self._alarm.set(moment_s)
            await woken
        return not self._stop.is_set()

    def _ring(self) -> None:
        now = time.perf_counter()
        while self._due and self._due[0][0] <= now:
            self._wake(heapq.heappop(self._due)[2])
        if self._due:
            self._alarm.set(self._due[0][0])

    @staticmethod
    def _wake(woken: asyncio.Future[None]) -> None:
        if not woken.done():
            woken.set_result(None)

    async def _wake_all(self) -> None:
        await self._stop.wait()
        for _, _, woken in self._due:
            self._wake(woken)
        self._due.clear()


class ConversationRunner:
    """Conversations of one level."""

    def __init__(
        self,
        rows: Rows,
        workload: SyntheticWorkload,
        length: PromptLength,
        number: Callable[[], int],
        take_turn: Callable[[Turn], Awaitable[tuple[RequestRecord, str, float | None] | None]],
        stop: asyncio.Event,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        """`take_turn` sends a request and records its answer; None where no more may be sent. It gives the record, the
        text, and how long the server asks to wait.

        `number` gives the next request's number. Of several processes, `part` is this one's and how many there are.
        """
        self._rows = rows
        self._workload = workload
        self._length = length
        self._number = number
        self._first, self._step = part
        self._take_turn = take_turn
        self._stop = stop
        self._numbers = itertools.count(self._first, self._step)

    async def users(self, number: int) -> None:
        """So many users, each of whom begins a conversation when the one before has ended.

        Their first ones begin within a think time, so that they do not all ask at once.
        """
        begin_s = time.perf_counter()

        async def user(rank: int, diary: Diary) -> None:
            ended_s, wait = begin_s, random.Random(f"{self._workload.seed}/user {rank}").random()
            failures = 0
            while True:
                session = next(self._numbers)
                due_s = ended_s + wait * self._rows.think_s(self._rows.conversation(session)[0])
                if not await diary.until(due_s):
                    return
                end_s, whole, retry_after_s = await self._hold(session, due_s, diary)
                if end_s is None:
                    return
                failures = 0 if whole else failures + 1
                # a server that refuses everything is not flooded
                ended_s, wait = end_s + (backoff_s(failures, retry_after_s) if failures else 0.0), 1.0

        with Diary(self._stop) as diary:
            await _all([asyncio.create_task(user(rank, diary)) for rank in range(self._first, number, self._step)])

    async def arrivals(self, begin_s: float, schedule: Schedule) -> None:
        """Conversations that begin when they are due, whatever became of those before."""
        assert schedule.turns is not None  # noqa: S101 - drawn for a workload with conversations
        talks: list[asyncio.Task[tuple[float | None, bool, float | None]]] = []
        with Diary(self._stop) as diary:
            for number in range(self._first, len(schedule.due_s), self._step):
                due_s = float(schedule.due_s[number])
                if not await diary.until(begin_s + due_s):
                    break
                turns = int(schedule.turns[number])
                talks.append(asyncio.create_task(self._hold(number, begin_s + due_s, diary, turns)))
                if len(talks) > 64:
                    await _all([talk for talk in talks if talk.done()])
                    talks = [talk for talk in talks if not talk.done()]
            await _all(talks)

    async def _hold(
        self, session: int, due_s: float, diary: Diary, most: int | None = None
    ) -> tuple[float | None, bool, float | None]:
        """One conversation. Returns when it ended (None where the level is over), whether it was held to its end, and
        how long the server asks to wait.

        It ends early with an answer that failed: nobody goes on from there.
        """
        first, turns = self._rows.conversation(session)
        history: list[str] = []
        said = 0
        for number in range(turns if most is None else min(turns, most)):
            if number and not await diary.until(due_s):
                return None, False, None
            ask = self._rows.ask(first + number)
            index = self._number()
            if number:
                text = prompt(self._length.turn_words(ask.input_tokens), self._workload.seed, index)
                # the server counted what was said; the answer is as many tokens in the history as it was when it came
                ask = Ask(said + ask.input_tokens, ask.output_tokens)
            else:
                text = prompt_text(ask, self._workload.seed, index, self._length)
            history.append(text)
            taken = await self._take_turn(Turn(session, number, index, ask, due_s, history))
            if taken is None:
                return None, False, None
            record, answer, retry_after_s = taken
            ended_s = due_s + record.done_s - record.due_s
            if not record.ok:
                return ended_s, False, retry_after_s
            history.append(answer)
            said = (record.input_tokens or ask.input_tokens) + (record.output_tokens or len(record.chunk_s))
            if number + 1 == turns:
                return ended_s, True, None
            due_s = ended_s + self._rows.think_s(first + number + 1)
        return None, False, None  # the level has no more requests


async def _all(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Waits for tasks; what one raises is raised once, and the others are ended."""
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        raise
