"""The audit log: what was called, read, refused, started, stopped, reloaded and authorized, one JSON object a line.

Each line is written at once, with a single call, to the end of a file that only its owner can read (0600), so that several proxies may
share one. A file that was renamed or removed is begun anew before the next line. Writing never stops the proxy and never raises:
what cannot be written is lost, which stderr says once, and the next line that can be written says how many. Arguments, and the
addresses of resources, which are often made of arguments, are left out, or are there as SHA-256 or as they came, as configured;
nothing else of a message is, and no secret.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import stat
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Raw

from dynamic_mcp.config.model import Audit
from dynamic_mcp.errors import UpstreamRefused, UpstreamTimeout
from dynamic_mcp.log import log
from dynamic_mcp.protocol.jsonrpc import Refusal, one_line

#: Characters of one text; bytes of arguments that are written out, of larger ones only the digest is.
MAX_TEXT = 500
MAX_ARGUMENTS = 1 << 20
_PRIVATE = 0o600
# Not to wait where the file is a pipe that nobody reads.
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)


class Trail:
    """The log of this process; off until it is configured. Whoever records something asks ``is_on`` first where time counts."""

    def __init__(self) -> None:
        self.is_on = False
        self._file = Path()
        self._arguments = "none"
        self._descriptor: int | None = None
        #: whether the last line was cut off
        self._torn = False
        self._lost = 0
        self._said = ""
        #: the trace that the running task belongs to, where requests are traced
        self.trace_id: Callable[[], str | None] = lambda: None

    def configure(self, settings: Audit | None) -> None:
        """Go over to another file, or to none."""
        self._close()
        self.is_on = settings is not None
        if settings is not None:
            self._file, self._arguments = settings.file, settings.arguments
        self._torn, self._lost, self._said = False, 0, ""

    def record(
        self,
        event: str,
        *,
        server: str | None = None,
        outcome: str = "ok",
        began: float | None = None,
        **more: object,
    ) -> None:
        """Write one line. ``began`` is the monotonic time in seconds when it began, None where it took no time."""
        if not self.is_on:
            return
        fields: dict[str, object] = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "event": event,
            "server": server,
            "outcome": outcome,
            "duration_ms": 0.0 if began is None else round((time.monotonic() - began) * 1000, 1),
            "pid": os.getpid(),
        }
        if (trace := self.trace_id()) is not None:
            fields["trace_id"] = trace
        if self._lost:
            fields["lines_lost"] = self._lost
        for name, value in more.items():
            if value is not None:
                fields[name] = value[:MAX_TEXT] if isinstance(value, str) else value
        self._write(msgspec.json.encode(fields) + b"\n")

    def arguments(self, args: bytes) -> dict[str, object]:
        """The fields about the arguments of a call, as configured."""
        return self._as_configured("arguments", args, lambda: Raw(one_line(args)))

    def uri(self, uri: str) -> dict[str, object]:
        """The fields about the resource that was read, as configured for arguments."""
        return self._as_configured("uri", uri.encode(), lambda: uri)

    def _as_configured(self, name: str, data: bytes, value: Callable[[], object]) -> dict[str, object]:
        if self._arguments == "none":
            return {}
        if self._arguments == "value" and len(data) <= MAX_ARGUMENTS:
            return {name: value()}
        return {f"{name}_sha256": hashlib.sha256(data).hexdigest()}

    def _write(self, line: bytes) -> None:
        try:
            descriptor = self._open()
            data = b"\n" + line if self._torn else line
            self._torn = os.write(descriptor, data) < len(data)
            if self._torn:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._lost, self._said = 0, ""
        except OSError as error:
            self._lost += 1
            reason = error.strerror or type(error).__name__
            if reason != self._said:
                self._said = reason
                log.error("the audit log %s cannot be written, lines are lost: %s", self._file, reason)

    def _open(self) -> int:
        """The file that has the name now."""
        if self._descriptor is not None:
            try:
                if os.path.samestat(os.fstat(self._descriptor), os.stat(self._file)):
                    return self._descriptor
            except FileNotFoundError:
                pass
            self._close()
        self._descriptor = descriptor = os.open(self._file, _FLAGS, _PRIVATE)
        found = os.fstat(descriptor)
        if sys.platform != "win32" and stat.S_ISREG(found.st_mode) and found.st_uid == os.getuid():
            # An odd umask may have taken even what was asked for, an earlier program given more.
            os.fchmod(descriptor, _PRIVATE)
        return descriptor

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


#: The log of this process.
trail = Trail()


class Life:
    """One life of an upstream, from the first attempt to connect to its end."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._began = time.monotonic()
        self._ready = False
        self._told = False

    def ready(self) -> None:
        """It is connected."""
        trail.record("upstream_started", server=self._server, began=self._began)
        self._ready, self._began = True, time.monotonic()

    def failed(self, reason: str, outcome: str = "failed") -> None:
        """It could not be connected, or the connection was lost."""
        event = "upstream_stopped" if self._ready else "upstream_failed"
        trail.record(event, server=self._server, outcome=outcome, began=self._began, reason=reason)
        self._told = True

    def closed(self) -> None:
        """Nothing of it is left."""
        if not self._told:
            event = "upstream_stopped" if self._ready else "upstream_failed"
            outcome = "ok" if self._ready else "cancelled"
            trail.record(event, server=self._server, outcome=outcome, began=self._began)


class _Result(msgspec.Struct):
    is_error: bool = msgspec.field(name="isError", default=False)
    kind: str = msgspec.field(name="resultType", default="complete")


async def recorded(
    event: str,
    server: str | None,
    what: Mapping[str, object],
    make: Callable[[], Awaitable[bytes]],
    own: Callable[[], str | None] = lambda: None,
) -> bytes:
    """Make a request and record what came of it, with the fields ``what``.

    ``own``: the outcome where the proxy answered in place of the upstream.
    """
    if not trail.is_on:
        return await make()
    began, outcome = time.monotonic(), "failed"
    try:
        result = await make()
        outcome = own() or _outcome_of(result)
        return result
    except asyncio.CancelledError:
        outcome = "cancelled"
        raise
    except Refusal:
        outcome = "refused"
        raise
    except UpstreamRefused:
        outcome = "error"
        raise
    except UpstreamTimeout:
        outcome = "timeout"
        raise
    finally:
        trail.record(event, server=server, outcome=outcome, began=began, **what)


def _outcome_of(result: bytes) -> str:
    try:
        read = msgspec.json.decode(result, type=_Result)
    except msgspec.DecodeError:
        return "ok"
    if read.kind == "input_required":
        return read.kind
    return "error" if read.is_error else "ok"
