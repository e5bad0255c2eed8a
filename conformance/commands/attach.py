"""`run --attach`: after each start of the implementation the check waits for a person with a debugger.

    The check has started the program:

      cd /tmp/tmpq1w2e3r4/cwd && env -i \\
        HOME=/tmp/tmpq1w2e3r4/home \\
        ... \\
        my-proxy /tmp/tmpq1w2e3r4/configs/5f0c1b2a3d4e/config.json

    Its pid is 4711. Attach a debugger, then press Enter or create /tmp/tmpq1w2e3r4/go.

The command prints one shell line that starts the program as the check did, without known secrets. The check goes on after a line on
stdin, when the file appears, or when the program has ended; there is no deadline. Limits: the program runs during the wait, so a person
who debugs its first lines must make it wait itself (`node --inspect-brk`). Durations that a check measures include the time at a
breakpoint.
"""

from __future__ import annotations

import os
import select
import shlex
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio

from conformance.workbench.deadlines import extended_deadlines
from conformance.workbench.workbench import open_workbench

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from conformance.model.sut import Sut
    from conformance.workbench.outcome import ProgramStart
    from conformance.workbench.workbench import Workbench

_POLL = 0.1


class Attaching:
    """A `WorkbenchFactory` whose workbenches wait after each start of the implementation."""

    def __init__(self, say: Callable[[str], None], stdin: int = 0) -> None:
        self._say = say
        self._stdin = stdin
        self._stdin_ended = False

    @asynccontextmanager
    async def __call__(self, sut: Sut, check_id: str, *, keep: bool) -> AsyncIterator[Workbench]:
        with extended_deadlines():
            async with open_workbench(sut, check_id, keep=keep, on_start=self._wait) as workbench:
                yield workbench

    async def _wait(self, start: ProgramStart) -> None:
        go = start.root / "go"
        self._say(f"\nThe check has started the program:\n\n{as_shell(start)}\n")
        self._say(f"Its pid is {start.pid}. Attach a debugger, then press Enter or create {go}.")
        while not (start.has_ended() or self._pressed_enter() or go.exists()):  # noqa: ASYNC110 - neither a person nor a file gives an event
            await anyio.sleep(_POLL)
        go.unlink(missing_ok=True)
        self._say("The program has ended." if start.has_ended() else "The check goes on.")

    def _pressed_enter(self) -> bool:
        """Whether a line has arrived. One line counts for one start, so that a pipe can answer several."""
        while not self._stdin_ended and select.select([self._stdin], [], [], 0)[0]:
            # Byte by byte and not through `sys.stdin`, whose buffer would take the lines for later starts.
            byte = os.read(self._stdin, 1)
            self._stdin_ended = not byte
            if byte == b"\n":
                return True
        return False


def as_shell(start: ProgramStart) -> str:
    """The shell command that starts the program in the same directory and environment."""
    variables = [f"{name}={shlex.quote(value)}" for name, value in sorted(start.environment.items())]
    lines = [f"cd {shlex.quote(str(start.cwd))} && env -i", *variables, shlex.join(start.command)]
    return "  " + " \\\n    ".join(lines)
