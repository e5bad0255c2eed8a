"""The outcome of a start without a client: a refusal needs an exit status, an empty stdout and a reason."""

from __future__ import annotations

import pytest

from conformance.errors import ImplementationCrashed, Violation
from conformance.workbench.outcome import StartOutcome


def outcome_of(
    code: int | None = 1, stdout: bytes = b"", stderr: str = "Error: no such FIELD"
) -> StartOutcome:
    return StartOutcome(code, stdout, stderr, 0.1)


def test_a_status_and_a_reason_are_a_refusal() -> None:
    outcome_of().refused("field")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"code": None}, "the program refuses to start"),
        ({"code": 0}, "other than 0"),
        ({"stdout": b"x"}, "not one byte on stdout"),
        ({"stderr": " \n"}, "an explanation on stderr"),
        ({"stderr": "Error"}, "stderr matches /field/"),
    ],
)
def test_a_violation_names_the_part_that_is_missing(changes: dict[str, object], expected: str) -> None:
    with pytest.raises(Violation) as caught:
        outcome_of(**changes).refused("field")  # type: ignore[arg-type]  # one wrong part at a time
    assert expected in caught.value.expected


def test_a_death_by_a_signal_is_a_crash() -> None:
    with pytest.raises(ImplementationCrashed, match="SIGABRT"):
        outcome_of(code=-6).refused()
