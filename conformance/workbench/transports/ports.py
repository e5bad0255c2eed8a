"""Finds a free port for a program.

The ports are below those that systems give to outgoing connections, so that no connection takes one before the program does. Other
runs on the same machine look in the same range. So a lock of one byte of a common file says that a port is given away. The system
removes the lock with its process.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import random
import socket
import tempfile
from pathlib import Path

from conformance.errors import HarnessError

_FIRST, _LAST = 20_000, 32_000
_TRIES = 200
_given: set[int] = set()


def free_port() -> int:
    """A port of this machine that no program uses, and that no run of this user has given away. Raises `HarnessError`."""
    for _ in range(_TRIES):
        port = random.randrange(_FIRST, _LAST)
        # A process gets its own lock a second time.
        if port in _given or not _lock(port):
            continue
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            _given.add(port)
            return port
        _unlock(port)
    raise HarnessError(f"no free port between {_FIRST} and {_LAST} after {_TRIES} tries")


def give_back(port: int | None) -> None:
    """The program with this port has ended."""
    if port is not None and port in _given:
        _given.discard(port)
        _unlock(port)


@functools.cache
def _locks() -> int:
    """The common file. It stays open, because closing it removes the locks."""
    file = Path(tempfile.gettempdir(), f"conformance-ports-{os.getuid()}")
    try:
        return os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise HarnessError(f"the file with the ports of all runs cannot be used: {error}") from error


def _lock(port: int) -> bool:
    try:
        fcntl.lockf(_locks(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True


def _unlock(port: int) -> None:
    fcntl.lockf(_locks(), fcntl.LOCK_UN, 1, port)
