"""Shows where the time of a run went: `python -m conformance.reports.durations REPORT`, with a JSON report of the runner.

Prints a Markdown table with a line for each family, the slow and the quick checks apart. All times are seconds of checks, which run side by
side, so their sum is larger than the duration of the run.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.checks.loading import load_checks
from conformance.errors import UsageError
from conformance.reports.json import read

if TYPE_CHECKING:
    from collections.abc import Iterable

    from conformance.model.results import Result

#: Seconds without any event from which on a check waits for a time to pass.
QUIET = 0.4


@dataclass
class Spent:
    """The time of some checks, in seconds."""

    checks: int = 0
    #: programs that the runner started: proxies and commands
    programs: int = 0
    #: mocks on stdio that the proxies started
    mocks: int = 0
    #: before the first event: the sandbox, and mocks behind a URL
    preparing: float = 0.0
    #: from the start of a program or a mock to its next event
    starting: float = 0.0
    #: other periods of at least ``QUIET`` without an event, such as deadlines and backoffs
    waiting: float = 0.0
    #: the rest: messages and computations
    working: float = 0.0
    #: after the last event: the end of processes, the leak scan and the comparison with the journals
    ending: float = 0.0

    def add(self, result: Result) -> None:
        """Add the time of one check."""
        self.checks += 1
        events = sorted(result.evidence.events, key=lambda event: event.at_ms)
        if not events:
            self.working += result.duration_s
            return
        self.preparing += events[0].at_ms / 1000
        self.ending += max(0.0, result.duration_s - events[-1].at_ms / 1000)
        for event in events:
            if event.kind == "start":
                if event.actor.startswith("upstream "):
                    self.mocks += 1
                else:
                    self.programs += 1
        for before, after in pairwise(events):
            seconds = (after.at_ms - before.at_ms) / 1000
            # A program that starts says nothing until it is ready, and a mock says first that it has started.
            if "start" in (before.kind, after.kind) and seconds < 5 * QUIET:
                self.starting += seconds
            elif seconds >= QUIET:
                self.waiting += seconds
            else:
                self.working += seconds

    @property
    def total(self) -> float:
        return self.preparing + self.starting + self.waiting + self.working + self.ending


def table(results: Iterable[Result], slow: frozenset[str]) -> list[str]:
    """The lines of the table; ``slow`` are the ids of the slow checks."""
    spent: defaultdict[str, Spent] = defaultdict(Spent)
    for result in results:
        kind = "slow" if result.id in slow else "quick"
        for name in (f"{result.id.partition('-')[0]} {kind}", f"all {kind}"):
            spent[name].add(result)
    head = ("checks", "programs", "mocks", "total", "preparing", "starting", "waiting", "working", "ending")
    lines = [f"| family | {' | '.join(head)} |", f"| --- |{' ---: |' * len(head)}"]
    for name, one in sorted(spent.items(), key=lambda item: -item[1].total):
        times = (one.total, one.preparing, one.starting, one.waiting, one.working, one.ending)
        cells = [name, *map(str, (one.checks, one.programs, one.mocks)), *(f"{time:.1f}" for time in times)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def main(words: list[str]) -> int:
    """Print the table of the report that the only word names. Returns the exit status."""
    if len(words) != 1:
        print("usage: python -m conformance.reports.durations REPORT", file=sys.stderr)
        return 2
    try:
        report = read(Path(words[0]))
    except UsageError as error:
        print(f"conformance: {error}", file=sys.stderr)
        return 2
    slow = frozenset(id for id, check in load_checks().items() if check.slow)
    print("\n".join(table(report.results, slow)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
