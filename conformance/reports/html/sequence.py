"""The sequence diagram of one check: who stands where, and what goes from whom to whom.

Pure data, made from the event log alone. Its size is bounded: of a long log both ends are kept with the number of
steps between them that are not shown, and where several of one role would make it too wide they share a lane, each step
then says which of them it is about.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from conformance.reports.html.steps import Party, Role, Step
from conformance.reports.html.visible import cut

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

#: how many of one role have a lane of their own
_LANES = {Role.PROXY: 3, Role.UPSTREAM: 4, Role.AUTHORIZATION: 2, Role.OTHER: 2}
_PLURAL = {
    Role.PROXY: "starts of the proxy",
    Role.UPSTREAM: "upstreams",
    Role.AUTHORIZATION: "authorization servers",
    Role.OTHER: "others",
}
_MAX_LABEL = 100


@dataclass(frozen=True)
class DiagramLine:
    """A step in its place: from lane `source` to lane `target`, counted from 0; None for a remark on all of it."""

    at_ms: float
    source: int | None
    target: int | None
    #: who, or from whom to whom, in words
    who: str
    label: str
    text: str
    #: which of those that share a lane it is about
    about: str = ""
    minor: bool = False

    @property
    def first(self) -> int:
        """The leftmost lane that it touches."""
        return min((lane for lane in (self.source, self.target) if lane is not None), default=0)

    @property
    def width(self) -> int:
        """How many lanes it touches."""
        if self.source is None or self.target is None:
            return 1
        return abs(self.source - self.target) + 1

    @property
    def direction(self) -> str:
        """ "r" to the right, "l" to the left, "n" for what happens at one place, "x" for a remark."""
        if self.source is None:
            return "x"
        if self.target is None or self.source == self.target:
            return "n"
        return "r" if self.source < self.target else "l"


@dataclass(frozen=True)
class Diagram:
    """Lanes from left to right, lines from top to bottom."""

    lanes: tuple[str, ...]
    lines: tuple[DiagramLine, ...]


def draw(steps: Sequence[Step], *, most: int, longest: int, minor: bool = True) -> Diagram:
    """The diagram of a log, of at most `most` steps (and a remark about the others) with texts of at most
    `longest` characters; without the `minor` steps where they are not wanted.
    """
    wanted = [step for step in steps if minor or not step.minor]
    shown = both_ends(wanted, most)
    lanes, places = _lanes(shown)
    return Diagram(tuple(lanes), tuple(_place(step, places, lanes, longest) for step in shown))


def both_ends(steps: Sequence[Step], most: int) -> Sequence[Step]:
    """At most `most` of the steps and a remark about the others."""
    if len(steps) <= most:
        return steps
    # What a check decides on is more often near its end.
    before = most // 3
    first, last = steps[:before], steps[before - most :]
    remark = Step(last[0].at_ms, None, None, f"{len(steps) - most} events are not shown here")
    return [*first, remark, *last]


def _lanes(steps: Iterable[Step]) -> tuple[list[str], Mapping[Party, int]]:
    """The titles, and where everybody stands."""
    parties: dict[Role, dict[Party, None]] = defaultdict(dict)
    for step in steps:
        for party in (step.source, step.target):
            if party is not None:
                parties[party.role][party] = None
    titles: list[str] = []
    places: dict[Party, int] = {}
    for role in sorted(parties):
        together = list(parties[role])
        if len(together) > _LANES.get(role, 1):
            places |= dict.fromkeys(together, len(titles))
            titles.append(f"{len(together)} {_PLURAL.get(role, role.name.lower())}")
            continue
        for party in together:
            places[party] = len(titles)
            titles.append(party.name)
    return titles, places


def _place(step: Step, places: Mapping[Party, int], lanes: list[str], longest: int) -> DiagramLine:
    parties = [party for party in (step.source, step.target) if party is not None]
    sharing = [party for party in parties if lanes[places[party]] != party.name]
    # The lane says already what they are.
    about = " → ".join(party.name.removeprefix("upstream ") for party in sharing)
    text = cut(step.text, longest) if longest else ""
    return DiagramLine(
        step.at_ms,
        source=None if step.source is None else places[step.source],
        target=None if step.target is None else places[step.target],
        who=" → ".join(party.name for party in parties),
        label=cut(step.label, _MAX_LABEL),
        text=text,
        about=about,
        minor=step.minor,
    )
