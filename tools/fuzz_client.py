"""Fuzzes the client's reading of answers for as long as is asked: `python tools/fuzz_client.py --seconds 170`.

Answers of every kind are made, damaged and cut at random; what the client makes of their packets must be what a slow
reader makes of them (`tests/client_fuzzing.py`). Cases that end in a new way are kept in the corpus, which the
tests replay, and are damaged further. The first that differs is printed and ends it.
"""

from __future__ import annotations

import argparse
import importlib
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent.parent / "tests"
CORPUS = TESTS / "measurement" / "client_corpus.jsonl"
_LARGEST = 3000
"""Larger cases are not kept."""


def main() -> None:
    """Compares until the time is up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of processor time")
    parser.add_argument("--seed", type=int, default=0, help="of the first case; the n-th has seed + n")
    parser.add_argument("--corpus", type=Path, default=CORPUS)
    asked = parser.parse_args()
    sys.path.insert(0, str(TESTS))
    fuzzing: Any = importlib.import_module("client_fuzzing")

    lines: list[str] = asked.corpus.read_text(encoding="utf-8").splitlines() if asked.corpus.exists() else []
    kept: list[list[bytes]] = [[part.encode("latin-1") for part in json.loads(line)] for line in lines]
    known: set[Any] = {fuzzing.way(packets) for packets in kept}
    began_s = time.process_time()
    count = skipped = 0
    while time.process_time() - began_s < asked.seconds:
        draw = random.Random(asked.seed + count)  # noqa: S311 - nothing secret
        packets = draw.choice(kept) if kept and draw.random() < 0.3 else fuzzing.made(draw)
        if count % 4:
            packets = fuzzing.damaged(draw, packets)
        _, slow = fuzzing.compare(packets)
        count += 1
        skipped += slow is None
        if sum(map(len, packets)) > _LARGEST or len(packets) > 60:
            continue
        way = fuzzing.way(packets)
        if way not in known:
            known.add(way)
            kept.append(packets)
            with asked.corpus.open("a", encoding="utf-8") as file:
                file.write(json.dumps([packet.decode("latin-1") for packet in packets]) + "\n")
    sys.stdout.write(
        f"{count} cases in {time.process_time() - began_s:.0f} s, all alike; {skipped} only read by the client; "
        f"{len(kept)} in the corpus\n"
    )


if __name__ == "__main__":
    main()
