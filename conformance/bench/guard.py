"""The guard against getting slow: a few quick workloads, compared with what was measured for the documentation.

It can only be wrong in one direction. What it compares are ratios to another implementation within one round, a figure fails only when it
is `MARGIN` times worse than documented, and only when each of `ATTEMPTS` attempts says so; a machine that is busy slows both sides.
Where the other implementation cannot be started there is nothing to compare with, and that is said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.bench.measure import measure
from conformance.bench.tables import ratio_text
from conformance.bench.workloads import WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from conformance.bench.figures import Measured, Report
    from conformance.bench.targets import Implementation
    from conformance.bench.workloads import Workload

#: How many times worse than documented a ratio has to be.
MARGIN = 2.5
ATTEMPTS = 3
ROUNDS = 3
QUICK = ("start", "stdio-sequential", "stdio-64", "sleeping", "http-64")


def guard(
    documented: Report,
    ours: Implementation,
    other: Implementation,
    say: Callable[[str], None],
    workloads: Sequence[Workload] = WORKLOADS,
) -> bool:
    """Whether nothing got slow; says what was compared."""
    limits = {
        measured.figure.name: limit
        for measured in documented.measured
        if (limit := _limit(measured, documented.ours, other.name)) is not None
    }
    open_ = [workload for workload in workloads if workload.name in QUICK]
    for attempt in range(1, ATTEMPTS + 1):
        report = measure(open_, ours, [other], ROUNDS)
        for problem in report.problems:
            say(problem)
        slow = {
            measured.figure.name
            for measured in report.measured
            if measured.figure.name in limits
            and not _is_fine(measured, ours.name, other.name, limits[measured.figure.name], say)
        }
        open_ = [one for one in open_ if slow.intersection(figure.name for figure in one.figures)]
        if not open_:
            return True
        names = ", ".join(one.name for one in open_)
        if attempt < ATTEMPTS:
            say(f"measured again, because it may be the noise of the machine: {names}")
    say(f"slow in {ATTEMPTS} attempts: {names}")
    return False


def _limit(measured: Measured, ours: str, other: str) -> float | None:
    """The worst ratio that is accepted."""
    found = measured.ratio(ours, other)
    if found is None or measured.figure.goal is None:
        return None
    return found.median / MARGIN if measured.figure.larger_is_better else found.median * MARGIN


def _is_fine(measured: Measured, ours: str, other: str, limit: float, say: Callable[[str], None]) -> bool:
    found = measured.ratio(ours, other)
    if found is None:
        say(f"{measured.figure.name}: not measured")
        return False
    larger = measured.figure.larger_is_better
    fine = found.median >= limit if larger else found.median <= limit
    relation = "at least" if larger else "at most"
    outcome = "fine" if fine else "slow"
    say(f"{measured.figure.name}: {ratio_text(found.median)}, {relation} {ratio_text(limit)}: {outcome}")
    return fine
