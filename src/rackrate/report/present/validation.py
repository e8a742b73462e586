"""How far predictions of published rows are off, by class of figure, and for what no fit has seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rackrate.report.document import Block, Column, Document, Note, Section, Table, notes
from rackrate.schemas import checks as views
from rackrate.schemas.root import key_of
from rackrate.units import share_off
from rackrate.validation.cross_validation import OTHER


def document(view: views.ValidateView, *, full: bool = False) -> Document:
    """The errors; where `full`, also of groups that were left out, by group: docs/validation.md."""
    fitted = view.coefficients
    lead = "Every published row of the files below is predicted as if its machine were unknown"
    read = (
        "An error of 50 %: the larger of predicted and observed is 50 % above the smaller; bias is the median of "
        "predicted over observed, less 1; cells are (file, accelerator, engine), of cells: the median of their "
        "medians; covers: how many the 80 % interval has."
    )
    flatters = (
        f"The coefficients were fitted on {fitted.written} to {fitted.rows_fitted} of these rows, so the first "
        "table flatters; the tables of groups left out are what to expect of an accelerator or an author that the fit "
        "never saw."
    )
    sections = [
        Section("Files", _files(view)),
        Section("All rows", (_errors(view.classes, "class"),)),
        *(_left_out(group, full=full) for group in view.left_out_groups),
    ]
    if view.anchored:
        sections.append(Section("With one measured point of the same machine", (_errors(view.anchored, "class"),)))
    sections += [
        Section(f"By {name}", (_errors(getattr(view, f"by_{name}"), name),))
        for name in ("accelerator", "engine", "source")
    ]
    return Document(
        subject="validate",
        headline="How good the predictions are",
        lead=(Note(f"{lead}. {read}"), *((Note(flatters),) if full else ())),
        sections=tuple(sections),
        records=_records(view),
    )


def _files(view: views.ValidateView) -> tuple[Block, ...]:
    predicted = [f"{file.name}: {file.predicted} of {file.rows} rows predicted" for file in view.files]
    left_out: Counter[str] = Counter()
    for file in view.files:
        left_out.update({reason.reason: reason.count for reason in file.left_out})
    words = "; ".join(f"{count} ({reason})" for reason, count in left_out.most_common())
    return (*notes(predicted, "plain"), *notes([f"Left out: {words}." if words else ""]))


def _left_out(group: views.GroupErrors, *, full: bool) -> Section:
    unseen = group.way == OTHER
    title = "Rows of other authors, which no fit has seen" if unseen else f"Each {group.way} left out"
    blocks: list[Block] = [_errors(group.classes, "class")]
    if group.way == "configuration":
        drawn = "Tenths of the configurations (file, accelerator, engine, model, tensor parallelism), drawn by name."
        blocks.append(Note(drawn))
    elif full:
        name = "source" if unseen else group.way
        blocks.append(Note(f"By {name} (throughput, time per token, first token below saturation):"))
        blocks.append(_errors(group.by_group, name))
    return Section(title, tuple(blocks))


def _errors(rows: Sequence[views.ErrorsRow], first: str) -> Table:
    columns = (
        Column(first, wraps=True), Column("figures", "integer"), Column("median", "share", digits=1),
        Column("p90", "share", digits=1), Column("bias", "change"), Column("cells", "integer"),
        Column("of cells", "share", digits=1), Column("covers", "share", digits=1),
    )  # fmt: skip
    return Table(
        columns,
        tuple(
            (row.name, row.figures, share_off(row.median), share_off(row.p90), share_off(row.bias), row.cells,
             share_off(row.cell_median), row.coverage)
            for row in rows
        ),
    )  # fmt: skip


def _records(view: views.ValidateView) -> Table:
    """A row per figure that was predicted."""
    names = ("file", "line", "class_", "observed", "predicted", "low", "high")
    rows = tuple(tuple(getattr(row, name) for name in names) for row in view.rows)
    return Table(tuple(Column(key_of(name)) for name in names), rows)
