"""The ``security`` sections: one for all servers, and one in each server whose settings win, one by one.

A setting that is ``null`` in a server's section is off there, whatever the section for all says.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from dynamic_mcp.config import duration, size
from dynamic_mcp.config.model import Audit, RateLimit, ResourceLimits, TokenStore
from dynamic_mcp.protocol.jsonrpc import MAX_MESSAGE

_Count: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
_N = TypeVar("_N", int, float)

#: What makes sense for a child process only, and for a server behind a URL only.
ONLY_COMMAND = ("environment", "limits", "command_prefix")
ONLY_URL = ("require_https",)

_VARIABLE = re.compile(r"[^=\0*]+\*?|\*")


class RateLimitEntry(msgspec.Struct, forbid_unknown_fields=True):
    """``rate_limit`` as it is written."""

    calls: _Count
    per: str | int


class LimitsEntry(msgspec.Struct, forbid_unknown_fields=True):
    """``limits`` as it is written."""

    memory: str | int | None = None
    cpu_time: str | int | None = None
    open_files: _Count | None = None
    processes: _Count | None = None


class AuditEntry(msgspec.Struct, forbid_unknown_fields=True):
    """``audit`` as it is written."""

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
    """The section at the top of the file, with what concerns the proxy as a whole."""

    audit: AuditEntry | None = None
    token_store: TokenStore = "file"  # noqa: S105  # where they are kept


#: The entries inside of these sections, for error messages.
NESTED: dict[str, type[msgspec.Struct]] = {
    "rate_limit": RateLimitEntry,
    "limits": LimitsEntry,
    "audit": AuditEntry,
}


class Security(msgspec.Struct, frozen=True):
    """What holds for one server. Everything is off unless it is configured."""

    require_https: bool = False
    validate_arguments: bool = False
    rate_limit: RateLimit | None = None
    max_concurrent_calls: int | None = None
    max_message_size: int = MAX_MESSAGE
    environment: tuple[str, ...] | None = None
    limits: ResourceLimits = ResourceLimits()
    command_prefix: tuple[str, ...] = ()
    token_store: TokenStore = "file"  # noqa: S105  # where they are kept


def security(
    for_all: SecurityForAll, own: SecurityEntry, expand: Callable[[str, str], str], place: str
) -> Security:
    """Read both sections. Raises ValueError whose text begins with the place of the setting."""

    values: dict[str, Any] = {"token_store": for_all.token_store}
    for field in SecurityEntry.__struct_fields__:
        given, where = getattr(own, field), f"{place}.security.{field}"
        if given is UNSET:
            given, where = getattr(for_all, field), f"security.{field}"
        if given is not UNSET and given is not None:
            values[field] = _READ.get(field, _as_it_is)(given, where, expand)
    return Security(**values)


def audit(given: AuditEntry | None, expand: Callable[[str, str], str]) -> Audit | None:
    """The audit log. Raises ValueError."""
    if given is None:
        return None
    where = "security.audit.file"
    file = expand(given.file, where)
    if not file.strip():
        raise ValueError(f"{where}: is empty; name the file to write to")
    return Audit(Path(file).expanduser(), given.arguments)


def _as_it_is(given: object, where: str, expand: Callable[[str, str], str]) -> object:
    return given


def _rate(given: RateLimitEntry, where: str, expand: Callable[[str, str], str]) -> RateLimit:
    return RateLimit(given.calls, _at(f"{where}.per", duration.seconds, given.per, duration.ACCEPTED))


def _size(given: str | int, where: str, expand: Callable[[str, str], str]) -> int:
    return _at(where, size.size, given, size.ACCEPTED)


def _variables(given: list[str], where: str, expand: Callable[[str, str], str]) -> tuple[str, ...]:
    for n, name in enumerate(given):
        if not _VARIABLE.fullmatch(name):
            raise ValueError(
                f"{where}[{n}]: is not the name of a variable; it may end with * and nothing else"
            )
    return tuple(given)


def _limits(given: LimitsEntry, where: str, expand: Callable[[str, str], str]) -> ResourceLimits:
    memory, cpu_time = given.memory, given.cpu_time
    return ResourceLimits(
        memory=None if memory is None else _at(f"{where}.memory", size.size, memory, size.ACCEPTED),
        cpu_time=None
        if cpu_time is None
        else math.ceil(_at(f"{where}.cpu_time", duration.seconds, cpu_time, duration.ACCEPTED)),
        open_files=given.open_files,
        processes=given.processes,
    )


def _prefix(given: list[str], where: str, expand: Callable[[str, str], str]) -> tuple[str, ...]:
    if given and not given[0]:
        raise ValueError(f"{where}[0]: is empty; name the program to start the server with")
    return tuple(expand(word, f"{where}[{n}]") for n, word in enumerate(given))


def _at(where: str, read: Callable[[str | int], _N], given: str | int, accepted: str) -> _N:
    try:
        return read(given)
    except ValueError as error:
        raise ValueError(f"{where}: {error}; write {accepted}") from None


_READ: dict[str, Callable[..., object]] = {
    "rate_limit": _rate,
    "max_message_size": _size,
    "environment": _variables,
    "limits": _limits,
    "command_prefix": _prefix,
}
