"""Counts the messages that a mock still works on, so that it can answer them before it exits."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class PendingWork:
    """The number of messages in work. A message that waits on purpose does not count."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0

    def begin(self) -> None:
        """Count one more message. The reader calls this before any other thread gets the message."""
        self._add(1)

    def finish(self) -> None:
        """Count one message less."""
        self._add(-1)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not count the calling thread's message inside this block."""
        self._add(-1)
        try:
            yield
        finally:
            self._add(1)

    def wait_until_done(self, within: float) -> bool:
        """Wait at most `within` seconds until the count is zero."""
        with self._changed:
            return self._changed.wait_for(lambda: self._count == 0, within)

    def _add(self, number: int) -> None:
        with self._changed:
            self._count += number
            self._changed.notify_all()
