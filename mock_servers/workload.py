"""How much the mock still has to do: counted, so that the end of the input can wait for it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Workload:
    """Counts messages in work, without those that wait on purpose."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0

    def begin(self) -> None:
        """One more in work. Called by the reader, before any other thread knows of the message."""
        self._add(1)

    def finish(self) -> None:
        """One less in work."""
        self._add(-1)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """The calling thread's message does not count inside this block."""
        self._add(-1)
        try:
            yield
        finally:
            self._add(1)

    def drained(self, within: float) -> bool:
        """Wait, at most this long, until nothing is in work."""
        with self._changed:
            return self._changed.wait_for(lambda: self._count == 0, within)

    def _add(self, number: int) -> None:
        with self._changed:
            self._count += number
            self._changed.notify_all()
