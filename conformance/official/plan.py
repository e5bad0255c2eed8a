"""Which scenarios run, and why the others are skipped."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from conformance.errors import UsageError
from conformance.official.suite import Scenario, ScenarioOutcome

#: the parts to judge: the proxy behind the bridge, the proxy that serves over HTTP by itself, the proxy as a client, the mocks
Part = Literal["server", "serve", "client", "mocks"]
PARTS: tuple[Part, ...] = ("server", "serve", "client", "mocks")

_SKIPPED = Path(__file__).with_name("skipped.toml")


@dataclass(frozen=True)
class Plan:
    """The scenarios of one part; the skipped ones with their reasons."""

    run: tuple[Scenario, ...]
    skipped: Mapping[Scenario, str]


def reasons() -> dict[str, dict[str, str]]:
    """The reasons in `skipped.toml`, by part and pattern."""
    return tomllib.loads(_SKIPPED.read_text(encoding="utf-8"))


def plan(scenarios: Sequence[Scenario], reasons: Mapping[str, str], only: Sequence[str] = ()) -> Plan:
    """Sort the scenarios. `only` keeps those whose name contains one of the texts. Raises `UsageError` for a pattern that fits none."""
    skipped: dict[Scenario, str] = {}
    for key, reason in reasons.items():
        pattern, _, check = key.partition(":")
        found = [one for one in scenarios if _fits(one, pattern)]
        if not found:
            raise UsageError(f"skipped.toml: {pattern!r} fits no scenario of the suite")
        if check:
            continue
        skipped |= dict.fromkeys(found, reason)
    wanted = [one for one in scenarios if not only or any(text in str(one) for text in only)]
    return Plan(
        tuple(one for one in wanted if one not in skipped),
        {one: skipped[one] for one in wanted if one in skipped},
    )


def without(outcome: ScenarioOutcome, reasons: Mapping[str, str]) -> ScenarioOutcome:
    """The outcome without the problems of skipped checks."""
    keys = [key.partition(":") for key in reasons]
    excused = {check for pattern, _, check in keys if check and _fits(outcome.scenario, pattern)}
    problems = [problem for problem in outcome.problems if problem.partition(":")[0] not in excused]
    return replace(outcome, problems=tuple(problems))


def _fits(scenario: Scenario, pattern: str) -> bool:
    return fnmatchcase(scenario.name, pattern) or fnmatchcase(str(scenario), pattern)
