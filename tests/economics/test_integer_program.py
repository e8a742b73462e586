"""Integer programs, against SciPy's milp."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp

from rackrate.economics.integer_program import Program, solve


def program(seed: int, *, whole: bool) -> Program:
    """Costs to be covered: 4 demands by 9 things, of which each has a limit."""
    generator = np.random.default_rng(seed)
    rows, columns = (part.ravel() for part in np.indices((4, 9)))
    return Program(
        cost=generator.uniform(1, 9, 9),
        upper=np.full(9, 5.0),
        whole=np.full(9, whole),
        rows=rows,
        columns=columns,
        values=generator.uniform(0, 3, 36),
        low=generator.uniform(5, 20, 4),
        high=np.full(4, np.inf),
    )


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_costs_are_those_that_scipy_finds(seed: int, whole: bool) -> None:
    given = program(seed, whole=whole)
    matrix = np.zeros((4, 9))
    matrix[given.rows, given.columns] = given.values
    known = milp(
        given.cost,
        integrality=given.whole.astype(int),
        bounds=Bounds(np.zeros(9), given.upper),
        constraints=LinearConstraint(matrix, given.low, given.high),
        options={"mip_rel_gap": 0.0},
    )
    found = solve(given, time_limit_s=20.0, gap=0.0)
    assert found is not None
    assert found @ given.cost == pytest.approx(known.fun, rel=1e-9)
    assert np.all(matrix @ found >= given.low - 1e-6)
    if whole:
        assert found == pytest.approx(np.rint(found), abs=1e-6)


def test_what_cannot_be_covered_has_no_answer() -> None:
    given = program(0, whole=True)
    high = np.array([1000.0, *given.low[1:]])
    assert solve(Program(**{**vars(given), "low": high}), time_limit_s=20.0) is None


def test_the_solver_prints_nothing() -> None:
    """Seen from outside: what a library of C prints may come only as the process ends."""
    code = (
        "from rackrate.planner.mixed import MixShare, cheapest_mix; assert cheapest_mix(3.0, [MixShare('a', 2.0, 1.0)])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert (ran.stdout, ran.stderr) == ("", "")
