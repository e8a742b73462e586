"""What request number n of a level asks for, drawn by the seed alone: not by what was asked before, nor by when.

Numbers are drawn a page at a time, each page by a generator of its own, so that any process gets any request alike, and
a schedule of 10 million requests holds no objects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from rackrate.errors import WorkloadError
from rackrate.workload.prompts import Ask
from rackrate.workload.synthetic import SyntheticWorkload

PAGE = 4096
_LENGTHS, _TURNS = 1, 2
"""Kinds of pages; arrivals are drawn by another generator still."""

_KEPT = 8
"""Pages kept: requests under way are close to each other."""

Ints = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False, slots=True)
class _Page:
    """What was drawn for the requests of a page."""

    input_tokens: Ints
    output_tokens: Ints
    trace_rows: npt.NDArray[np.int64] | None
    with_prefix: npt.NDArray[np.bool_] | None
    think_s: npt.NDArray[np.float64] | None


_Kept = TypeVar("_Kept", _Page, Ints)


class Rows:
    """The requests of one level, by number from 0 on. Can be sent to other processes."""

    def __init__(self, workload: SyntheticWorkload, level: int = 0, *, in_order: bool = False) -> None:
        """In order: a trace's rows are taken one after the other, and from the first again after the last.

        That is also done where the trace says what prompts share, for what a cache saves depends on what came shortly
        before. Else rows are drawn with replacement, input and output together.
        """
        self._workload = workload
        self._level = level
        self._in_order = in_order or (workload.trace is not None and workload.trace.records_sharing)
        self._pages: dict[int, _Page] = {}
        self._turns: dict[int, Ints] = {}
        self._first_of_page = [0]

    def lengths(self, count: int, first: int = 0) -> tuple[Ints, Ints]:
        """Input and output tokens of `count` requests from number `first` on, which begins a page."""
        inputs, outputs = np.empty(count, dtype=np.int32), np.empty(count, dtype=np.int32)
        for at in range(0, count, PAGE):
            page = self._page((first + at) // PAGE)
            inputs[at : at + PAGE] = page.input_tokens[: count - at]
            outputs[at : at + PAGE] = page.output_tokens[: count - at]
        return inputs, outputs

    def ask(self, position: int) -> Ask:
        """What a request asks for, and with which texts its prompt begins."""
        number, at = divmod(position, PAGE)
        page = self._page(number)
        return Ask(int(page.input_tokens[at]), int(page.output_tokens[at]), self._parts(page, position, at))

    def think_s(self, position: int) -> float:
        """The think time before a request that is not the first of its conversation. [s]"""
        number, at = divmod(position, PAGE)
        think_s = self._page(number).think_s
        return float(think_s[at]) if think_s is not None else 0.0

    def thoughts_s(self, count: int) -> npt.NDArray[np.float64]:
        """Think times before each of the first `count` requests. [s]"""
        thoughts = np.zeros(count)
        for at in range(0, count, PAGE):
            think_s = self._page(at // PAGE).think_s
            if think_s is not None:
                thoughts[at : at + PAGE] = think_s[: count - at]
        return thoughts

    def conversation(self, number: int) -> tuple[int, int]:
        """The first request of a conversation, and how many it has.

        Raises:
            WorkloadError: the workload has no conversations.
        """
        page, at = divmod(number, PAGE)
        while len(self._first_of_page) <= page:
            last = len(self._first_of_page) - 1
            self._first_of_page.append(self._first_of_page[last] + int(self._turns_of(last).sum()))
        turns = self._turns_of(page)
        return self._first_of_page[page] + int(turns[:at].sum()), int(turns[at])

    def turns(self, requests: int) -> Ints:
        """Turns of as many conversations as so many requests need; the last is cut so that there are exactly so many.

        Raises:
            WorkloadError: the workload has no conversations.
        """
        pages: list[Ints] = []
        total = 0
        while total < requests:
            pages.append(self._turns_of(len(pages)))
            total += int(pages[-1].sum())
        turns = np.concatenate(pages)
        ends = np.cumsum(turns, dtype=np.int64)
        last = int(np.searchsorted(ends, requests))
        turns[last] -= ends[last] - requests
        return turns[: last + 1]

    def _generator(self, kind: int, number: int) -> np.random.Generator:
        return np.random.default_rng([self._workload.seed & 0xFFFFFFFF, self._level, kind, number])

    def _page(self, number: int) -> _Page:
        page = self._pages.get(number)
        if page is None:
            page = self._draw(number)
            _keep(self._pages, number, page)
        return page

    def _turns_of(self, number: int) -> Ints:
        turns = self._turns.get(number)
        if turns is None:
            if self._workload.conversations is None:
                raise WorkloadError("this workload has no conversations")
            drawn = self._workload.conversations.turns.draw(self._generator(_TURNS, number), PAGE)
            turns = drawn.astype(np.int32)
            _keep(self._turns, number, turns)
        return turns

    def _draw(self, number: int) -> _Page:
        work, trace = self._workload, self._workload.trace
        generator = self._generator(_LENGTHS, number)
        rows = None
        inputs = np.full(PAGE, work.input_tokens, dtype=np.int32)
        outputs = np.full(PAGE, work.output_tokens, dtype=np.int32)
        if trace is not None:
            positions = np.arange(number * PAGE, (number + 1) * PAGE, dtype=np.int64)
            rows = positions % len(trace) if self._in_order else generator.integers(0, len(trace), PAGE)
            # a row of no tokens cannot be sent
            inputs, outputs = np.maximum(trace.input_tokens[rows], 1), np.maximum(trace.output_tokens[rows], 1)
        if work.inputs is not None:
            inputs = work.inputs.draw(generator, PAGE).astype(np.int32)
        if work.outputs is not None:
            outputs = work.outputs.draw(generator, PAGE).astype(np.int32)
        return _Page(
            inputs,
            outputs,
            rows,
            with_prefix=generator.random(PAGE) < work.prefix.share if work.prefix is not None else None,
            think_s=work.conversations.think_s.draw(generator, PAGE) if work.conversations is not None else None,
        )

    def _parts(self, page: _Page, position: int, at: int) -> tuple[tuple[str, int], ...]:
        """Named texts of a prompt's beginning.

        The system prompt is the same at all levels. Blocks and sessions of a trace are a level's own, and a pass's over
        the trace, lest a level finds in the cache what the one before it left there.
        """
        work, trace = self._workload, self._workload.trace
        parts: list[tuple[str, int]] = []
        left = int(page.input_tokens[at])
        if work.prefix is not None and page.with_prefix is not None and page.with_prefix[at]:
            parts.append(("system", min(work.prefix.tokens, left - 1)))
            left -= work.prefix.tokens
        if trace is None or page.trace_rows is None or work.inputs is not None or left < 1:
            return tuple(parts)
        row = int(page.trace_rows[at])
        own = f"{self._level}.{position // len(trace)}"
        blocks = trace.blocks(row)
        if blocks is not None:
            for block in blocks.tolist():
                if left > 0:
                    parts.append((f"{own}/block {block}", min(left, trace.block_tokens)))
                left -= trace.block_tokens
        elif trace.session is not None and trace.session[row] >= 0:
            # a recorded conversation's prompts grow: each begins with the one before
            parts.append((f"{own}/session {trace.session[row]}", left))
        elif trace.prefix is not None and trace.prefix_tokens is not None and trace.prefix[row] >= 0:
            parts.append((f"prefix {trace.prefix[row]}", min(int(trace.prefix_tokens[row]), left)))
        return tuple(parts)


def _keep(pages: dict[int, _Kept], number: int, page: _Kept) -> None:
    """Keeps a page; the one that was kept first goes."""
    if len(pages) >= _KEPT:
        del pages[next(iter(pages))]
    pages[number] = page
