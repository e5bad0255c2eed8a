"""How a mock process runs and ends: its signals, its last journal entry, and its maximum lifetime.

The process ends itself after `max_life` seconds at the latest, so no test can leak one for ever. It leaves by
`os._exit`: a thread that sleeps, or that hangs in a write to a full pipe, must not delay the exit.
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
TIMED_OUT = 124  # exit status after max_life, the one that `timeout` uses
BROKEN = 70  # exit status after a fault in the mock or its script (EX_SOFTWARE)


class Lifecycle:
    """The lifecycle of this process. Its journal events `signal` and `exit` start with `prefix`."""

    def __init__(self, journal: Journal, prefix: str = "") -> None:
        self._journal = journal
        self._prefix = prefix
        self.is_finishing = False

    def exit(self, code: int, reason: str) -> NoReturn:
        """Journal the exit and leave."""
        self._journal.write(f"{self._prefix}exit", code=code, reason=reason)
        os._exit(code)

    def die_by_signal(self, number: int) -> NoReturn:
        """Journal the exit and die by this signal, with its default handler."""
        self._journal.write(f"{self._prefix}exit", signal=number, reason="kill_self")
        if number != getattr(signal, "SIGKILL", None):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        while True:  # the default action of some signals is to do nothing
            time.sleep(1.0)

    def abort(self) -> NoReturn:
        """Print the current exception and leave with status `BROKEN`. A fault in the mock or its script must be loud:
        a mock that continues would look well-behaved.
        """
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
        self.exit(BROKEN, repr(sys.exc_info()[1]))

    def exit_after(self, seconds: float) -> None:
        """Leave after this time, even if the process is busy."""
        if hasattr(signal, "setitimer"):
            signal.signal(signal.SIGALRM, lambda _number, _frame: self.exit(TIMED_OUT, "max-life"))
            # Repeated, because a signal that arrives just before a system call begins to wait does not interrupt it.
            signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
        else:
            timer = threading.Timer(seconds, self.exit, (TIMED_OUT, "max-life"))
            timer.daemon = True
            timer.start()

    def handle_signals(self, *, ignore_sigterm: bool, sigterm_delay: float | None = None) -> None:
        """Journal SIGTERM, SIGINT and SIGHUP, then leave. SIGTERM can be ignored, or start work of `sigterm_delay` seconds."""

        def finish() -> None:
            time.sleep(sigterm_delay or 0.0)
            self._journal.write("marker", after=sigterm_delay)
            self.exit(128 + signal.SIGTERM, "signal")

        def handle(number: int, _frame: FrameType | None) -> None:
            self._journal.write(f"{self._prefix}signal", number=number)
            if number == signal.SIGTERM and (ignore_sigterm or self.is_finishing):
                return
            if number == signal.SIGTERM and sigterm_delay is not None:
                self.is_finishing = True
                # Not threading.Thread: the interrupted code may hold its lock.
                _thread.start_new_thread(finish, ())
                return
            self.exit(128 + number, "signal")

        for name in ("SIGTERM", "SIGINT", "SIGHUP"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), handle)
