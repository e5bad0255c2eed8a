"""Pairs known-bad programs with checks."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from conformance.errors import UsageError
from conformance.model.profile import Profile
from conformance.model.profile_tables import UPSTREAM
from conformance.model.selectors import matching
from conformance.model.sut import DEFAULT_PROFILE, PLACEHOLDER, Sut, make_sut
from conformance.mutation import null_programs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from conformance.checks import Check
    from conformance.model.registry import Registry
    from conformance.mutants import Legitimate, Mutant
    from conformance.mutation.null_programs.registry import NullProgram

#: each of these words selects all null programs
NULL_PROGRAMS = ("null-programs", "impostors")
#: this word selects all legitimate designs
LEGITIMATE = "legitimate"
#: what a design declares about a check that must not even warn
MUST_PASS = "must pass"
#: seconds that a check waits for a null program that may pass no check, because it never does what the check waits for
MAX_WAIT = 2.0


class ProgramKind(StrEnum):
    """The kinds of programs, by their names in the JSON report."""

    MUTANT = "mutant"
    LEGITIMATE = "legitimate"
    NULL_PROGRAM = "impostor"


class Against(StrEnum):
    """The checks that judge a mutant: those it declares; also its family's quick ones; also those that run what it changes; or all."""

    OWN = "own"
    FAMILY = "family"
    REACHED = "reached"
    ALL = "all"

    @property
    def of_every_family(self) -> bool:
        """Whether checks of other families judge a mutant too."""
        return self in (Against.REACHED, Against.ALL)


@dataclass(frozen=True)
class Trial:
    """A program, a check, and what the program declares about the check."""

    program: str
    kind: ProgramKind
    check: Check
    #: why the author expects a mutant to fail here, or another program to pass; None = not expected
    declared: str | None
    #: whether this is the check of the requirement that the mutant breaks
    own: bool = False
    #: see `Mutant`
    crashes: bool = False
    #: see `Mutant`
    runs_as: str = DEFAULT_PROFILE
    #: see `Legitimate`; empty = that of `runs_as`
    profile: str = ""


def trials_of_mutant(mutant: Mutant, checks: Mapping[str, Check], against: Against) -> list[Trial]:
    """The mutant's own check first, the others in the order of the checks."""
    declared = {mutant.kills: "its own", **mutant.also}
    family = checks[mutant.kills].requirement.family
    judges = [checks[id_] for id_ in declared if id_ in checks]
    for check in checks.values():
        of_family = check.requirement.family == family and not check.slow
        if check.id not in declared and (
            against.of_every_family or (against is Against.FAMILY and of_family)
        ):
            judges.append(check)
    return [
        Trial(
            mutant.name,
            ProgramKind.MUTANT,
            check,
            declared.get(check.id),
            own=check.id == mutant.kills,
            crashes=mutant.crashes,
            runs_as=mutant.profile,
            profile=mutant.design.profile if mutant.design is not None else "",
        )
        for check in judges
    ]


def trials_of_design(
    design: Legitimate, checks: Mapping[str, Check], registry: Registry, against: Against
) -> list[Trial]:
    """The checks that the design touches, also the others of their families that are not slow, or all."""
    slow = frozenset(check.id for check in checks.values() if check.slow)
    touched = {
        id_ for selector in (*design.touches, *design.passes) for id_ in matching(selector, registry, slow)
    }
    families = {registry[id_].family for id_ in touched}
    return [
        Trial(
            design.name,
            ProgramKind.LEGITIMATE,
            check,
            MUST_PASS if check.id in design.passes else None,
            profile=design.profile,
        )
        for check in checks.values()
        if against.of_every_family
        or check.id in touched
        or (against is Against.FAMILY and check.requirement.family in families and not check.slow)
    ]


def trials_of_null_program(program: NullProgram, checks: Mapping[str, Check]) -> list[Trial]:
    """One for every check. No check runs alone, because the timing of a program that does nothing right does not matter."""
    return [
        Trial(
            program.name, ProgramKind.NULL_PROGRAM, replace(check, serial=False), program.passes.get(check.id)
        )
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
    designs: Mapping[str, Legitimate] | None = None,
    skip: Sequence[str] = (),
) -> list[Trial]:
    """The selected trials; without a selector, all. The checks that `skip` selects judge only the mutants that declare them.

    A selector of requirements selects their mutants, and the other programs against their checks. A program's name, or a glob over
    names, selects that program. `one_each` keeps only the first mutant of each requirement; `Against.OWN` is
    then the check of the requirement alone. Raises `UsageError` when a selector matches nothing, or no trial is left.
    """
    slow = frozenset(check.id for check in checks.values() if check.slow)
    designs = designs or {}
    others = {**designs, **null_programs.NULL_PROGRAMS}
    chosen: set[str] = set()
    ids_of_other: dict[str, set[str]] = {}
    for selector in selectors or ["*"]:
        folded = selector.casefold()
        named = {name for name in (*mutants, *others) if fnmatchcase(name, folded)}
        if folded in NULL_PROGRAMS:
            named = set(null_programs.NULL_PROGRAMS)
        if folded == LEGITIMATE:
            named = set(designs)
        ids = set(checks) if named else matching(selector, registry, slow)
        chosen |= {
            name for name, mutant in mutants.items() if name in named or (not named and mutant.kills in ids)
        }
        for name in named & others.keys() if named else others:
            ids_of_other.setdefault(name, set()).update(ids)
    if one_each:
        first = {mutants[name].kills: name for name in reversed([*mutants]) if name in chosen}
        chosen, ids_of_other = set(first.values()), {}
    found: list[Trial] = []
    for name, mutant in mutants.items():
        if name in chosen:
            trials = trials_of_mutant(mutant, checks, against)
            only_own = one_each and against is Against.OWN
            found += [trial for trial in trials if trial.own] if only_own else trials
    for name, design in designs.items():
        trials = trials_of_design(design, checks, registry, against)
        found += [trial for trial in trials if trial.check.id in ids_of_other.get(name, ())]
    for name, program in null_programs.NULL_PROGRAMS.items():
        judges = {id_: check for id_, check in checks.items() if id_ in ids_of_other.get(name, ())}
        found += trials_of_null_program(program, judges)
    skipped = {id_ for selector in skip for id_ in matching(selector, registry, slow)}
    found = [trial for trial in found if trial.check.id not in skipped or trial.declared is not None]
    if not found:
        raise UsageError("no known-bad proxy is selected")
    return found


def sut_of(trial: Trial) -> Sut:
    """The program as a system under test."""
    if trial.kind is not ProgramKind.NULL_PROGRAM:
        # A mutant has to keep the promises of the reference; a design only those of its own profile.
        profile = (
            Profile.load(trial.runs_as)
            if trial.kind is ProgramKind.MUTANT and not trial.profile
            else Profile.parse(trial.profile, trial.program)
        )
        place = UPSTREAM if profile.single is not None else PLACEHOLDER
        # A command begins with `{python} -m MODULE`, in whose place the mutant stands.
        words = profile.command[3:] or (place,)
        sut = make_sut((sys.executable, "-m", "conformance.mutants", trial.program, *words), profile)
    else:
        sut = make_sut((sys.executable, "-I", "-S", str(null_programs.MAIN), trial.program, PLACEHOLDER))
        if not null_programs.NULL_PROGRAMS[trial.program].passes:
            sut = replace(sut, max_wait=MAX_WAIT)
    return replace(sut, name=trial.program)
