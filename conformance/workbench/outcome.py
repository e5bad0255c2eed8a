"""Starts of the implementation: who looks on, and how one without a client went."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from conformance.errors import ImplementationCrashed, Violation
from conformance.workbench.launched import describe_end
from conformance.workbench.timeline import shorten

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path


@dataclass(frozen=True)
class StartOutcome:
    """How a start without a client went. `code` is None when the program still ran at the deadline."""

    code: int | None
    stdout: bytes
    stderr: str
    duration: float

    def refused(self, mentioning: str | None = None) -> None:
        """The start was refused properly: a positive exit status, nothing on stdout, a reason on stderr.

        `mentioning` is a regular expression (case-insensitive) that the reason must match. Raises
        `Violation`.
        """
        if self.code is None:
            raise Violation(
                "the start is refused", f"still running after {self.duration:.1f} s; {self._streams()}"
            )
        if self.code < 0:
            raise ImplementationCrashed("exit status > 0", f"{describe_end(self.code)}; {self._streams()}")
        if self.code == 0:
            raise Violation("an exit status other than 0", f"exit status 0; {self._streams()}")
        if self.stdout:
            raise Violation("not one byte on stdout", self._streams())
        if not self.stderr.strip():
            raise Violation("an explanation on stderr", f"{describe_end(self.code)}; {self._streams()}")
        if mentioning and not re.search(mentioning, self.stderr, re.IGNORECASE):
            raise Violation(f"stderr matches /{mentioning}/", self._streams())

    def _streams(self) -> str:
        stdout = self.stdout.decode(errors="replace")
        return f"stdout: {shorten(stdout)!r}; stderr: {shorten(self.stderr)!r}"


@dataclass(frozen=True)
class ProgramStart:
    """A start of the implementation, for somebody who looks on; secrets that the check has named are replaced."""

    pid: int
    command: tuple[str, ...]
    environment: Mapping[str, str]
    cwd: Path
    #: the folder of the check
    root: Path
    has_ended: Callable[[], bool]


OnStart: TypeAlias = "Callable[[ProgramStart], Awaitable[None]]"


async def go_on(start: ProgramStart) -> None:
    """What `OnStart` is where nobody looks on."""
