"""The gallery of mutants is complete and each of them can be started; `python -m conformance mutants` has them killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from conformance.checks.loading import load_checks
from conformance.mutants import Legitimate, Mutant
from conformance.mutants.loading import load_designs, load_mutants, module_of

ROOT = Path(__file__).parents[3]


def test_every_check_has_a_mutant() -> None:
    killed = {mutant.kills for mutant in load_mutants().values()}

    assert [id_ for id_ in load_checks() if id_ not in killed] == []


def test_every_mutant_is_declared_to_fail_checks_that_exist() -> None:
    declared = {id_ for mutant in load_mutants().values() for id_ in (mutant.kills, *mutant.also)}

    assert declared - load_checks().keys() == set()


def test_starting_one_imports_the_module_that_defines_it_and_no_other() -> None:
    program = (
        "import sys; from conformance.mutants.loading import load_mutant; "
        "print(load_mutant('relies-on-the-end-of-input-alone').kills, load_mutant('no-such-mutant'), "
        "*(name for name in sys.modules if name.startswith('conformance.mutants.')))"
    )
    command = [sys.executable, "-c", program]

    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)

    assert run.stdout.split() == [
        "GUARD-001",
        "None",
        "conformance.mutants.loading",
        "conformance.mutants.guard",
    ]


def test_each_is_found_in_the_module_that_defines_it() -> None:
    known: list[Mutant | Legitimate] = [*load_mutants().values(), *load_designs().values()]

    assert known
    found = {one.name: f"conformance.mutants.{module_of(one.name)}" for one in known}
    assert found == {one.name: one.apply.__module__ for one in known}


def test_function_that_is_no_mutant_is_not_found() -> None:
    assert module_of("mutant") is module_of("load-mutants") is module_of("results-of") is None


def test_every_mistake_takes_the_arguments_of_what_it_replaces() -> None:
    # Otherwise a mutant crashes where it should be wrong.
    command = [sys.executable, "-m", "tests.conformance.mutation.stand_ins"]

    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)

    assert run.stdout == ""
