"""The measured values of every round, and their ratios.

A ratio always divides ours by theirs within one round, because other ratios mean nothing on a busy machine. The result is the median over
the rounds. None stands for a value that the benchmark could not measure; `BenchReport.problems` says why.
"""

from __future__ import annotations

import statistics

import msgspec

#: the names of the two limits for every proxy: no proxy at all, and a process that only relays bytes
DIRECT = "direct"
RELAY = "relay"


class Figure(msgspec.Struct, frozen=True):
    """A number that a workload measures. Times are in seconds and memory in bytes, unless `what` names another unit."""

    name: str
    what: str
    larger_is_better: bool = False
    #: the goal for the ratio to the other implementation
    goal: float | None = None
    #: whether the goal is for our own value instead of the ratio
    own: bool = False
    #: the guard accepts a ratio up to this many times worse than documented; None = the guard ignores the figure
    margin: float | None = None

    def reaches(self, value: float) -> bool:
        """Whether this ratio, or this own value, meets the goal."""
        assert self.goal is not None
        return value >= self.goal if self.larger_is_better else value <= self.goal


class Spread(msgspec.Struct, frozen=True):
    """Median, minimum and maximum over the rounds."""

    median: float
    least: float
    most: float


class Measured(msgspec.Struct, frozen=True):
    """A figure and its values, by the name of the target, in the order of the rounds."""

    section: str
    figure: Figure
    values: dict[str, list[float | None]]

    def ratio(self, one: str, other: str) -> Spread | None:
        """`one` divided by `other` within each round; None if no round has both."""
        pairs = zip(self.values.get(one, ()), self.values.get(other, ()), strict=False)
        return _spread([a / b for a, b in pairs if a is not None and b])

    def own(self, one: str) -> Spread | None:
        """The values themselves."""
        return _spread([value for value in self.values.get(one, ()) if value is not None])

    def judged(self, ours: str, theirs: str) -> Spread | None:
        """The value that the goal is for: our own, or the ratio."""
        return self.own(ours) if self.figure.own else self.ratio(ours, theirs)

    def reached(self, ours: str, theirs: str) -> bool | None:
        """Whether ours meets the goal; None without a goal or a value."""
        found = self.judged(ours, theirs)
        return None if found is None or self.figure.goal is None else self.figure.reaches(found.median)


class Machine(msgspec.Struct, frozen=True):
    """The machine of a run. Its load averages tell how busy it was otherwise."""

    system: str
    python: str
    cpus: int
    load_before: float
    load_after: float = 0.0


class BenchReport(msgspec.Struct):
    """A whole run."""

    machine: Machine
    rounds: int
    #: the name of our proxy, and of those that it is compared with
    ours: str
    others: list[str]
    #: by name, from their own handshakes
    versions: dict[str, str] = {}
    measured: list[Measured] = []
    problems: list[str] = []


def _spread(values: list[float]) -> Spread | None:
    return Spread(statistics.median(values), min(values), max(values)) if values else None
