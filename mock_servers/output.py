"""The mock's standard output, shared by its threads: whole messages, journalled, and no error when nobody
reads."""

import os
import threading
import time

from mock_servers.journal import Journal


class Output:
    """Writes to descriptor 1. A client that has gone is journalled as the action `broken-pipe`, once."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._lock = threading.Lock()
        self._broken = False

    def write(self, pieces: list[bytes], pause: float = 0.0) -> None:
        """Write the pieces one by one, `pause` seconds apart; nobody else writes in between."""
        with self._lock:
            self._journal.write_sent(b"".join(pieces))
            for number, piece in enumerate(pieces):
                if number and pause:
                    time.sleep(pause)
                self._write_all(piece)

    def close(self) -> None:
        """Close for good. The number stays taken, so that no file opened later becomes the standard
        output."""
        with self._lock:
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, 1)
            os.close(nothing)

    def _write_all(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(1, rest) :]
        except OSError as problem:
            if not self._broken:
                self._journal.write("action", do="broken-pipe", problem=str(problem))
            self._broken = True
