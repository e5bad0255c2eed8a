"""Reads a JSON value as a type, and reports every part that does not fit, where msgspec stops at the first.

What fits is kept, so that the caller can look for mistakes of another kind in the same value.
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Iterator
from typing import Any, Literal, Union, get_args, get_origin

import msgspec
from msgspec import Raw

from dynamic_mcp.config.places import Path
from dynamic_mcp.wording import wrong_type

#: What stands for a wrong or missing member in the kept part, so that no second mistake follows from the first.
_STAND_INS: dict[str, Any] = {"mcpServers": {}, "description": "", "command": "?", "url": "?"}

#: Fields by which other tools call one of ours.
_OF_OTHER_TOOLS = {
    "baseUrl": "url",
    "disabled": "enabled",
    "httpUrl": "url",
    "serverUrl": "url",
    "transport": "type",
    "workingDirectory": "cwd",
}

#: Members of a server that may be null. The types of others say what null means there. In ``tools`` and ``security`` it could mean
#: "none" or "all", so it is a mistake there.
_NULL_IS_ABSENT = {
    *("args", "env", "headers", "enabled", "shared", "features", "timeout"),
    *("oauth_scopes", "oauth_private_hosts", "oauth_at_start"),
}
_BOUND = re.compile(r"Expected `int` ([<>]=) (\d+)")


class Unusable(Exception):
    """No part of the value fits; the mistakes are reported."""


def read(raw: bytes, kind: Any, path: Path, report: Callable[..., None]) -> Any:
    """The value, or its part that fits. ``report`` gets the path and the problem of each mistake.

    Raises Unusable. The text has to be valid JSON.
    """
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        message = str(error).partition(" - at `")[0]
    whole = _container(kind, raw)
    if whole is None:
        report(path, _explain(message, kind))
        raise Unusable
    if isinstance(whole, type) and issubclass(whole, msgspec.Struct):
        return _struct(raw, whole, path, report)
    inner = get_args(whole)[-1]
    if get_origin(whole) is list:
        elements = enumerate(msgspec.json.decode(raw, type=list[Raw]))
        return [value for _, value in _parts(elements, inner, path, report)]
    return dict(_parts(msgspec.json.decode(raw, type=dict[str, Raw]).items(), inner, path, report))


def without_nulls(server: bytes) -> bytes:
    """The entry of a server without the members that are null in place of left out."""
    if b"null" not in server:
        return server
    try:
        members = msgspec.json.decode(server, type=dict[str, Raw])
    except msgspec.ValidationError:
        return server
    kept = {
        name: raw for name, raw in members.items() if name not in _NULL_IS_ABSENT or bytes(raw) != b"null"
    }
    return msgspec.json.encode(kept)


def _parts(members: Any, kind: Any, path: Path, report: Callable[..., None]) -> Iterator[tuple[Any, Any]]:
    for name, raw in members:
        try:
            yield name, read(bytes(raw), kind, (*path, name), report)
        except Unusable:
            continue


def _struct(raw: bytes, kind: type[msgspec.Struct], path: Path, report: Callable[..., None]) -> Any:
    members = msgspec.json.decode(raw, type=dict[str, Raw])
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    meant = set()
    for name in members:
        if name not in fields:
            import difflib

            near = difflib.get_close_matches(name, fields, n=1)
            if not near and _OF_OTHER_TOOLS.get(name) in fields:
                near = [_OF_OTHER_TOOLS[name]]
            meant.update(near)
            fix = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(fields)}"
            report(path, f"unknown field {name!r}; {fix}", name)
    values: dict[str, Any] = {}
    is_complete = True
    for name, field in fields.items():
        try:
            if name in members:
                values[field.name] = read(bytes(members[name]), field.type, (*path, name), report)
                continue
            if not field.required:
                continue
            if name not in meant:
                report(path, f"required field {name!r} is missing; add it")
        except Unusable:
            pass
        if name in _STAND_INS:
            values[field.name] = _STAND_INS[name]
        elif field.required:
            is_complete = False
    if not is_complete:
        raise Unusable
    return kind(**values)


def _options(kind: Any) -> tuple[Any, ...]:
    """The types of a union; the type itself for any other."""
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _container(kind: Any, raw: bytes) -> Any:
    """The type of the union whose members or elements are the ones of the value; None for a value without any."""
    for option in _options(kind):
        if raw[:1] == b"{" and (_is_struct(option) or get_origin(option) is dict):
            return option
        if raw[:1] == b"[" and get_origin(option) is list:
            return option
    return None


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _explain(message: str, kind: Any) -> str:
    """A message of msgspec about a value without parts, in plain words."""
    if (problem := wrong_type(message)) is not None:
        return problem
    if (outside := _BOUND.fullmatch(message)) is not None:
        return f"must be {outside[1]} {outside[2]}"
    known = [
        value for option in _options(kind) if get_origin(option) is Literal for value in get_args(option)
    ]
    if known:
        return f"must be {' or '.join(map(repr, known))}"
    return "is not valid"
