"""A simulated run, level after level: open loops at a rate, closed loops, and the search for a capacity."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rackrate.metrics.summary import LevelSummary
    from rackrate.planner.candidates import Replica
    from rackrate.runs.records import Level, RequestRecord, RunHeader
    from rackrate.simulation.capacity import Draw
    from rackrate.simulation.settings import EngineLimits, Fleet
    from rackrate.workload.slo import Slo
    from rackrate.workload.synthetic import SyntheticWorkload

SEARCHED = 10_000
"""Requests of a search for a capacity, and of the levels at it and beyond: a thousand leave 3 % of luck, and end before
queues have grown."""
MOST_TELLING = 20_000
"""Requests of a level that is recorded, at most, unless more are asked for."""
MOST_KEPT = 2_000_000
"""Requests that a run keeps, all levels together: each takes 1.4 kB while it is simulated (measured: 345 MB for 120,000
against 208 MB for 20,000), so that such a run fits 4 GB."""
MOST_IN_FLIGHT = 512
"""The highest level of a closed sweep where none are given."""


class Simulation:
    """Simulates level after level of one run, and fills in its header."""

    def __init__(
        self, workload: SyntheticWorkload, served: Replica, limits: EngineLimits, fleet: Fleet, pattern: str,
        cached_share: float, prefix_cache: bool, requests: int | None, header: RunHeader,
    ) -> None:  # fmt: skip
        self.workload, self.served, self.limits, self.fleet = workload, served, limits, fleet
        self.pattern, self.cached_share, self.prefix_cache = pattern, cached_share, prefix_cache
        self.requests, self.header = requests, header
        self.index = 0
        self.telling_s = 0.0
        """How long a level must be to tell whether it is within the SLO that was searched for. [s]"""
        self.tells_from = math.inf
        """From this rate on a level has as many requests as the search had. [1/s]"""
        self.preemptions = self.recomputed = 0
        self.replica_s: list[tuple[str, float, float]] = []
        self.cached = self.input = 0

    def _level(self, level: Level, count: int, pattern: str | None, outputs: int | None = None) -> list[RequestRecord]:
        import numpy as np

        from rackrate.app.simulated_load import requests_of
        from rackrate.simulation.record import simulate_level
        from rackrate.simulation.settings import Requests

        self.header.levels.append(level)
        sent, name = requests_of(
            self.workload, count, pattern=pattern, rate=level.rate or 1.0,
            level=0 if pattern is not None else level.index,  # rates have common random numbers
            cached_share=self.cached_share, prefix_cache=self.prefix_cache,
        )  # fmt: skip
        if pattern is not None:
            level.arrivals = name
        lengths = np.asarray(sent.output_tokens).copy()
        if outputs is not None:
            lengths[:] = outputs
        elif level.concurrency:
            # as a measurement does it: first requests of evenly spread shares, so that workers do not march in step
            places = np.random.default_rng([self.workload.seed, level.index, 7]).permutation(level.concurrency)
            shares = (places + 0.5) / level.concurrency
            first = lengths[: level.concurrency]
            first[:] = np.maximum(1, np.ceil(first * shares[: len(first)]))
        sent = Requests(
            sent.due_s, sent.input_tokens, lengths, sent.cached_tokens, sent.group, sent.hash_start, sent.hashes,
            sent.hash_tokens,
        )  # fmt: skip
        outcome, records = simulate_level(level, sent, self.served.step, self.limits, self.fleet, self.index)
        self.index += len(records)
        self.preemptions += outcome.preemptions
        self.recomputed += outcome.recomputed_tokens
        self.cached += outcome.cached_tokens
        self.input += outcome.input_tokens
        self.replica_s.append((name, outcome.replica_s, outcome.end_s))
        return records

    def _next(self, kind: str, concurrency: int | None, rate: float | None) -> Level:
        from rackrate.runs.records import Level

        levels = self.header.levels
        return Level(
            index=len(levels),
            kind=kind,  # pyright: ignore[reportArgumentType]
            concurrency=concurrency,
            rate=rate,
            warmed_up=True,
            started_s=(levels[-1].ended_s or 0.0) + 1.0 if levels else 0.0,
        )

    def refuse_too_many(self, rates: Sequence[float], levels: Sequence[int]) -> None:
        """Raises UserError where the loads have more requests together than a run can keep."""
        from rackrate.errors import UserError

        of_levels = sum(self._number_closed(level) for level in levels)
        wanted = of_levels + len(rates) * (self.requests or 1000)
        if wanted > MOST_KEPT:
            raise UserError(
                f"these loads have {wanted:,} requests, and a run keeps at most {MOST_KEPT:,}: ask for fewer "
                "{requests}, or a lower {levels}; {aggregates} keeps none of them",
                fields=("requests", "levels", "aggregates"),
            )

    def _number_closed(self, concurrency: int) -> int:
        """Ten requests for each in flight, besides the first ones and those that run out at the end."""
        return self.requests or max(200, 12 * concurrency)

    def open_level(self, rate: float) -> list[RequestRecord]:
        """Requests that come at a rate, whatever becomes of them."""
        least = SEARCHED if rate >= self.tells_from else 1000
        number = self.requests or min(max(least, round(self.telling_s * rate)), MOST_TELLING)
        return self._level(self._next("open", None, rate), number, self.pattern)

    def closed_sweep(self, levels: list[int]) -> list[RequestRecord]:
        """So many in flight, one level after the other; where none are given, doubled until gains end; then prefill."""
        from rackrate.measurement.sweep import gains_ended
        from rackrate.metrics.saturation import saturation
        from rackrate.metrics.summary import summarise_level

        wanted = levels or [2**n for n in range(MOST_IN_FLIGHT.bit_length())]
        done: list[RequestRecord] = []
        summaries: list[LevelSummary] = []
        for concurrency in wanted:
            level = self._next("closed", concurrency, None)
            records = self._level(level, self._number_closed(concurrency), None)
            done += records
            summaries.append(summarise_level(level, records))
            if not levels and gains_ended([summary.output_tok_s or 0.0 for summary in summaries]):
                break
        best = saturation(summaries)
        if best is not None and best.level.concurrency:
            level = self._next("prefill", best.level.concurrency, None)
            done += self._level(level, 12 * best.level.concurrency, None, outputs=1)
        return done

    def search(self, slo: Slo) -> list[float]:
        """The capacity within an SLO, and the loads of the run: shares of it, and one beyond."""
        from rackrate.errors import UserError
        from rackrate.planner.bounds import idle_words, least_busy_s, missed_when_idle, when_idle
        from rackrate.simulation.capacity import find_capacity, telling_requests

        draw = self._draw()
        if missed_when_idle(draw, slo, self.served.step, self.limits):
            reached = when_idle(draw, slo, self.served.step, self.limits)
            raise UserError(f"no rate is sustained within {slo}: {idle_words(reached)}; loosen {{slo}}", field="slo")
        guess = 0.5 * self.fleet.size / least_busy_s(draw, self.served.step, self.limits)
        found = find_capacity(draw, slo, self.served.step, self.limits, self.fleet, guess=guess)
        if not found.rate:
            raise UserError(
                f"no rate is sustained within {slo}, not even one request at a time; loosen {{slo}}", field="slo"
            )
        if found.at is not None:
            self.telling_s = telling_requests(found.at, slo) / found.rate
        self.tells_from = 0.95 * found.rate
        return [float(f"{found.rate * share:.3g}") for share in (0.25, 0.5, 0.75, 0.9, 0.98, 1.2)]

    def _draw(self) -> Draw:
        """Requests at rate 1 as they will come: the draw of `plan`, for the same seed and arrivals."""
        import numpy as np

        from rackrate.simulation.capacity import Draw
        from rackrate.workload.schedule import draw

        found = draw(self.pattern, 1.0, self.requests or SEARCHED, self.workload)
        inputs, outputs = found.input_tokens.astype(np.int32), found.output_tokens.astype(np.int32)
        return Draw(found.due_s, inputs, outputs, (inputs * self.cached_share).astype(np.int32))

    def notes(self) -> list[str]:
        """What the simulation knows and a measurement does not."""
        from rackrate.app.simulated_replica import served_note

        found = [served_note(self.header)]
        if self.cached:
            found.append(f"Prefix cache: {self.cached / self.input:.1%} of the input tokens were cached.")
        if self.preemptions:
            found.append(
                f"{self.preemptions} preemptions for lack of KV cache; {self.recomputed:,} tokens computed again."
            )
        trace = self.workload.trace
        if self.telling_s and self.prefix_cache and trace is not None and trace.block_ids is not None:
            found.append(
                "The search for the capacity did not follow the trace's prefix blocks, which the loads above do."
            )
        if self.fleet.autoscaler is not None:
            on = sum(seconds for _, seconds, _ in self.replica_s)
            span = sum(end for _, _, end in self.replica_s)
            found.append(f"Replicas on: {on / span:.2f} on average, cold starts included.")
            shortest = min(end for _, _, end in self.replica_s)
            if shortest < 2 * self.fleet.autoscaler.cold_start_s:
                found.append(
                    f"A load lasted {shortest:,.0f} s, and a replica takes {self.fleet.autoscaler.cold_start_s:g} s to "
                    "start: what scaling does is hardly seen. Simulate more requests."
                )
        return found
