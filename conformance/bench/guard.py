"""The guard against slowness: compares a few quick figures with the documented run.

The guard may miss a small slowdown, but it raises no false alarm. It looks at ratios to another implementation within one round. It uses
only figures that a busy machine does not change: processor time, and simultaneous waiting. A figure fails if it is `Figure.margin` times
worse than documented in each of `ATTEMPTS` attempts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.bench.measure import measure
from conformance.bench.tables import ratio_text
from conformance.bench.workloads import WORKLOADS
from conformance.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from conformance.bench.figures import BenchReport, Measured
    from conformance.bench.targets import ProxyTarget
    from conformance.bench.workloads import BenchWorkload

ATTEMPTS = 3
ROUNDS = 3


def guard(
    documented: BenchReport,
    ours: ProxyTarget,
    other: ProxyTarget,
    say: Callable[[str], None],
    workloads: Sequence[BenchWorkload] = WORKLOADS,
) -> bool:
    """Whether no figure got slow; `say` gets a line for each. Raises `UsageError` if the documented run has no guarded figure."""
    limits = {
        measured.figure.name: limit
        for measured in documented.measured
        if (limit := _limit(measured, documented.ours, other.name)) is not None
    }
    open_ = [one for one in workloads if limits.keys() & {figure.name for figure in one.figures}]
    if not open_:
        raise UsageError(f"the documented run has no guarded figure for {other.name}")
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
        open_ = [one for one in open_ if slow & {figure.name for figure in one.figures}]
        if not open_:
            return True
        names = ", ".join(one.name for one in open_)
        if attempt < ATTEMPTS:
            say(f"measuring again, because it may be noise: {names}")
    say(f"slow in {ATTEMPTS} attempts: {names}")
    return False


def _limit(measured: Measured, ours: str, other: str) -> float | None:
    """The worst ratio that the guard accepts."""
    found, margin = measured.ratio(ours, other), measured.figure.margin
    if found is None or margin is None:
        return None
    return found.median / margin if measured.figure.larger_is_better else found.median * margin


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
