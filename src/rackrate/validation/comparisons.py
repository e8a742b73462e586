"""How good the predictions are: errors by class, by accelerator, engine and source, and the coverage of the
intervals."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from rackrate.errors import UserError
from rackrate.steptime.deployment import figure_classes
from rackrate.validation.cases import Case
from rackrate.validation.fitting import figures, predict
from rackrate.validation.published import Published

LOW, NEAR, OVER = "low", "near", "over"

CLASS_NAMES = {
    "throughput": "throughput (static batch, offline, closed loop, over capacity)",
    "throughput-below": "throughput below capacity (set by the arrivals)",
    "tpot-low": "time per token, idle and low load",
    "tpot-closed": "time per token, closed loop of more than 16 streams",
    "tpot-near": "time per token, near capacity",
    "tpot-over": "time per token, over capacity",
    "ttft-low": "time to first token, below saturation",
    "ttft-near": "time to first token, near capacity",
    "ttft-over": "time to first token, over capacity",
    "ttft-queued": "time to first token of clients that keep one request queued",
    "e2e": "time of a whole request, below saturation",
}
HEADLINE = ("throughput", "tpot-low", "tpot-closed", "tpot-over", "ttft-low", "e2e")


@dataclass(frozen=True)
class Comparison:
    """One published figure beside its prediction. SI units."""

    case: Case
    kind: str
    """Class, a key of CLASS_NAMES."""
    observed: float
    predicted: float
    low: float | None = None
    """Ends of the 80 % interval; None where there are no residuals of this class to say."""
    high: float | None = None

    @property
    def log_ratio(self) -> float:
        """ln(predicted / observed)."""
        return math.log(self.predicted / self.observed)

    @property
    def covered(self) -> bool | None:
        """Whether the interval has the observation."""
        return None if self.low is None or self.high is None else self.low <= self.observed <= self.high


def load_level(case: Case, sustained_tok_s: float) -> str:
    """Whether a run's arrivals are well below, near or over what the deployment sustains by our own prediction.

    Arrivals of a Poisson run as a share of capacity: below 0.7 low, above 1.3 over.
    """
    share = case.load.value * case.load.output_tokens * case.parallel.data / sustained_tok_s
    return LOW if share < 0.7 else OVER if share > 1.3 else NEAR


def classes_of(case: Case, level: str | None) -> dict[str, str]:
    """The class of each figure of a case: {"throughput": ..., "tpot": ..., "ttft": ..., "e2e": ...}."""
    kinds = figure_classes(case.load, level)
    if "queued-ttft" in case.flags:
        kinds["ttft"] = "ttft-queued"
        kinds.pop("e2e", None)
    return kinds


def compare_case(case: Case, values: Mapping[str, float], with_machine: bool) -> list[Comparison]:
    """Each published figure of a row with what the model says."""
    from dataclasses import replace

    got = figures(predict(case, values, with_machine))
    level = None
    if case.load.kind == "poisson":
        count = max(case.load.requests, 200)
        flood = replace(case, load=replace(case.load, kind="burst", value=0.0, requests=count))
        sustained = predict(flood, values, with_machine).output_tok_s
        level = load_level(case, sustained)
    kinds = classes_of(case, level)
    seen = case.observed
    pairs: list[tuple[str, float | None, float | None]] = [
        ("throughput", seen.output_tok_s, got["throughput"]),
        ("tpot", seen.tpot_s, got["tpot"]),
        ("ttft", seen.ttft_s, got["ttft"]),
    ]
    tpot, ttft = got["tpot"], got["ttft"]
    if seen.tpot_s is not None and seen.ttft_s is not None and tpot is not None and ttft is not None:
        more = case.load.output_tokens - 1
        pairs.append(("e2e", seen.ttft_s + more * seen.tpot_s, ttft + more * tpot))
    found: list[Comparison] = []
    for name, observed, predicted in pairs:
        if name in kinds and observed and predicted and predicted > 0 and math.isfinite(predicted):
            found.append(Comparison(case, kinds[name], observed, predicted))
    return found


@dataclass(frozen=True)
class Errors:
    """Errors of one class over some rows: |ln(predicted/observed)|."""

    count: int
    median: float
    p90: float
    bias: float
    """Median of ln(predicted/observed): above 0 too high."""
    cells: int
    cell_median: float
    """Median over cells (file, accelerator, engine) of the cell's median error."""
    coverage: float | None
    """Share of the observations within the 80 % interval."""


def quantile(values: Sequence[float], share: float) -> float:
    """Linear interpolation between order statistics (NumPy's default)."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    lower = math.floor(place)
    upper = min(lower + 1, len(ordered) - 1)
    return ordered[lower] + (place - lower) * (ordered[upper] - ordered[lower])


def errors_of(comparisons: Sequence[Comparison]) -> Errors | None:
    """None where there is nothing to compare."""
    if not comparisons:
        return None
    sizes = [abs(comparison.log_ratio) for comparison in comparisons]
    cells: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for comparison, size in zip(comparisons, sizes, strict=True):
        cells[comparison.case.cell].append(size)
    medians = [quantile(each, 0.5) for each in cells.values()]
    known = [comparison.covered for comparison in comparisons if comparison.covered is not None]
    return Errors(
        len(sizes),
        quantile(sizes, 0.5),
        quantile(sizes, 0.9),
        quantile([comparison.log_ratio for comparison in comparisons], 0.5),
        len(cells),
        quantile(medians, 0.5),
        sum(known) / len(known) if known else None,
    )


def by_class(comparisons: Iterable[Comparison]) -> dict[str, list[Comparison]]:
    """Comparisons of each class, in the order of CLASS_NAMES."""
    table: dict[str, list[Comparison]] = {name: [] for name in CLASS_NAMES}
    for comparison in comparisons:
        table[comparison.kind].append(comparison)
    return {name: found for name, found in table.items() if found}


def reasons(published: Iterable[Published]) -> list[tuple[str, int]]:
    """Why rows were left out, most frequent first."""
    return Counter(reason for table in published for _, reason in table.left_out).most_common()


def compare_all(
    cases: Sequence[Case], values: Mapping[str, float], with_machine: bool, tick: Callable[[int], None] = lambda _: None
) -> tuple[list[Comparison], list[tuple[int, str]]]:
    """All comparisons, and the rows that could not be predicted after all with the reason."""
    found: list[Comparison] = []
    failed: list[tuple[int, str]] = []
    for number, case in enumerate(cases, start=1):
        try:
            found.extend(compare_case(case, values, with_machine))
        except UserError as error:
            failed.append((case.line, str(error)))
        if number % 50 == 0:
            tick(number)
    tick(len(cases))
    return found, failed
