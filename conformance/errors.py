"""What can go wrong in a conformance run, and who is to blame.

    ConformanceError
    |-- Violation                 the implementation broke the requirement
    |   `-- ImplementationCrashed the implementation died by a signal that the runner did not send
    |-- CheckTimeout              the check did not end within its deadline
    |-- Untestable                a prerequisite does not hold, so the check cannot judge the requirement
    |-- NotApplicable             the implementation declares that it lacks this feature
    |-- HarnessError              a fault of the runner, the workbench or a mock server
    `-- UsageError                the user has to change the command line or a file

Any other exception counts as a fault of the runner too (see `conformance.model.verdicts.judge`), unless a wrong shape raised it in the code
of a check (see `conformance.engine.blame`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

#: the waits that the message of a `CheckTimeout` names
MAX_WAITS = 6

#: a bound in time, as a statement of what must hold gives it
_BOUND = re.compile(r"\d ?(?:ms|s|seconds?|minutes?)\b|\bin time\b")


class ConformanceError(Exception):
    """Base of every exception that this package raises on purpose."""


class Violation(ConformanceError):
    """The implementation did not do what the requirement demands.

    `timed`: a slower or faster machine could change the outcome. By default this holds if `expected` names a bound in time.
    """

    def __init__(self, expected: str, seen: str, *, timed: bool | None = None) -> None:
        super().__init__(f"expected: {expected}\nseen: {seen}")
        self.expected = expected
        self.seen = seen
        self.timed = _BOUND.search(expected) is not None if timed is None else timed


class ImplementationCrashed(Violation):
    """The implementation died by a signal that the runner did not send, or exited while it should serve."""

    def __init__(self, expected: str, seen: str, *, timed: bool = False) -> None:
        super().__init__(expected, seen, timed=timed)


class CheckTimeout(ConformanceError, TimeoutError):
    """The check still ran after its deadline, in seconds. `waits`: what it waited for, the innermost first."""

    def __init__(self, seconds: float, waits: Sequence[str] = ()) -> None:
        waited = f"; it waited for: {'; '.join(waits[:MAX_WAITS])}" if waits else ""
        super().__init__(f"the check did not end within {seconds:g} s{waited}")
        self.seconds = seconds


class Untestable(ConformanceError):
    """The check could not observe what it is about. The verdict is red, because the check proved nothing.

    `timed` as for a `Violation`.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        # After the colon, a reason quotes what the check has seen.
        self.timed = _BOUND.search(reason.partition(":")[0]) is not None


class NotApplicable(ConformanceError):
    """The requirement concerns a feature that the implementation declares absent."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class HarnessError(ConformanceError):
    """The runner itself is broken, which proves nothing about the implementation."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class UsageError(ConformanceError):
    """A wrong option, selector, profile or path. The message says what to write instead."""
