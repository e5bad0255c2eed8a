"""The ``security`` sections: one for all servers, and one in each server. A setting of a server overrides that for all servers.

``null`` in the section of a server switches a setting off for that server.
"""

from __future__ import annotations

import math
import os
import pathlib
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from dynamic_mcp.config import duration, size
from dynamic_mcp.config.model import Audit, RateLimit, ResourceLimits, TokenStoreKind
from dynamic_mcp.config.places import Path, text_of
from dynamic_mcp.protocol.lines import MAX_MESSAGE

_Count: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
_N = TypeVar("_N", int, float)

#: Expands the references of a text; the second argument is its location.
Expand: TypeAlias = Callable[[str, str], str]
#: Takes the path and the problem of a mistake.
Report: TypeAlias = Callable[[Path, str], None]

#: Settings for child processes only, and for servers behind a URL only.
ONLY_COMMAND = ("environment", "limits", "command_prefix")
ONLY_URL = ("require_https",)

_VARIABLE = re.compile(r"[^=\0*]+\*?|\*")


class RateLimitEntry(msgspec.Struct, forbid_unknown_fields=True):
    """``rate_limit`` in the file."""

    calls: _Count
    per: str | int


class LimitsEntry(msgspec.Struct, forbid_unknown_fields=True):
    """``limits`` in the file."""

    memory: str | int | None = None
    cpu_time: str | int | None = None
    open_files: _Count | None = None
    processes: _Count | None = None


class AuditEntry(msgspec.Struct, forbid_unknown_fields=True):
    """``audit`` in the file."""

    file: str
    arguments: Literal["none", "digest", "value"] = "none"


class SecurityEntry(msgspec.Struct, forbid_unknown_fields=True):
    """The section of a server."""

    require_https: bool | UnsetType | None = UNSET
    validate_arguments: bool | UnsetType | None = UNSET
    rate_limit: RateLimitEntry | UnsetType | None = UNSET
    max_concurrent_calls: _Count | UnsetType | None = UNSET
    max_message_size: str | int | UnsetType | None = UNSET
    environment: list[str] | UnsetType | None = UNSET
    limits: LimitsEntry | UnsetType | None = UNSET
    command_prefix: list[str] | UnsetType | None = UNSET


class SecurityForAll(SecurityEntry, forbid_unknown_fields=True):
    """The section at the top of the file, with additional settings of the proxy itself."""

    audit: AuditEntry | None = None
    token_store: TokenStoreKind = "file"  # noqa: S105  # where they are kept


class Security(msgspec.Struct, frozen=True):
    """The settings of one server. Everything is off by default."""

    require_https: bool = False
    validate_arguments: bool = False
    rate_limit: RateLimit | None = None
    max_concurrent_calls: int | None = None
    max_message_size: int = MAX_MESSAGE
    environment: tuple[str, ...] | None = None
    limits: ResourceLimits = ResourceLimits()
    command_prefix: tuple[str, ...] = ()
    token_store: TokenStoreKind = "file"  # noqa: S105  # where they are kept


def security(
    defaults: SecurityForAll, entry: SecurityEntry, expand: Expand, report: Report, path: Path
) -> Security:
    """Merge both sections; ``path`` is that of the server. ``report`` gets the path and the problem of each mistake."""
    values: dict[str, Any] = {"token_store": defaults.token_store}
    for field in SecurityEntry.__struct_fields__:
        value, place = getattr(entry, field), (*path, "security", field)
        if value is UNSET:
            value, place = getattr(defaults, field), ("security", field)
        if value is not UNSET and value is not None:
            converted = _CONVERTERS.get(field, _unchanged)(value, place, expand, report)
            if converted is not None:
                values[field] = converted
    return Security(**values)


def audit(value: AuditEntry | None, expand: Expand, report: Report) -> Audit | None:
    """The audit log; None after a report."""
    if value is None:
        return None
    path = ("security", "audit", "file")
    file = expand(value.file, text_of(path))
    if not file.strip() or "\0" in file:
        report(path, "is empty or has a NUL character; name the file to write to")
        return None
    try:
        return Audit(pathlib.Path(file).expanduser(), value.arguments)
    except RuntimeError:
        report(path, "there is no user of that name; write the path in full")
        return None


def _unchanged(value: object, path: Path, expand: Expand, report: Report) -> object:
    return value


def _rate(value: RateLimitEntry, path: Path, expand: Expand, report: Report) -> RateLimit | None:
    per = _convert((*path, "per"), duration.seconds, value.per, duration.DURATION_SYNTAX, report)
    return None if per is None else RateLimit(value.calls, per)


def _size(value: str | int, path: Path, expand: Expand, report: Report) -> int | None:
    return _convert(path, size.size, value, size.SIZE_SYNTAX, report)


def _variables(value: list[str], path: Path, expand: Expand, report: Report) -> tuple[str, ...]:
    for n, name in enumerate(value):
        if not _VARIABLE.fullmatch(name):
            report((*path, n), "is not the name of a variable; it may end with * and nothing else")
    return tuple(value)


def _limits(value: LimitsEntry, path: Path, expand: Expand, report: Report) -> ResourceLimits:
    memory = _convert((*path, "memory"), size.size, value.memory, size.SIZE_SYNTAX, report)
    cpu_time = _convert(
        (*path, "cpu_time"), duration.seconds, value.cpu_time, duration.DURATION_SYNTAX, report
    )
    return ResourceLimits(
        memory=memory,
        cpu_time=None if cpu_time is None else math.ceil(cpu_time),
        open_files=value.open_files,
        processes=value.processes,
    )


def _prefix(value: list[str], path: Path, expand: Expand, report: Report) -> tuple[str, ...]:
    if value and not value[0]:
        report((*path, 0), "is empty; name the program to start the server with")
    words = [expand(word, text_of((*path, n))) for n, word in enumerate(value)]
    return (*map(os.path.expanduser, words[:1]), *words[1:])


def _convert(
    path: Path, convert: Callable[[str | int], _N], value: str | int | None, accepted: str, report: Report
) -> _N | None:
    """The converted value; None for None, and after a report."""
    if value is None:
        return None
    try:
        return convert(value)
    except ValueError as error:
        report(path, f"{error}; write {accepted}")
        return None


_CONVERTERS: dict[str, Callable[..., object]] = {
    "rate_limit": _rate,
    "max_message_size": _size,
    "environment": _variables,
    "limits": _limits,
    "command_prefix": _prefix,
}
