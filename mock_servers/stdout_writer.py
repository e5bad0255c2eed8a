"""Writes messages to standard output: whole, journalled, and without an error when the client has gone."""

import os
import threading
import time

from mock_servers.journal import Journal


class StdoutWriter:
    """Writes to descriptor 1, from any thread. The first write after the client left is journalled as `broken-pipe`."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._lock = threading.Lock()
        self._broken = False

    def write(self, pieces: list[bytes], pause: float = 0.0) -> None:
        """Write the pieces of one message, `pause` seconds apart. No other message comes between them."""
        with self._lock:
            self._journal.write_sent(b"".join(pieces))
            for number, piece in enumerate(pieces):
                if number and pause:
                    time.sleep(pause)
                self._write_all(piece)

    def write_unrecorded(self, data: bytes) -> None:
        """Write data that the journal does not keep."""
        with self._lock:
            self._write_all(data)

    def close(self) -> None:
        """Close for good. Descriptor 1 stays in use, so that no file opened later becomes standard output."""
        with self._lock:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.close(null)

    def _write_all(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(1, rest) :]
        except OSError as problem:
            if not self._broken:
                self._journal.write("action", do="broken-pipe", problem=str(problem))
            self._broken = True
