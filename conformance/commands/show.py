"""`python -m conformance show ID`: everything about one requirement.

On a terminal, paragraphs have its width. Elsewhere there are no styles and each paragraph is one line, which a reader can search.
Commands never break, so that a reader can paste them.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from itertools import starmap
from textwrap import TextWrapper
from typing import TYPE_CHECKING

from rich.text import Text

from conformance.model.profile import IMPLEMENTATIONS, Profile
from conformance.model.registry import VERSION
from conformance.mutants.described import wrong_implementations

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from conformance.checks import Check
    from conformance.model.registry import Registry, Requirement


@dataclass(frozen=True)
class Section:
    """A heading with its paragraphs, or with `commands` of one line each."""

    heading: str
    paragraphs: Sequence[str] = ()
    commands: Sequence[str] = ()


def show(
    console: Console,
    registry: Registry,
    requirement: Requirement,
    check: Check | None,
    profiles: Sequence[str],
) -> None:
    """Print the requirement. `profiles` are names and files in addition to those of `conformance/implementations`."""
    width = console.width if console.is_terminal else sys.maxsize
    wrap = TextWrapper(width, "  ", "  ", break_long_words=False, break_on_hyphens=False).fill
    console.print(Text(f"{requirement.id} {requirement.title}", style="bold"), soft_wrap=True)
    console.print(_kind(registry, requirement), soft_wrap=True)
    for section in _sections(requirement, check, profiles):
        console.print()
        console.print(Text(section.heading, style="bold"))
        for paragraph in section.paragraphs:
            console.print(Text(wrap(paragraph)), soft_wrap=True)
        for command in section.commands:
            console.print(Text(f"  {command}"), soft_wrap=True)


def _kind(registry: Registry, requirement: Requirement) -> str:
    family = f"{requirement.family}: {registry.families[requirement.family]}"
    return f"{requirement.nature}, version {VERSION} of the requirements, family {family}"


def _sections(requirement: Requirement, check: Check | None, profiles: Sequence[str]) -> Iterator[Section]:
    if requirement.retired is not None:
        yield _section("retired", requirement.retired)
    yield _section("statement", requirement.statement)
    yield Section("sources", [source.whole for source in requirement.sources])
    for heading, text in requirement.details.items():
        yield Section(heading, [text])
    yield Section("check", list(_check(check)))
    if check is None:
        return
    mutants = wrong_implementations().get(requirement.id, {})
    yield Section("wrong implementations that it catches", list(starmap(_mutant, mutants.items())))
    known = list(_known(requirement.id, profiles))
    yield Section("implementations", known or ["no profile expects a failure or declares the feature absent"])
    run = f"python -m conformance run --only {requirement.id} --"
    bad = [f"{run} python -m conformance.mutants {name} {{config}}" for name in list(mutants)[:1]]
    yield Section("run it", commands=[f"{run} COMMAND {{config}}", *bad])


def _section(heading: str, text: str) -> Section:
    return Section(heading, [" ".join(text.split())])


def _check(check: Check | None) -> Iterator[str]:
    if check is None:
        yield "planned: no check exists yet"
        return
    yield check.where
    if check.sentence:
        yield check.sentence
    nature = ["slow, so it starts before quick ones"] if check.slow else []
    nature += ["serial: at most one other check runs beside it"] if check.serial else []
    yield "; ".join([f"deadline {check.timeout:g} s", *nature])


def _mutant(name: str, text: str) -> str:
    return f"{name}: {text}" if text else name


def _known(requirement_id: str, profiles: Sequence[str]) -> Iterator[str]:
    bundled = sorted(file.stem for file in IMPLEMENTATIONS.glob("*.toml"))
    for profile in map(Profile.load, dict.fromkeys([*bundled, *profiles])):
        absent = profile.reason_for_absence(requirement_id)
        if absent is not None:
            yield f"{profile.name}: declared absent: {absent}"
        for known in profile.known:
            if known.id == requirement_id:
                yield f"{profile.name}: known {known.verdict}: {known.reason}"
