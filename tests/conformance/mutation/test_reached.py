"""Trials that can tell nothing: which functions a mutant changes, which ones a check runs, and what follows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from conformance.checks.loading import load_checks
from conformance.mutants.loading import load_designs
from conformance.mutants.recording import Passed, read
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


@pytest.mark.slow
def test_the_changes_of_mutants_are_the_functions_that_they_replace() -> None:
    """Mistakes in a method, in a constant, in the messages of child processes, and in a library."""
    names = [
        "goes-wherever-it-is-led",
        "kills-before-a-handler-can-end",
        "drops-the-dialect-of-schemas",
        "follows-redirects",
    ]
    # A tenth of them, because each takes a snapshot of all modules.
    designs = sorted(load_designs())[::10]
    done = subprocess.run(
        [sys.executable, "-m", "conformance.mutants.observation", "changes", *names, *designs],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found.keys() == {*names, *designs}
    assert {name: found[name] for name in names} == {
        "goes-wherever-it-is-led": ["oauth/reach.py:NetworkReach.addresses"],
        "kills-before-a-handler-can-end": ["process/child.py:Child.terminate"],
        "drops-the-dialect-of-schemas": ["message:drops-the-dialect-of-schemas"],
        "follows-redirects": None,
    }


@pytest.mark.slow
def test_a_check_is_observed_while_it_runs() -> None:
    """A check of a stdio upstream runs the code of children, and none of sign-ins. It sends no ping."""
    checks = load_checks()
    on_the_wire = ["answers-with-a-constant-version", "does-not-know-ping"]
    found = anyio.run(functions_run, [checks["STD-001"], checks["CFG-001"]], 2, on_the_wire)
    assert "process/child.py:Child.__init__" in found["STD-001"]
    assert not any(name.startswith("oauth/authorization.py") for name in found["STD-001"])
    assert "config/load.py:load" in found["CFG-001"]
    assert "message:answers-with-a-constant-version" in found["STD-001"]
    assert "message:does-not-know-ping" not in found["STD-001"]


# Runs the changes of one mutant on messages, in a process of its own, because they replace parts of the filter.
ALTERED = """
import json, sys
from conformance.mutants import recording
from conformance.mutants.loading import load_mutant
passed = [recording.Passed(direction, 0, json.dumps(message).encode() + b"\\n") for direction, message in json.loads(sys.argv[2])]
print(recording.altered(load_mutant(sys.argv[1]).apply, passed))
"""
LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
PING = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
ANSWER = {"jsonrpc": "2.0", "id": 2, "result": {}}


UNKNOWN = {"jsonrpc": "2.0", "method": "notifications/unknown"}
ONE_BY_ONE = "serves-one-request-after-the-other"


@pytest.mark.parametrize(
    ("mutant", "passed", "is_altered"),
    [
        ("does-not-know-ping", [("from_client", PING), ("to_client", ANSWER)], True),
        ("does-not-know-ping", [("from_client", LIST), ("to_client", {**ANSWER, "id": 1})], False),
        # The answer belongs to another request.
        ("does-not-know-ping", [("from_client", {**PING, "id": 1}), ("to_client", ANSWER)], False),
        # A change that holds a message back, and one that sends another one.
        (ONE_BY_ONE, [("from_client", LIST), ("from_client", PING)], True),
        (ONE_BY_ONE, [("from_client", PING), ("to_client", ANSWER), ("from_client", LIST)], False),
        ("answers-unknown-notifications", [("from_client", UNKNOWN)], True),
        # Writes each message anew, with the same members.
        ("sends-missing-arguments-as-null", [("from_client", LIST), ("to_upstream", LIST)], False),
    ],
)
def test_a_change_on_the_wire_is_tried_on_the_messages_of_a_check(
    mutant: str, passed: object, is_altered: bool
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ALTERED, mutant, json.dumps(passed)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(is_altered)


def test_a_recording_that_was_cut_short_ends_with_its_last_whole_message(tmp_path: Path) -> None:
    file = tmp_path / "STD-001.1.messages"
    file.write_bytes(b'to_client 0 3\n{}\nto_client 0 9\n{"id')
    assert read(file) == [Passed("to_client", 0, b"{}\n")]
