"""Notifications of servers in the form that clients accept.

A client that checks types may end its connection for one wrong message, and with it the work of all servers. So the proxy repairs such a
notification if its meaning is clear, and drops it otherwise. The user gets one warning about each kind of mistake (``groups.oddities``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec
from msgspec import Raw

from dynamic_mcp.frontend.session import LOG_LEVELS
from dynamic_mcp.protocol.jsonrpc import NULL, decode_members
from dynamic_mcp.protocol.known_members import KnownMembers
from dynamic_mcp.protocol.nulls import without_nulls
from dynamic_mcp.protocol.pieces import LARGE
from dynamic_mcp.protocol.shapes import META, Shape

#: Names of levels in other libraries.
_OTHER_LEVELS = {
    "trace": "debug",
    "verbose": "debug",
    "information": "info",
    "warn": "warning",
    "err": "error",
    "fatal": "critical",
    "crit": "critical",
    "panic": "emergency",
    "emerg": "emergency",
}
#: The level of a message that has none.
_NO_LEVEL = "info"

_LOG = Shape({"level": Literal[LOG_LEVELS], "data": Raw}, {"logger": str, **META})
_KNOWN_OF_LOG = KnownMembers(*_LOG.names, "message")
_NOTIFICATIONS = {
    "notifications/resources/updated": Shape({"uri": str}, META),
    "notifications/elicitation/complete": Shape({"elicitationId": str}, META),
}


def valid_log(params: Raw, report: Callable[[str], None]) -> bytes | None:
    """The params of a log message. None if they cannot be repaired."""
    value = bytes(params)
    if value[:1] != b"{":
        report("sends log messages whose params are no object, which the proxy drops")
        return None
    if _KNOWN_OF_LOG.has_many_others(value):
        report("sends log messages with too many unknown members, which the proxy drops")
        return None
    value = without_nulls(value, 1)
    right = _LOG.repaired(value, set())
    if right is value:
        return value
    right = None if len(value) > LARGE else _repaired_log(value)
    _report(report, "log messages", right)
    return right


def _repaired_log(value: bytes) -> bytes | None:
    members = decode_members(value)
    members["level"] = Raw(msgspec.json.encode(_level_of(members.get("level", Raw(NULL)))))
    if "data" not in members and "message" in members:
        members["data"] = members.pop("message")
    return _LOG.repaired(msgspec.json.encode(members), set())


def _level_of(raw: Raw) -> str:
    try:
        name = msgspec.json.decode(raw, type=str).strip().lower()
    except msgspec.ValidationError:
        return _NO_LEVEL
    return name if name in LOG_LEVELS else _OTHER_LEVELS.get(name, _NO_LEVEL)


def valid_params(method: str, params: Raw, report: Callable[[str], None]) -> bytes | None:
    """The params of a notification of this method. None if they cannot be repaired."""
    value, wrong = bytes(params), set[str]()
    right = _NOTIFICATIONS[method].repaired(value, wrong) if value[:1] == b"{" else None
    if right is None or wrong:
        _report(report, method, right)
    return right


def _report(report: Callable[[str], None], what: str, right: bytes | None) -> None:
    does = "drops" if right is None else "repairs"
    report(f"sends {what} with wrong or missing members, which the proxy {does}")
