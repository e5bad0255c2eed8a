"""The actions of a mock that concern other processes, or its own place among them. Limits: POSIX; `kill_siblings` needs Linux."""

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mock_servers.player import MockState


class ProcessActions:
    """These actions, as methods of a player."""

    _state: "MockState"

    def open_terminal(self, words: str) -> None:
        error = None
        try:
            terminal = os.open("/dev/tty", os.O_RDWR)
        except OSError as problem:
            error = str(problem)
        else:
            os.write(terminal, words.encode())
            os.close(terminal)
        self._state.journal.write("terminal", error=error)

    def kill_siblings(self) -> None:
        parent = os.getppid()
        with open(f"/proc/{parent}/task/{parent}/children", encoding="ascii") as file:
            pids = [int(pid) for pid in file.read().split() if int(pid) != os.getpid()]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._state.journal.write("killed", pids=pids)

    def hand_over(self, after: float) -> None:
        launcher = os.getpid()
        if os.fork():
            time.sleep(after)
            self._state.lifecycle.exit(0, "launcher")
        self._state.journal.write("handed-over", launcher=launcher)
