"""Linear programs of which some variables are whole numbers, solved by HiGHS [1]_.

.. [1] Q. Huangfu, J. A. J. Hall, "Parallelizing the dual revised simplex method", Mathematical Programming Computation
   10 (2018); through its own package highspy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Program:
    """Minimise `cost` times x, with 0 <= x <= `upper` and `low` <= A x <= `high`.

    A is given entry by entry: `values` in `rows` and `columns`, each place once.
    """

    cost: Floats
    upper: Floats
    whole: npt.NDArray[np.bool_]
    """Which variables are whole numbers."""
    rows: Ints
    columns: Ints
    values: Floats
    low: Floats
    high: Floats


def solve(program: Program, *, time_limit_s: float, gap: float = 1e-4) -> Floats | None:
    """The best x found within the time, at most a share `gap` dearer than the best there is; None where none was."""
    import highspy

    by_column = np.lexsort((program.rows, program.columns))
    variables, constraints = len(program.cost), len(program.low)
    begin = np.searchsorted(program.columns[by_column], np.arange(variables + 1))
    lp = cast("Any", highspy.HighsLp())
    lp.num_col_, lp.num_row_ = variables, constraints
    lp.col_cost_ = program.cost
    lp.col_lower_, lp.col_upper_ = np.zeros(variables), program.upper
    lp.row_lower_, lp.row_upper_ = program.low, program.high
    lp.a_matrix_.num_col_, lp.a_matrix_.num_row_ = variables, constraints
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_ = begin.astype(np.int32)
    lp.a_matrix_.index_ = program.rows[by_column].astype(np.int32)
    lp.a_matrix_.value_ = program.values[by_column]
    if program.whole.any():
        kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
        lp.integrality_ = [kinds[int(is_whole)] for is_whole in program.whole]
    options = cast("Any", highspy.HighsOptions())
    options.output_flag = False
    options.time_limit = time_limit_s
    options.mip_rel_gap = gap
    # the class below Highs, and options as a whole: Highs itself, and an option set alone, print a banner first
    solver = cast("Any", highspy.Highs).__base__()
    solver.passOptions(options)
    solver.passModel(lp)
    solver.run()
    if solver.getInfo().primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
        return None
    return np.asarray(solver.getSolution().col_value, dtype=np.float64)
