"""A terminal that controls a started program, although its standard streams are pipes, as for a client that a user started in a terminal.

Everything that the program or a process of its session writes there is in `text`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import sys
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

# The program leads a session without a terminal, so it gets the first one that it opens.
_LAUNCHER = "import os, sys; os.close(os.open(sys.argv[1], os.O_RDWR)); os.execvp(sys.argv[2], sys.argv[2:])"


class Terminal:
    """A context manager; it outlives the program."""

    def __enter__(self) -> Self:
        self._ours, self._theirs = pty.openpty()
        self.name = os.ttyname(self._theirs)
        self._data = bytearray()
        os.set_blocking(self._ours, False)
        asyncio.get_running_loop().add_reader(self._ours, self._read)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._ours)
        os.close(self._ours)
        os.close(self._theirs)

    @property
    def text(self) -> str:
        """Everything that a program wrote to the terminal."""
        self._read()
        return self._data.decode(errors="replace")

    def controls(self, pid: int) -> bool:
        """Whether this is the terminal of the process group of this process, and the group is in the foreground."""
        try:
            return os.tcgetpgrp(self._ours) == os.getpgid(pid)
        except OSError:
            return False

    def controlling(self, command: Sequence[str]) -> list[str]:
        """The command that gets this terminal and then becomes `command`."""
        return [sys.executable, "-I", "-S", "-c", _LAUNCHER, self.name, *command]

    def _read(self) -> None:
        # There may be nothing to read.
        with contextlib.suppress(OSError):
            self._data += os.read(self._ours, 1 << 16)
