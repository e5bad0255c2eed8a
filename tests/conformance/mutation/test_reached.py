"""Trials that can tell nothing: which functions a mutant changes, which ones a check runs, and what follows."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import anyio
import pytest

from conformance.checks.loading import load_checks
from conformance.mutants.loading import load_mutants
from conformance.mutation.plan import ProgramKind, Trial
from conformance.mutation.reached import can_tell, functions_run
from tests.conformance.fakes import MUST, passing

RUN = {MUST: frozenset({"config/load.py:load"})}


def trial(kind: ProgramKind = ProgramKind.MUTANT, declared: str | None = None, **how: Any) -> Trial:
    return Trial("is-wrong", kind, passing(), declared, **how)


class TestCanTell:
    def test_only_a_check_that_runs_a_changed_function_can_tell(self) -> None:
        assert can_tell(trial(), frozenset({"config/load.py:load", "x.py:f"}), RUN)
        assert not can_tell(trial(), frozenset({"x.py:f"}), RUN)

    def test_a_check_that_failed_while_it_was_observed_can_tell(self) -> None:
        assert can_tell(trial(), frozenset({"x.py:f"}), {})

    def test_a_mutant_that_may_change_anything_is_judged_by_every_check(self) -> None:
        assert can_tell(trial(), None, RUN)

    @pytest.mark.parametrize(
        "one",
        [
            trial(declared="the reason"),
            trial(runs_as="reference-share"),
            trial(ProgramKind.LEGITIMATE, profile='tool = "{tool}"'),
            trial(ProgramKind.NULL_PROGRAM),
        ],
    )
    def test_other_trials_stay(self, one: Trial) -> None:
        assert can_tell(one, frozenset({"x.py:f"}), RUN)


def test_the_changes_of_mutants_are_the_functions_that_they_replace() -> None:
    """Mistakes in a method, in a constant, in the messages of child processes, and in a library."""
    names = [
        "goes-wherever-it-is-led",
        "kills-before-a-handler-can-end",
        "drops-the-dialect-of-schemas",
        "follows-redirects",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "conformance.mutants.observation", "changes", *names],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == {
        "goes-wherever-it-is-led": ["oauth/reach.py:NetworkReach.addresses"],
        "kills-before-a-handler-can-end": ["process/child.py:Child.terminate"],
        "drops-the-dialect-of-schemas": ["process/child.py:Child.__init__"],
        "follows-redirects": None,
    }
    assert set(names) < load_mutants().keys()


def test_a_check_is_observed_while_it_runs() -> None:
    """A check of a stdio upstream runs the code of children, and none of sign-ins."""
    checks = load_checks()
    found = anyio.run(functions_run, [checks["STD-001"], checks["CFG-001"]], 2)
    assert "process/child.py:Child.__init__" in found["STD-001"]
    assert not any(name.startswith("oauth/authorization.py") for name in found["STD-001"])
    assert "config/load.py:load" in found["CFG-001"]
