"""The oracle: the same scheduling written plainly, one engine step after another, with lists and no shortcuts.

It follows vLLM's scheduler (V1, first come first served) as its documentation and `vllm/v1/core/sched/scheduler.py`
describe it: running requests first, one token each or a chunk of the prompt; preemption of the last admitted; then
admission in order while budget, sequences and pages allow. llama.cpp's server has a class of its own. Nothing here is
shared with the simulator but the time of a step, and of a micro-batch.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from rackrate.simulation.routing import mixed_bits
from rackrate.simulation.settings import EngineLimits, Fleet
from rackrate.simulation.step import StepTime, dense_s


@dataclass
class Asked:
    number: int
    due: float
    input: int
    output: int
    cached: int = 0
    group: int = -1
    hashes: tuple[int, ...] = ()
    # what becomes of it
    tokens: list[float] = field(default_factory=list[float])
    computed: int = 0
    target: int = 0
    prefilled: bool = False
    hits: int | None = None
    preempted: int = 0
    replica: int = -1
    pages: int = 0
    """Private ones."""
    shared: list[int] = field(default_factory=list[int])

    @property
    def stored(self) -> int:
        return self.input + len(self.tokens) - 1


class Replica:
    def __init__(self, step: StepTime, limits: EngineLimits, hash_tokens: int) -> None:
        self.step, self.limits = step, limits
        self.page = limits.block_tokens
        self.hash_tokens = hash_tokens
        self.hash_pages = hash_tokens // self.page
        self.empty = limits.blocks
        self.held: dict[int, int] = {}
        self.unused: OrderedDict[int, None] = OrderedDict()
        """Cached blocks that nobody holds, oldest first."""
        self.waiting: list[Asked] = []
        self.running: list[Asked] = []
        self.ends: float | None = None
        self.forms: float | None = None
        self.decoding: list[Asked] = []
        self.prompts: list[Asked] = []
        self.state = "on"
        self.ready_at = self.on_since = 0.0
        self.busy = 0.0

    @property
    def load(self) -> int:
        return len(self.waiting) + len(self.running)

    @property
    def free(self) -> int:
        return self.empty + len(self.unused) * self.hash_pages

    def leading(self, blocks: Sequence[int]) -> int:
        """How many of the first blocks are in the cache, without a gap."""
        return next((n for n, block in enumerate(blocks) if block not in self.held), len(blocks))

    def take(self, pages: int) -> None:
        while self.empty < pages:
            block, _ = self.unused.popitem(last=False)
            del self.held[block]
            self.empty += self.hash_pages
        self.empty -= pages

    def admit(self, asked: Asked, reserved: int) -> bool:
        asked.target = asked.input + len(asked.tokens)
        blocks = list(asked.hashes[: asked.input // self.hash_tokens]) if self.hash_tokens else []
        leading = self.leading(blocks)
        absent = [block for block in blocks if block not in self.held]
        unused = [block for block in blocks if self.held.get(block) == 0]
        private = -(-asked.target // self.page) - len(blocks) * self.hash_pages
        spare = math.floor(self.limits.watermark * self.limits.blocks) if self.running else 0
        if private + (len(absent) + len(unused)) * self.hash_pages + spare > self.free - reserved:
            return False
        for block in blocks:
            if block in self.held:
                self.unused.pop(block, None)
                self.held[block] += 1
        for block in absent:
            self.take(self.hash_pages)
            self.held[block] = 1
        self.take(private)
        asked.pages, asked.shared = private, blocks
        given = max(asked.cached, leading * self.hash_tokens)
        asked.computed = min(given, (asked.target - 1) // self.page * self.page)
        if asked.hits is None:
            asked.hits = asked.computed
        asked.prefilled = False
        return True

    def release(self, asked: Asked) -> None:
        self.empty += asked.pages
        asked.pages = 0
        for block in reversed(asked.shared):
            self.held[block] -= 1
            if self.held[block] == 0:
                self.unused[block] = None
        asked.shared = []

    def form(self, now: float) -> None:
        """Schedules one step."""
        self.forms = None
        preempted = False
        decoding: list[Asked] = []
        position = 0
        while position < len(self.running):
            item = self.running[position]
            position += 1
            if not item.prefilled:
                continue
            needs = item.stored % self.page == 0
            while needs and self.free < 1:
                last = self.running.pop()
                self.release(last)
                last.preempted += 1
                last.computed = 0
                last.prefilled = False
                self.waiting.insert(0, last)
                preempted = True
                if last is item:
                    break
            if item not in self.running:
                break
            if needs:
                self.take(1)
                item.pages += 1
            decoding.append(item)
        budget = self.limits.max_num_batched_tokens - len(decoding)
        prompts: list[tuple[Asked, int]] = []
        stuck = False
        for sequence in self.running:
            if not sequence.prefilled:
                chunk = min(sequence.target - sequence.computed, budget)
                if chunk > 0:
                    prompts.append((sequence, chunk))
                    budget -= chunk
                stuck = stuck or chunk < sequence.target - sequence.computed
        while not preempted and not stuck and budget > 0 and self.waiting:
            if len(self.running) >= self.limits.max_num_seqs or not self.admit(self.waiting[0], 0):
                break
            item = self.waiting.pop(0)
            self.running.append(item)
            chunk = min(item.target - item.computed, budget)
            prompts.append((item, chunk))
            budget -= chunk
            stuck = chunk < item.target - item.computed
        if not decoding and not prompts:
            return
        pairs = sum(chunk * (prompt.computed + 0.5 * (chunk + 1)) for prompt, chunk in prompts)
        seconds = self.step.seconds(
            len(decoding),
            sum(sequence.stored + 1 for sequence in decoding),
            len(prompts),
            sum(c for _, c in prompts),
            pairs,
        )
        for prompt, chunk in prompts:
            prompt.computed += chunk
        self.decoding, self.prompts = decoding, [prompt for prompt, _ in prompts]
        self.ends = now + seconds
        self.busy += seconds

    def end(self) -> list[Asked]:
        """Tokens of the step; returns who is done."""
        assert self.ends is not None
        now, self.ends = self.ends, None
        done: list[Asked] = []
        # by number: only the prefix cache's order of last use can tell
        for prompt in sorted(self.decoding, key=lambda item: item.number) + self.prompts:
            if not prompt.prefilled and prompt.computed < prompt.target:
                continue
            prompt.prefilled = True
            prompt.tokens.append(now)
            if len(prompt.tokens) == prompt.output:
                done.append(prompt)
                self.running.remove(prompt)
                self.release(prompt)
        self.forms = now
        return done


class SlotReplica(Replica):
    """llama.cpp's server, token by token, as update_slots (tools/server/server-context.cpp) and split_equal
    (src/llama-batch.cpp) have it: slots, a batch that prompts fill up in the order of slots, micro-batches of rows."""

    def __init__(self, step: StepTime, limits: EngineLimits, hash_tokens: int) -> None:
        super().__init__(step, limits, hash_tokens)
        self.slots: list[Asked | None] = [None] * limits.max_num_seqs
        self.left_at = [0] * limits.max_num_seqs
        """When each slot was left last, by a clock that counts departures; 0: never used."""
        self.departures = 0

    def free_slot(self) -> int:
        free = [slot for slot, item in enumerate(self.slots) if item is None]
        if self.limits.similar_prompts:
            for slot in free:
                if self.left_at[slot]:
                    return slot
        oldest = min(self.left_at[slot] for slot in free)
        return max(slot for slot in free if self.left_at[slot] == oldest)

    def form(self, now: float) -> None:
        self.forms = None
        while self.waiting and None in self.slots:
            entry = self.waiting.pop(0)
            entry.target, entry.prefilled = entry.input, False
            entry.hits = entry.computed = min(entry.cached, (entry.target - 1) // self.page * self.page)
            self.slots[self.free_slot()] = entry
            self.running.append(entry)
        batch = [slot for slot, item in enumerate(self.slots) if item is not None and item.prefilled]
        self.decoding = [slot for slot in self.slots if slot is not None and slot.prefilled]
        prompts: list[tuple[Asked, int]] = []
        for slot, item in enumerate(self.slots):
            if item is None or item.prefilled:
                continue
            size = 0
            while item.computed + size < item.target and len(batch) < self.limits.max_num_batched_tokens:
                batch.append(slot)
                size += 1
            if size:
                prompts.append((item, size))
        self.prompts = [prompt for prompt, _ in prompts]
        if not batch:
            return
        sizes = self.micro_batches(batch)
        assert sum(sizes) == len(batch)
        sequences = len(self.decoding) + len(prompts)
        step = self.step
        seconds = sum(dense_s(step.as_record(), size) for size in sizes) + (len(sizes) - 1) * step.micro_step_s
        seconds += step.step_s + step.sequence_s * sequences
        crowded = step.large_batch_context if len(self.decoding) > step.large_batch_over else 1.0
        seconds += step.context_s * crowded * sum(sequence.stored + 1 for sequence in self.decoding)
        if prompts:
            pairs = sum(chunk * (prompt.computed + 0.5 * (chunk + 1)) for prompt, chunk in prompts)
            seconds += step.prefill_step_s + step.pair_s * pairs
        seconds = max(seconds, step.floor_s + step.floor_sequence_s * sequences)
        for prompt, chunk in prompts:
            prompt.computed += chunk
        self.ends = now + seconds
        self.busy += seconds

    def micro_batches(self, batch: list[int]) -> list[int]:
        """Tokens of each; `batch` has the slot of each token."""
        limit = self.limits.micro_batch_tokens
        if self.limits.unified_cache:
            return [len(batch[begin : begin + limit]) for begin in range(0, len(batch), limit)]
        used = [False] * len(batch)
        sizes: list[int] = []
        while not all(used):
            rows: list[int] = []
            for token, slot in enumerate(batch):
                if not used[token] and slot not in rows and (not rows or slot == rows[-1] + 1):
                    rows.append(slot)
            of_each = 0
            while True:
                following = [[t for t, slot in enumerate(batch) if slot == row and not used[t]] for row in rows]
                if not all(following):
                    break
                for tokens in following:
                    used[tokens[0]] = True
                of_each += 1
                if (of_each + 1) * len(rows) > limit:
                    break
            sizes.append(of_each * len(rows))
        return sizes

    def end(self) -> list[Asked]:
        assert self.ends is not None
        now, self.ends = self.ends, None
        done: list[Asked] = []
        for slot, item in enumerate(self.slots):
            if item is None or (item not in self.decoding and item not in self.prompts):
                continue
            if not item.prefilled and item.computed < item.target:
                continue
            item.prefilled = True
            item.tokens.append(now)
            if len(item.tokens) == item.output:
                done.append(item)
                self.running.remove(item)
                self.slots[slot] = None
                self.departures += 1
                self.left_at[slot] = self.departures
        self.forms = now
        return done


def run(
    asked: Sequence[Asked],
    step: StepTime,
    limits: EngineLimits,
    fleet: Fleet | None = None,
    users: int = 0,
    hash_tokens: int = 0,
) -> tuple[list[Asked], float]:
    """Every request with the times of its tokens, and the seconds that replicas were on."""
    fleet = fleet or Fleet()
    scaler = fleet.autoscaler
    kind = SlotReplica if limits.scheduling == "llama.cpp" else Replica
    replicas = [kind(step, limits, hash_tokens) for _ in range(fleet.size)]
    if scaler:
        for item in replicas[scaler.least :]:
            item.state = "off"
    on_seconds = 0.0
    look = scaler.interval_s if scaler else math.inf
    low_since: float | None = None
    turn = 0
    pauses = [demand.due for demand in asked]
    queue = list(asked)
    pending: list[tuple[float, int]] = []
    sent = 0
    if users:
        sent = min(users, len(asked))
        pending = [(0.0, n) for n in range(sent)]
    unfinished = len(asked)
    now = 0.0
    while unfinished:
        arrival = pending[0][0] if users and pending else queue[0].due if not users and queue else math.inf
        ends = min((replica.ends for replica in replicas if replica.ends is not None), default=math.inf)
        forms = min((replica.forms for replica in replicas if replica.forms is not None), default=math.inf)
        now = min(ends, arrival, forms, look)
        assert now < math.inf
        if ends <= min(arrival, forms, look):
            replica = next(replica for replica in replicas if replica.ends == ends)
            done = replica.end()
            unfinished -= len(done)
            for _ in done:
                if users and sent < len(asked):
                    pending.append((ends + pauses[sent], sent))
                    pending.sort(key=lambda pair: pair[0])
                    sent += 1
            if replica.state == "draining" and replica.load == 0:
                replica.state = "off"
                on_seconds += now - replica.on_since
        elif arrival <= min(forms, look):
            entry = asked[pending.pop(0)[1]] if users else queue.pop(0)
            entry.due = arrival
            for replica in replicas:
                if replica.state == "starting" and replica.ready_at <= now:
                    replica.state = "on"
            on = [replica for replica in replicas if replica.state == "on"]
            if fleet.router == "least-loaded":
                chosen = min(on, key=lambda replica: replica.load)
            elif fleet.router == "prefix-affine" and len(replicas) > 1:
                wanted = None
                if hash_tokens:
                    blocks = entry.hashes[: entry.input // hash_tokens]
                    matches = [replica.leading(blocks) for replica in on]
                    if max(matches) and 2 * max(matches) >= len(blocks):
                        wanted = on[matches.index(max(matches))]
                elif entry.group >= 0:
                    wanted = on[mixed_bits(entry.group) % len(on)]
                fewest = min(on, key=lambda replica: replica.load)
                chosen = fewest if wanted is None or wanted.load > 1.5 * fewest.load + 4 else wanted
            elif len(replicas) == 1:
                chosen = replicas[0]
            else:
                chosen = on[turn % len(on)]
                turn += 1
            entry.replica = replicas.index(chosen)
            chosen.waiting.append(entry)
            if chosen.ends is None and chosen.forms is None:
                chosen.forms = arrival
        elif forms <= look:
            next(replica for replica in replicas if replica.forms == forms).form(forms)
        else:
            assert scaler is not None
            for replica in replicas:
                if replica.state == "starting" and replica.ready_at <= now:
                    replica.state = "on"
            there = sum(replica.state in {"starting", "on"} for replica in replicas)
            wanted = math.ceil(sum(replica.load for replica in replicas) / scaler.target_in_flight)
            wanted = min(max(wanted, scaler.least), scaler.most)
            for state in ("draining", "off"):
                for replica in replicas:
                    if there < wanted and replica.state == state:
                        there += 1
                        if state == "draining":
                            replica.state = "on"
                        else:
                            replica.state = "starting"
                            replica.ready_at, replica.on_since = now + scaler.cold_start_s, now
            if wanted < there:
                low_since = now if low_since is None else low_since
                if now - low_since >= scaler.down_delay_s:
                    surplus = there - wanted
                    for replica in reversed(replicas):
                        if surplus and replica.state == "starting":
                            replica.state = "off"
                            on_seconds += now - replica.on_since
                            surplus -= 1
                    for replica in reversed(replicas):
                        if surplus and replica.state == "on" and sum(replica.state == "on" for replica in replicas) > 1:
                            surplus -= 1
                            replica.state = "off" if replica.load == 0 else "draining"
                            if replica.state == "off":
                                on_seconds += now - replica.on_since
            else:
                low_since = None
            look = now + scaler.interval_s
    first = 0.0 if scaler else min(demand.due for demand in asked)
    on_seconds += sum(now - max(replica.on_since, first) for replica in replicas if replica.state != "off")
    return list(asked), on_seconds
