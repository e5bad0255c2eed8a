"""Finds a free port for a program.

The ports are below those that systems give to outgoing connections, so that no connection takes one before the program does.
"""

from __future__ import annotations

import contextlib
import random
import socket

from conformance.errors import HarnessError

_FIRST, _LAST = 20_000, 32_000
_TRIES = 200
_given: set[int] = set()


def free_port() -> int:
    """A port of this machine that no program uses, and that this process has not given away. Raises `HarnessError`."""
    for _ in range(_TRIES):
        port = random.randrange(_FIRST, _LAST)
        if port in _given:
            continue
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            _given.add(port)
            return port
    raise HarnessError(f"no free port between {_FIRST} and {_LAST} after {_TRIES} tries")


def give_back(port: int | None) -> None:
    """The program with this port has ended."""
    if port is not None:
        _given.discard(port)
