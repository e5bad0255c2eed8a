"""What came out: every value of every round, and the ratios that are made of them.

A ratio is always ours by theirs within one round, because only that means something on a machine that does other things too. What counts
is the median over the rounds. A value that could not be measured is None, and `BenchReport.problems` says why.
"""

from __future__ import annotations

import statistics

import msgspec

#: The names of what limits every proxy: the line without any, and a process that only passes bytes on.
DIRECT = "direct"
RELAY = "relay"


class Figure(msgspec.Struct, frozen=True):
    """One number that a workload gives. Times are in seconds, memory in bytes, unless `unit` says otherwise."""

    name: str
    what: str
    larger_is_better: bool = False
    #: what the ratio to the one that is compared with has to reach
    goal: float | None = None
    #: the goal is for our own value, whatever the others do
    own: bool = False
    #: how many times worse than documented the guard lets the ratio be; without it the guard does not look at the figure
    margin: float | None = None

    def reaches(self, value: float) -> bool:
        """Whether the goal is met by this ratio, or by this value of ours."""
        assert self.goal is not None
        return value >= self.goal if self.larger_is_better else value <= self.goal


class Spread(msgspec.Struct, frozen=True):
    """Median, minimum and maximum over the rounds."""

    median: float
    least: float
    most: float


class Measured(msgspec.Struct, frozen=True):
    """A figure and its values, by the name of who was measured, in the order of the rounds."""

    section: str
    figure: Figure
    values: dict[str, list[float | None]]

    def ratio(self, one: str, other: str) -> Spread | None:
        """`one` by `other` within each round; None where no round has both."""
        pairs = zip(self.values.get(one, ()), self.values.get(other, ()), strict=False)
        return _spread([a / b for a, b in pairs if a is not None and b])

    def own(self, one: str) -> Spread | None:
        """The values themselves."""
        return _spread([value for value in self.values.get(one, ()) if value is not None])

    def judged(self, ours: str, theirs: str) -> Spread | None:
        """What the goal is for: our own value, or the ratio."""
        return self.own(ours) if self.figure.own else self.ratio(ours, theirs)

    def reached(self, ours: str, theirs: str) -> bool | None:
        """Whether the goal is met; None where there is no goal, or nothing to judge."""
        found = self.judged(ours, theirs)
        return None if found is None or self.figure.goal is None else self.figure.reaches(found.median)


class Machine(msgspec.Struct, frozen=True):
    """Where it was measured. The load averages tell how busy it was with other things."""

    system: str
    python: str
    cpus: int
    load_before: float
    load_after: float = 0.0


class BenchReport(msgspec.Struct):
    """A whole run."""

    machine: Machine
    rounds: int
    #: who is measured, and with whom it is compared
    ours: str
    others: list[str]
    #: by name, as each of them says it of itself
    versions: dict[str, str] = {}
    measured: list[Measured] = []
    problems: list[str] = []


def _spread(values: list[float]) -> Spread | None:
    return Spread(statistics.median(values), min(values), max(values)) if values else None
