"""The audit log: one JSON object in a line for each call, read, prompt, refusal, start, stop, reload and authorization.

The log appends each line at once, with a single write, to a regular file that only its owner can read (0600). So several proxies can
share one file. A file of another user gets no line, because that user could read and change it. If the file was renamed or removed, the
next line starts a new one. Writing never stops the proxy and never raises. A line that cannot be written is lost; stderr reports that
once, and the next written line contains the number of lost lines.

The configuration decides whether arguments are left out, hashed with SHA-256, or written in full. The same applies to URIs of resources,
which often contain arguments. Beyond that, the log has only methods, names and error codes of a message, and no secrets. A model makes up
the names of groups and tools, so each string is cut, and a control character stands as ``\\u001b``.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Raw

from dynamic_mcp import files
from dynamic_mcp.config.model import Audit
from dynamic_mcp.errors import CallRefused, UpstreamRefused, UpstreamTimeout
from dynamic_mcp.hooks import Subject
from dynamic_mcp.log import log
from dynamic_mcp.printable import printable
from dynamic_mcp.protocol.jsonrpc import Refusal, one_line

#: Characters of one field, and bytes of arguments; larger arguments are hashed.
MAX_FIELD = 500
MAX_ARGUMENTS = 1 << 20
_PRIVATE = 0o600
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT


class AuditLog:
    """The audit log of this process; off without settings."""

    def __init__(self, settings: Audit | None, trace_id: Callable[[], str | None] = lambda: None) -> None:
        """``trace_id`` returns the trace of the current task, or None."""
        self._trace_id = trace_id
        self._settings = settings
        # A relative file keeps its place after something has replaced the folder of this process.
        self._folder = _current_folder()
        self._descriptor: int | None = None
        #: whether the last line is incomplete, the number of lost lines, and the last reported error
        self._torn, self._lost, self._reported = False, 0, ""

    @property
    def is_on(self) -> bool:
        """Whether the log writes anything."""
        return self._settings is not None

    def configure(self, settings: Audit | None) -> bool:
        """Use these settings from now on; false if they did not change."""
        if settings == self._settings:
            return False
        self._close()
        self._settings = settings
        self._torn, self._lost, self._reported = False, 0, ""
        return True

    def record(
        self,
        event: str,
        *,
        server: str | None = None,
        outcome: str = "ok",
        began: float | None = None,
        **details: object,
    ) -> None:
        """Write one line. ``began`` is the monotonic time in seconds at the start of the event; None without a duration."""
        if self._settings is None:
            return
        fields: dict[str, object] = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "event": event,
            "server": server,
            "outcome": outcome,
            "duration_ms": 0.0 if began is None else round((time.monotonic() - began) * 1000, 1),
            "pid": os.getpid(),
        }
        if (trace := self._trace_id()) is not None:
            fields["trace_id"] = trace
        if self._lost:
            fields["lines_lost"] = self._lost
        fields |= {name: value for name, value in details.items() if value is not None}
        self._write(self._folder / self._settings.file, line_of(fields))

    async def watch(self, subject: Subject, work: Callable[[], Awaitable[bytes]]) -> bytes:
        """Do the work for one call, and write a line with its outcome."""
        began, outcome = time.monotonic(), "failed"
        try:
            result = await work()
            outcome = _outcome_of(result)
            return result
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        except (Refusal, CallRefused):
            outcome = "refused"
            raise
        except UpstreamRefused:
            outcome = "error"
            raise
        except UpstreamTimeout:
            outcome = "timeout"
            raise
        finally:
            event, fields = self._event_of(subject)
            self.record(event, server=subject.group, outcome=outcome, began=began, **fields)

    def _event_of(self, subject: Subject) -> tuple[str, dict[str, object]]:
        """The name and the fields of the event of a call."""
        if subject.kind == "resource":
            return "resource_read", self.uri(subject.name or "")
        event, name = ("call", "tool") if subject.kind == "tool" else ("prompt_get", "prompt")
        return event, {name: subject.name, **self.arguments(bytes(subject.arguments))}

    def arguments(self, args: bytes) -> dict[str, object]:
        """The field for the arguments of a call, as configured."""
        return self._as_configured("arguments", args, lambda: Raw(one_line(args)))

    def uri(self, uri: str) -> dict[str, object]:
        """The field for the URI of a resource, as configured for arguments."""
        return self._as_configured("uri", uri.encode(), lambda: uri)

    def _as_configured(self, name: str, data: bytes, value: Callable[[], object]) -> dict[str, object]:
        mode = "none" if self._settings is None else self._settings.arguments
        if mode == "none":
            return {}
        if mode == "value" and len(data) <= MAX_ARGUMENTS:
            return {name: value()}
        import hashlib

        return {f"{name}_sha256": hashlib.sha256(data).hexdigest()}

    def _write(self, path: Path, line: bytes) -> None:
        try:
            descriptor = self._open(path)
            data = b"\n" + line if self._torn else line
            self._torn = os.write(descriptor, data) < len(data)
            if self._torn:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._lost, self._reported = 0, ""
        except OSError as error:
            self._lost += 1
            reason = error.strerror or type(error).__name__
            if reason != self._reported:
                self._reported = reason
                log.error("the audit log %s cannot be written, lines are lost: %s", path, reason)

    def _open(self, path: Path) -> int:
        """The descriptor of the file that has the path now."""
        if self._descriptor is not None:
            try:
                if os.path.samestat(os.fstat(self._descriptor), os.lstat(path)):
                    return self._descriptor
            except FileNotFoundError:
                pass
            self._close()
        self._descriptor = descriptor = files.open_file(path, _FLAGS)
        if sys.platform != "win32":
            found = os.fstat(descriptor)
            if found.st_uid == os.geteuid():
                # An unusual umask or an earlier program may have set another mode.
                os.fchmod(descriptor, _PRIVATE)
            elif found.st_mode & stat.S_IRWXO:
                self._close()
                raise files.NotTrusted(path, "it is of root and open to every user; close it (chmod o=)")
        return descriptor

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _current_folder() -> Path:
    """The folder of this process, which another process may have removed."""
    try:
        return Path.cwd()
    except OSError:
        return Path()


def line_of(fields: dict[str, object]) -> bytes:
    """The line of an event. Each string has at most ``MAX_FIELD`` characters; ``cut`` names the fields that had more."""
    if cut := [name for name, value in fields.items() if isinstance(value, str) and len(value) > MAX_FIELD]:
        fields = {**fields, **{name: str(fields[name])[:MAX_FIELD] for name in cut}, "cut": cut}
    try:
        line = msgspec.json.encode(fields)
    except UnicodeEncodeError:
        # Half of a surrogate pair, for example in a path that is not UTF-8.
        plain = {
            name: printable(value) if isinstance(value, str) else value for name, value in fields.items()
        }
        line = msgspec.json.encode(plain)
    # JSON itself escapes only some of the characters that a terminal interprets.
    return printable(line.decode(errors="replace"), None).encode() + b"\n"


class _Result(msgspec.Struct):
    is_error: bool = msgspec.field(name="isError", default=False)
    kind: str = msgspec.field(name="resultType", default="complete")


def _outcome_of(result: bytes) -> str:
    try:
        parsed = msgspec.json.decode(result, type=_Result)
    except msgspec.DecodeError:
        return "ok"
    if parsed.kind == "input_required":
        return parsed.kind
    return "error" if parsed.is_error else "ok"
