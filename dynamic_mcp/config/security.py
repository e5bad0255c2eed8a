"""The ``security`` sections: one for all servers, and one in each server. A setting of a server overrides that for all servers.

``null`` in the section of a server switches a setting off for that server.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from dynamic_mcp.config import duration, size
from dynamic_mcp.config.model import Audit, RateLimit, ResourceLimits, TokenStoreKind
from dynamic_mcp.protocol.jsonrpc import MAX_MESSAGE

_Count: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
_N = TypeVar("_N", int, float)

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


#: The entries inside of these sections, for error messages.
NESTED: dict[str, type[msgspec.Struct]] = {
    "rate_limit": RateLimitEntry,
    "limits": LimitsEntry,
    "audit": AuditEntry,
}


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
    defaults: SecurityForAll, entry: SecurityEntry, expand: Callable[[str, str], str], location: str
) -> Security:
    """Merge both sections; ``location`` is that of the server. Raises ValueError, which begins with the location of the setting."""
    values: dict[str, Any] = {"token_store": defaults.token_store}
    for field in SecurityEntry.__struct_fields__:
        value, path = getattr(entry, field), f"{location}.security.{field}"
        if value is UNSET:
            value, path = getattr(defaults, field), f"security.{field}"
        if value is not UNSET and value is not None:
            values[field] = _CONVERTERS.get(field, _unchanged)(value, path, expand)
    return Security(**values)


def audit(value: AuditEntry | None, expand: Callable[[str, str], str]) -> Audit | None:
    """The audit log. Raises ValueError."""
    if value is None:
        return None
    location = "security.audit.file"
    file = expand(value.file, location)
    if not file.strip() or "\0" in file:
        raise ValueError(f"{location}: is empty or has a NUL character; name the file to write to")
    try:
        return Audit(Path(file).expanduser(), value.arguments)
    except RuntimeError:
        raise ValueError(f"{location}: there is no user of that name; write the path in full") from None


def _unchanged(value: object, location: str, expand: Callable[[str, str], str]) -> object:
    return value


def _rate(value: RateLimitEntry, location: str, expand: Callable[[str, str], str]) -> RateLimit:
    return RateLimit(
        value.calls, _convert(f"{location}.per", duration.seconds, value.per, duration.DURATION_SYNTAX)
    )


def _size(value: str | int, location: str, expand: Callable[[str, str], str]) -> int:
    return _convert(location, size.size, value, size.SIZE_SYNTAX)


def _variables(value: list[str], location: str, expand: Callable[[str, str], str]) -> tuple[str, ...]:
    for n, name in enumerate(value):
        if not _VARIABLE.fullmatch(name):
            raise ValueError(
                f"{location}[{n}]: is not the name of a variable; it may end with * and nothing else"
            )
    return tuple(value)


def _limits(value: LimitsEntry, location: str, expand: Callable[[str, str], str]) -> ResourceLimits:
    memory, cpu_time = value.memory, value.cpu_time
    return ResourceLimits(
        memory=None
        if memory is None
        else _convert(f"{location}.memory", size.size, memory, size.SIZE_SYNTAX),
        cpu_time=None
        if cpu_time is None
        else math.ceil(
            _convert(f"{location}.cpu_time", duration.seconds, cpu_time, duration.DURATION_SYNTAX)
        ),
        open_files=value.open_files,
        processes=value.processes,
    )


def _prefix(value: list[str], location: str, expand: Callable[[str, str], str]) -> tuple[str, ...]:
    if value and not value[0]:
        raise ValueError(f"{location}[0]: is empty; name the program to start the server with")
    words = [expand(word, f"{location}[{n}]") for n, word in enumerate(value)]
    return (*map(os.path.expanduser, words[:1]), *words[1:])


def _convert(location: str, convert: Callable[[str | int], _N], value: str | int, accepted: str) -> _N:
    try:
        return convert(value)
    except ValueError as error:
        raise ValueError(f"{location}: {error}; write {accepted}") from None


_CONVERTERS: dict[str, Callable[..., object]] = {
    "rate_limit": _rate,
    "max_message_size": _size,
    "environment": _variables,
    "limits": _limits,
    "command_prefix": _prefix,
}
