"""How long the shipped studies take at their own number of draws. Prints, gates nothing."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from rackrate.catalog.load import load_catalog
from rackrate.studies.evaluate import evaluate
from rackrate.studies.loading import load_study

STUDIES = Path(__file__).resolve().parent.parent / "studies"


def main() -> None:
    """Times each study twice: with what is imported late, and without."""
    catalog = load_catalog()
    for file in sorted(STUDIES.glob("*.yaml")):
        loaded = load_study(file)
        began = time.perf_counter()
        result = evaluate(loaded, catalog)
        took = [time.perf_counter() - began]
        for _ in range(2):
            began = time.perf_counter()
            evaluate(loaded, catalog)
            took.append(time.perf_counter() - began)
        rows = sum(len(question.rows) for question in result.questions)
        sys.stdout.write(
            f"{file.name}: {result.draws:,} draws, {rows} rows: "
            f"{took[0]:.2f} s the first time, {min(took[1:]):.2f} s then\n"
        )


if __name__ == "__main__":
    main()
