"""The load of a published row, from its words for concurrency, rates and data sets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from rackrate.steptime.load import Load, LoadKind
from rackrate.validation.names import CannotPredictError, number_of

MOST_AT_ONCE, MOST_TOKENS = 100_000, 10_000_000
"""Beyond these a row is a slip of the pen: sequences or requests per second; requests, or tokens of one."""

# Mean prompt tokens of data sets that rows name but do not count. AccelMark: sibling rows on the same prompts. MLPerf:
# from MLCommons' posts on 405B (9,428) and 8B (778); the others are guesses, so that none of these rows is fitted.
_PROMPTS: tuple[tuple[str, str, float], ...] = (
    ("notes", "sharegpt_standard", 257),
    ("notes", "sharegpt_edge", 104),
    ("notes", "sharegpt_longctx", 28640),
    ("variant", "llama2-70b", 160),
    ("variant", "llama3.1-405b", 9430),
    ("variant", "llama3.1-8b", 780),
    ("variant", "mixtral-8x7b", 300),
    ("variant", "deepseek-r1", 800),
)
_OUTPUTS: tuple[tuple[str, float], ...] = (("max_new=512", 352), ("max_new=256", 212))
# Prompt lengths of conversations: mean 236, standard deviation 145 in the prompts that AccelMark publishes.
_SPREAD_CV = 0.61


def load_of_row(row: Mapping[str, str], replicas: int) -> tuple[Load, frozenset[str]]:
    """The load of one replica, and what is known to be wrong with it. Raises CannotPredictError."""
    text, notes = row["concurrency_or_rate"].lower(), row["notes"]
    prompt = 1.0 if row["isl"].strip() == "0" else number_of(row["isl"])  # an empty prompt still has its first token
    output = number_of(row["osl"])
    flags: set[str] = set()
    if prompt is None:
        where = notes.lower()
        prompt, assumed = next(
            ((mean, kind == "variant") for kind, word, mean in _PROMPTS if word in where), (None, False)
        )
        if assumed:
            flags.add("assumed-prompt")
    if output is None:
        output = next((mean for word, mean in _OUTPUTS if word in notes), None)
    if prompt is None or output is None:
        raise CannotPredictError("prompt or output length not stated")
    cap = None
    named = re.search(r"max_new=(\d+)", notes)
    spread = "dataset" in notes or "mlperf" in row["source"].lower() or "mlcommons" in row["source"].lower()
    spread = spread or "sharegpt" in notes.lower()
    if named is not None:
        cap = float(named[1])
    elif spread:
        cap = 128.0 if output <= 130 else 4 * output
    cv = _SPREAD_CV if spread and "longctx" not in notes else 0.0
    stated = re.search(r"n_req=(\d+)", notes) or re.search(r"(\d+) req", text)
    count = int(stated[1]) if stated else None

    def load(kind: LoadKind, value: float, requests: int, whole: bool = True) -> Load:
        if (kind != "burst" and not 0 < value <= MOST_AT_ONCE) or max(requests, prompt, output) > MOST_TOKENS:
            raise CannotPredictError("load, prompt or output out of all proportion")
        return Load(kind, value, max(requests, 1), prompt, output, cap, cv, whole)

    numbers = [float(item) for item in re.findall(r"\d+(?:\.\d+)?", text)]
    if "target_qps" in text and numbers:
        if "offline" in text:
            return load("burst", 0, 24576 // replicas if prompt < 2000 else 8192 // replicas), frozenset(flags)
        if "singlestream" in text:
            return load("closed", 1, 16, whole=False), frozenset(flags)
        rate = numbers[-1] / replicas
        # runs last ten minutes at least (MLPerf rules, min_duration): shorter ones would end before they are full
        return load("poisson", rate, int(min(max(rate * 600, 300), 12000))), frozenset(flags)
    if "burst test" in text:
        # the steady seconds of a test that had a burst before: the queue it left is not stated
        if "steady" in text:
            flags.add("burst")
        return load("poisson", numbers[0] / replicas, count or 300), frozenset(flags)
    if re.search(r"burst \d+", text) and numbers:
        return load("poisson", numbers[0] / replicas, max(int(numbers[0] * numbers[1] / replicas), 1)), frozenset(flags)
    if ("qps" in text or "rps" in text or "rate=" in text or "req/s" in text) and numbers:
        rate = numbers[0] / replicas
        return load("poisson", rate, (count or 300) // replicas), frozenset(flags)
    if "infinite" in text or "max load" in text or "inf" in text.split():
        if count is None:
            long = prompt + output
            count = 3000 if long <= 2600 else 1500 if long <= 6000 else 1000
        return load("burst", 0, count // replicas), frozenset(flags)
    if "offline" in text and numbers:
        return load("burst", 0, int(numbers[0]) // replicas), frozenset(flags)
    if not numbers:
        raise CannotPredictError("load not understood")
    if "sequential" in text:
        return load("closed", 1, 24, whole=False), frozenset(flags)
    if "batch" in text or "bs=" in text:
        size = int(numbers[0])
        return load("static", size, max(size // replicas, 1)), frozenset(flags)
    if "conc" in text or "users" in text or "streams" in text or "closed" in text or "parallel" in text:
        streams = max(numbers[0] / replicas, 1)
        requests = int(min(max(4 * streams, 24), max(2.0 * streams, 1500)))
        # clients that draw lengths at random do not move in lockstep; those that repeat one length do
        drawn = "llmperf" in notes.lower()
        return replace(load("closed", streams, requests, whole=False), staggered=drawn), frozenset(flags)
    raise CannotPredictError("load not understood")
