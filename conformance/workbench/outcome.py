"""Starts of the implementation: what an observer learns of each, and the outcome of a start without a client."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from conformance.errors import ImplementationCrashed, Violation
from conformance.workbench.launched import describe_end
from conformance.workbench.timeline import shorten

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping
    from pathlib import Path


@dataclass(frozen=True, repr=False)
class StartOutcome:
    """The outcome of a start without a client. `code` is None if the program still ran at the deadline.

    With `has_messages`, stdout is for messages alone; without it, stdout is for people, as stderr is.
    """

    code: int | None
    stdout: bytes
    stderr: str
    duration: float
    has_messages: bool = True

    def __repr__(self) -> str:
        still = f"still running after {self.duration:.1f} s"
        return f"{still if self.code is None else describe_end(self.code)}; {self._streams()}"

    def refused(self, mentioning: str | None = None) -> None:
        """Raise `Violation` unless the program refused to start: a positive exit status, nothing on stdout, a reason on stderr.

        `mentioning` is a regular expression (case-insensitive) that the reason must match.
        """
        if self.code is None:
            raise Violation("the program refuses to start", repr(self), timed=True)
        if self.code < 0:
            raise ImplementationCrashed("exit status > 0", repr(self))
        if self.code == 0:
            raise Violation("an exit status other than 0", repr(self))
        if self.stdout and self.has_messages:
            raise Violation("not one byte on stdout", self._streams())
        said = self.stderr if self.has_messages else self.stderr + self.stdout.decode(errors="replace")
        if not said.strip():
            raise Violation("an explanation on stderr", repr(self))
        if mentioning and not re.search(mentioning, said, re.IGNORECASE):
            raise Violation(f"stderr matches /{mentioning}/", self._streams())

    def _streams(self) -> str:
        stdout = self.stdout.decode(errors="replace")
        return f"stdout: {shorten(stdout)!r}; stderr: {shorten(self.stderr)!r}"


@dataclass(frozen=True)
class ProgramStart:
    """A start of the implementation as an observer sees it, without the secrets that the check has registered."""

    pid: int
    command: tuple[str, ...]
    environment: Mapping[str, str]
    cwd: Path
    #: the folder of the check
    root: Path
    has_ended: Callable[[], bool]


OnStart: TypeAlias = "Callable[[ProgramStart], Awaitable[None]]"


async def continue_at_once(start: ProgramStart) -> None:
    """The `OnStart` of a run without an observer."""


def added_variables(starts: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """What the check added to the environment of each start, and the starts that got it if not all did."""
    actors: dict[str, list[str]] = {}
    for actor, variables in starts.items():
        for name, value in variables.items():
            actors.setdefault(f"{name}={value}", []).append(actor)
    for variable, those in actors.items():
        some = "" if len(those) == len(starts) else f" ({', '.join(those)})"
        yield f"{variable}{some}"
