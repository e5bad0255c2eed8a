"""Diagnostics on stderr: warnings and errors by default.

The level comes from ``--log-level``, then ``DYNAMIC_MCP_LOG``, then ``RUST_LOG``, for users who switch from dmcp; only the first level
word of its syntax counts. ``logging`` takes no time at the start, because asyncio imports it anyway. A record is dropped while stderr
takes none (``unread``).

A record is one line. No text of a server, a model or a configuration can add a line or a control character (``printable``). Only a
traceback has more lines, which are indented.
"""

from __future__ import annotations

import logging
import os
import re
import traceback
from collections.abc import Mapping
from typing import Any

from dynamic_mcp.printable import indented, printable
from dynamic_mcp.unread import STDERR, UnreadSink

LEVELS_BY_NAME = {
    "off": logging.CRITICAL + 1,
    "error": logging.ERROR,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    "trace": logging.DEBUG,
}

log = logging.getLogger("dynamic_mcp")


def level_from(environment: Mapping[str, str]) -> int:
    """The level that the environment names; WARNING if it names none."""
    for name in ("DYNAMIC_MCP_LOG", "RUST_LOG"):
        for word in re.findall(r"[a-z]+", environment.get(name, "").lower()):
            if word in LEVELS_BY_NAME:
                return LEVELS_BY_NAME[word]
    return logging.WARNING


class SafeFormatter(logging.Formatter):
    """Writes a record as one printable line, and the lines of a traceback indented below it."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        return "\n".join((printable(super().formatMessage(record)), *indented(getattr(record, "frames", ""))))

    def formatException(self, ei: Any) -> str:
        return "\n".join(indented(super().formatException(ei)))


class _Handler(logging.Handler):
    """Writes records to stderr, without waiting for a reader."""

    def __init__(self, sink: UnreadSink) -> None:
        super().__init__()
        self.setFormatter(SafeFormatter())
        self._sink = sink

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._sink.write(f"{self.format(record)}\n".encode(errors="backslashreplace"))
        except Exception:
            self.handleError(record)


def configure(level: str | None = None) -> None:
    """Send records to stderr as ``TIME LEVEL message``, with the words WARN and ERROR, which monitoring tools search for.

    ``level`` is a key of ``LEVELS_BY_NAME``; without it the environment decides.
    """
    logging.addLevelName(logging.WARNING, "WARN")
    logging.raiseExceptions = False
    handler, others = _Handler(STDERR), _Handler(STDERR)
    log.addHandler(handler)
    # The warnings of libraries, for example of asyncio about an exception in a task.
    others.setLevel(logging.WARNING)
    others.lock = handler.lock
    logging.lastResort = others
    log.propagate = False
    log.setLevel(LEVELS_BY_NAME[level] if level is not None else level_from(os.environ))


def report_bug(where: str, error: BaseException) -> str:
    """Log an unexpected error with its type and location, but without its text, which may contain anything.

    Returns the reason for those who wait. A lack of memory is no mistake of the program, so its location is of no use.
    """
    if isinstance(error, MemoryError):
        log.error("%s: the memory of the proxy is used up", where)
        return "the memory of the proxy was used up"
    frames = "".join(traceback.format_tb(error.__traceback__))
    log.error("%s: internal error %s", where, type(error).__name__, extra={"frames": frames})
    return f"an internal error of the proxy ({type(error).__name__})"
