"""Which known-bad programs meet which checks."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.errors import UsageError
from conformance.model.selectors import matching
from conformance.model.sut import PLACEHOLDER, Sut, make_sut
from conformance.mutation import null_programs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from conformance.checks import Check
    from conformance.model.registry import Registry
    from conformance.mutants import Mutant
    from conformance.mutation.null_programs import Impostor

#: selects all impostors
IMPOSTORS = "impostors"
#: seconds that an impostor gets for what it never does, so that thousands of checks do not wait longer
MAX_WAIT = 2.0


class Against(StrEnum):
    """The checks that a mutant meets: those that it declares; with them those of its family that are not slow; or all."""

    OWN = "own"
    FAMILY = "family"
    ALL = "all"


@dataclass(frozen=True)
class Meeting:
    """A program, a check, and what is declared about the two."""

    program: str
    kind: str
    check: Check
    #: why a mutant is expected to fail here, or an impostor to pass; None when it is not
    declared: str | None
    #: whether this is the check of what the mutant is wrong about
    own: bool = False
    #: see `Mutant`
    crashes: bool = False


def meetings_of_mutant(mutant: Mutant, checks: Mapping[str, Check], against: Against) -> list[Meeting]:
    """In the order of the checks, its own first."""
    declared = {mutant.kills: "its own", **mutant.also}
    family = checks[mutant.kills].requirement.family
    met = [checks[id_] for id_ in declared if id_ in checks]
    for check in checks.values():
        of_family = check.requirement.family == family and not check.slow
        if check.id not in declared and (against is Against.ALL or (against is Against.FAMILY and of_family)):
            met.append(check)
    return [
        Meeting(
            mutant.name,
            "mutant",
            check,
            declared.get(check.id),
            own=check.id == mutant.kills,
            crashes=mutant.crashes,
        )
        for check in met
    ]


def meetings_of_impostor(impostor: Impostor, checks: Mapping[str, Check]) -> list[Meeting]:
    """With all of them, none alone: where nothing is right, the time that it takes does not matter."""
    return [
        Meeting(impostor.name, "impostor", replace(check, serial=False), impostor.passes.get(check.id))
        for check in checks.values()
    ]


def select(
    selectors: Sequence[str],
    mutants: Mapping[str, Mutant],
    checks: Mapping[str, Check],
    registry: Registry,
    against: Against,
    *,
    one_each: bool = False,
) -> list[Meeting]:
    """The meetings that the selectors mean, all without any: a selector of requirements means their mutants, and the impostors
    against their checks; a name, or a glob over names, means that program. With `one_each` only the first mutant of each
    requirement is left, against its own check, and no impostor. Raises `UsageError` when a selector means nothing, or nothing is left.
    """
    slow = frozenset(check.id for check in checks.values() if check.slow)
    chosen: set[str] = set()
    pretending: dict[str, set[str]] = {}
    for selector in selectors or ["*"]:
        folded = selector.casefold()
        named = {name for name in (*mutants, *null_programs.IMPOSTORS) if fnmatchcase(name, folded)}
        if folded == IMPOSTORS:
            named = set(null_programs.IMPOSTORS)
        ids = set(checks) if named else matching(selector, registry, slow)
        chosen |= {
            name for name, mutant in mutants.items() if name in named or (not named and mutant.kills in ids)
        }
        for name in named & null_programs.IMPOSTORS.keys() if named else null_programs.IMPOSTORS:
            pretending.setdefault(name, set()).update(ids)
    if one_each:
        first = {mutants[name].kills: name for name in reversed([*mutants]) if name in chosen}
        chosen, pretending = set(first.values()), {}
    found: list[Meeting] = []
    for name, mutant in mutants.items():
        if name in chosen:
            meetings = meetings_of_mutant(mutant, checks, against)
            found += [one for one in meetings if one.own] if one_each else meetings
    for name, impostor in null_programs.IMPOSTORS.items():
        met = {id_: check for id_, check in checks.items() if id_ in pretending.get(name, ())}
        found += meetings_of_impostor(impostor, met)
    if not found:
        raise UsageError("no known-bad proxy is selected")
    return found


def sut_of(meeting: Meeting) -> Sut:
    """The program as a system under test."""
    if meeting.kind == "mutant":
        sut = make_sut((sys.executable, "-m", "conformance.mutants", meeting.program, PLACEHOLDER))
    else:
        program = Path(null_programs.__file__).resolve()
        sut = make_sut((sys.executable, "-I", "-S", str(program), meeting.program, PLACEHOLDER))
        sut = replace(sut, max_wait=MAX_WAIT)
    return replace(sut, name=meeting.program)
