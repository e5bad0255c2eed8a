"""How a mock process lives and ends: signals, its last journal entry, and a bound on its life.

Whatever happens, the process ends itself after `max_life` seconds: no test can leak one for ever. It leaves
by `os._exit`, because threads that sleep, or that hang in a write to a full pipe, must not hold it back.
"""

import _thread
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import NoReturn

from mock_servers.journal import Journal

MAX_LIFE = 300.0
OUTLIVED = 124  # exit status after max_life, as `timeout` uses it
BROKEN = 70  # exit status after a fault in the mock or its script (EX_SOFTWARE)


class Life:
    """One process; `prefix` goes before the names of its journal events."""

    def __init__(self, journal: Journal, prefix: str = "") -> None:
        self._journal = journal
        self._prefix = prefix
        self.finishing = False

    def end(self, code: int, reason: str) -> NoReturn:
        """Journal the exit and leave."""
        self._journal.write(f"{self._prefix}exit", code=code, reason=reason)
        os._exit(code)

    def end_by_signal(self, number: int) -> NoReturn:
        """Journal the exit and die by the signal, whatever its handler."""
        self._journal.write(f"{self._prefix}exit", signal=number, reason="kill_self")
        if number != getattr(signal, "SIGKILL", None):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        while True:  # a signal whose default is to do nothing
            time.sleep(1.0)

    def break_down(self) -> NoReturn:
        """End because of the exception being handled. A fault in the mock or in its script must be loud: a
        mock that goes on would look like one that behaves."""
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
        self.end(BROKEN, repr(sys.exc_info()[1]))

    def limit(self, seconds: float) -> None:
        """End the process after this time."""
        if hasattr(signal, "setitimer"):
            signal.signal(signal.SIGALRM, lambda _number, _frame: self.end(OUTLIVED, "max-life"))
            signal.setitimer(signal.ITIMER_REAL, seconds)
        else:
            timer = threading.Timer(seconds, self.end, (OUTLIVED, "max-life"))
            timer.daemon = True
            timer.start()

    def listen(self, *, ignore_sigterm: bool, sigterm_delay: float | None = None) -> None:
        """Journal the signals SIGTERM, SIGINT and SIGHUP, and end by them unless told otherwise."""

        def finish() -> None:
            time.sleep(sigterm_delay or 0.0)
            self._journal.write("marker", after=sigterm_delay)
            self.end(128 + signal.SIGTERM, "signal")

        def received(number: int, _frame: FrameType | None) -> None:
            self._journal.write(f"{self._prefix}signal", number=number)
            if number == signal.SIGTERM and (ignore_sigterm or self.finishing):
                return
            if number == signal.SIGTERM and sigterm_delay is not None:
                self.finishing = True
                # Not threading.Thread: its lock may be held by the code that this handler interrupted.
                _thread.start_new_thread(finish, ())
                return
            self.end(128 + number, "signal")

        for name in ("SIGTERM", "SIGINT", "SIGHUP"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), received)
