"""`python -m conformance bench`: rounds in random order, ratios within each round, medians over the rounds."""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from conformance.bench.workloads import WORKLOADS
from conformance.errors import HarnessError, UsageError
from conformance.sut import Profile, make_sut

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conformance.bench.workloads import Workload
    from conformance.sut import Sut


def parser() -> argparse.ArgumentParser:
    """The argument parser of the command."""
    result = argparse.ArgumentParser(
        prog="conformance bench",
        description="Measure the bundled proxy beside other implementations.",
        allow_abbrev=False,
    )
    result.add_argument(
        "--against", action="append", metavar="PROFILE", help="compare with this one (default: dmcp)"
    )
    result.add_argument("--rounds", type=int, default=7, metavar="N", help="rounds (default: 7)")
    names = ", ".join(workload.name for workload in WORKLOADS)
    result.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=f"of {names} (default: all)")
    return result


def main(words: Sequence[str]) -> int:
    """Run the benchmark; the exit status."""
    options = parser().parse_args(words)
    unknown = set(options.workloads) - {workload.name for workload in WORKLOADS}
    console = Console()
    try:
        if unknown:
            raise UsageError(f"there is no workload {sorted(unknown)[0]!r}")
        others = [make_sut((), Profile.load(name)) for name in options.against or ["dmcp"]]
        chosen = [one for one in WORKLOADS if not options.workloads or one.name in options.workloads]
        table = Table(
            "workload", "compared with", "ratio (median)", "range", title="time of ours / time of theirs"
        )
        for workload in chosen:
            ours, *rest = measure(workload, [make_sut(()), *others], options.rounds)
            for other, theirs in zip(others, rest, strict=True):
                ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
                spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
                table.add_row(workload.name, other.name, f"{statistics.median(ratios):.2f}", spread)
        console.print(table)
    except (UsageError, HarnessError) as problem:
        print(f"conformance: {problem}", file=sys.stderr)
        return 2 if isinstance(problem, UsageError) else 3
    return 0


def measure(workload: Workload, suts: Sequence[Sut], rounds: int) -> list[list[float]]:
    """The times of each implementation, in the order of the rounds."""
    times: list[list[float]] = [[] for _ in suts]
    for _ in range(rounds):
        # In a new order each round, so that a machine that gets slower is nobody's fault.
        for index in random.sample(range(len(suts)), len(suts)):
            with tempfile.TemporaryDirectory(prefix="bench-") as folder:
                times[index].append(workload.measure(suts[index], Path(folder)))
    return times
