"""The sequence diagram of one check: a lane for each party, and a line for each step.

The diagram is pure data from the event log. Its size is bounded. It shows both ends of a long log and the number of steps between them.
Parties of one role share a lane if they would make the diagram too wide; each step then names its party.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from conformance.reports.html.steps import Party, Role, Step
from conformance.reports.html.visible import cut

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

#: the number of lanes for the parties of one role
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
    """A step from lane `source` to lane `target`, counted from 0; None in both for a remark across all lanes."""

    at_ms: float
    source: int | None
    target: int | None
    #: its parties in words
    who: str
    label: str
    text: str
    #: its party, if several share the lane
    about: str = ""
    minor: bool = False

    @property
    def first(self) -> int:
        """Its leftmost lane."""
        return min((lane for lane in (self.source, self.target) if lane is not None), default=0)

    @property
    def width(self) -> int:
        """The number of lanes from its source to its target."""
        if self.source is None or self.target is None:
            return 1
        return abs(self.source - self.target) + 1

    @property
    def direction(self) -> str:
        """ "r" to the right, "l" to the left, "n" within one lane, "x" for a remark."""
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
    """The diagram of a log: at most `most` steps and a remark about the others, with texts of at most `longest` characters.

    With `minor=False` it leaves out the minor steps.
    """
    wanted = [step for step in steps if minor or not step.minor]
    shown = both_ends(wanted, most)
    lanes, places = _lanes(shown)
    return Diagram(tuple(lanes), tuple(_place(step, places, lanes, longest) for step in shown))


def both_ends(steps: Sequence[Step], most: int) -> Sequence[Step]:
    """At most `most` of the steps, from both ends, and a remark about the others."""
    if len(steps) <= most:
        return steps
    # The cause of a verdict is more often near the end.
    before = most // 3
    first, last = steps[:before], steps[before - most :]
    remark = Step(last[0].at_ms, None, None, f"{len(steps) - most} events are not shown here")
    return [*first, remark, *last]


def _lanes(steps: Iterable[Step]) -> tuple[list[str], Mapping[Party, int]]:
    """The titles of the lanes, and the lane of each party."""
    parties: dict[Role, dict[Party, None]] = defaultdict(dict)
    for step in steps:
        for party in (step.source, step.target):
            if party is not None:
                parties[party.role][party] = None
    titles: list[str] = []
    places: dict[Party, int] = {}
    for role in sorted(parties):
        of_role = list(parties[role])
        if len(of_role) > _LANES.get(role, 1):
            places |= dict.fromkeys(of_role, len(titles))
            titles.append(f"{len(of_role)} {_PLURAL.get(role, role.name.lower())}")
            continue
        for party in of_role:
            places[party] = len(titles)
            titles.append(party.name)
    return titles, places


def _place(step: Step, places: Mapping[Party, int], lanes: list[str], longest: int) -> DiagramLine:
    parties = [party for party in (step.source, step.target) if party is not None]
    sharing = [party for party in parties if lanes[places[party]] != party.name]
    # The lane already shows the role.
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
