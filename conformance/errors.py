"""What can go wrong in a conformance run, and who is to blame.

    ConformanceError
    |-- Violation                 the implementation broke the requirement
    |   `-- ImplementationCrashed the implementation died by a signal that nobody sent it
    |-- CheckTimeout              the check did not come to an end within its deadline
    |-- Untestable                a prerequisite was not reached, so the requirement could not be judged
    |-- NotApplicable             the implementation declares that it does not have this feature
    |-- HarnessError              our own fault: the runner, the workbench or a mock server broke
    `-- UsageError                the person at the command line has to change something

Any other exception that leaves a check counts as our own fault too (see `conformance.model.verdicts.judge`).
"""

from __future__ import annotations


class ConformanceError(Exception):
    """Base of everything that this package raises on purpose."""


class Violation(ConformanceError):
    """The implementation did something other than what the requirement demands."""

    def __init__(self, expected: str, seen: str) -> None:
        super().__init__(f"expected: {expected}\nseen: {seen}")
        self.expected = expected
        self.seen = seen


class ImplementationCrashed(Violation):
    """The implementation was killed by a signal that it was not sent, or vanished while serving."""


class CheckTimeout(ConformanceError, TimeoutError):
    """The check was still running when its deadline (seconds) passed."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the check did not end within {seconds:g} s")
        self.seconds = seconds


class Untestable(ConformanceError):
    """The check could not get as far as the thing it wanted to observe; red, because nothing was proved."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NotApplicable(ConformanceError):
    """The requirement is about a feature that the implementation declares absent."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class HarnessError(ConformanceError):
    """The runner itself is broken; says nothing about the implementation."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class UsageError(ConformanceError):
    """A wrong option, selector, profile or path; the message says what to write instead."""
