"""Measures in rounds: each round measures everything once, in random order."""

from __future__ import annotations

import os
import platform
import random
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from conformance.bench.figures import BenchReport, Machine, Measured
from conformance.bench.targets import ProxyTarget
from conformance.errors import HarnessError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from conformance.bench.targets import Target
    from conformance.bench.workloads import BenchWorkload


def measure(
    workloads: Sequence[BenchWorkload],
    ours: ProxyTarget,
    others: Sequence[ProxyTarget],
    rounds: int,
    on_progress: Callable[[str], None] = lambda line: None,
) -> BenchReport:
    """Measure every target in each round. A failure becomes a problem in the report and does not stop the others."""
    machine = Machine(
        f"{platform.system()} {platform.machine()}",
        platform.python_version(),
        os.cpu_count() or 0,
        _load(),
    )
    versions = {one.name: version_of(one) for one in (ours, *others)}
    report = BenchReport(machine, rounds, ours.name, [one.name for one in others], versions)
    found = {
        workload.name: [Measured(workload.section, figure, {}) for figure in workload.figures]
        for workload in workloads
    }
    for number in range(rounds):
        # In a new order each round, so that a slower machine does not always affect the same target.
        for workload in random.sample(list(workloads), len(workloads)):
            targets: list[Target] = [ours, *others, *workload.limits]
            for target in random.sample(targets, len(targets)):
                on_progress(f"round {number + 1} of {rounds}: {workload.name}, {target.name}")
                _add(report, found[workload.name], workload, target)
    report.measured = [measured for workload in workloads for measured in found[workload.name]]
    report.machine = msgspec.structs.replace(machine, load_after=_load())
    return report


def version_of(target: ProxyTarget) -> str:
    """The version in its handshake. Raises `HarnessError` if it cannot start."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        try:
            with target.open(Path(folder), {}) as client:
                return str(client.server.get("version", "unknown"))
        except OSError as error:
            raise HarnessError(f"cannot start {target.name}: {error}") from None


def _add(report: BenchReport, found: Sequence[Measured], workload: BenchWorkload, target: Target) -> None:
    values: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        try:
            values = dict(workload.measure(target, Path(folder)))
        except HarnessError as problem:
            report.problems.append(f"{workload.name}, {target.name}: {problem}")
    for measured in found:
        measured.values.setdefault(target.name, []).append(values.get(measured.figure.name))


def _load() -> float:
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else 0.0
