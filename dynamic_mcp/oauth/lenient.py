"""Documents of which only some members are needed: a wrong value of another member costs this member alone."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from dynamic_mcp.oauth.request import Unreadable, decode_object

_T = TypeVar("_T", bound=msgspec.Struct)


def decode_known(body: bytes, kind: type[_T]) -> _T:
    """Decode a JSON object; an optional member of a wrong type counts as missing. Raises Unreadable.

    A text in place of a list stands for its words, and the other values of a list of texts are left out.
    """
    members = decode_object(body)
    known: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        if field.name not in members:
            continue
        value = members[field.name]
        if field.type in (list[str], list[str] | None):
            value = _texts(value)
        try:
            known[field.name] = msgspec.convert(value, field.type)
        except msgspec.ValidationError:
            if field.required:
                raise Unreadable from None
    try:
        return msgspec.convert(known, kind)
    except msgspec.ValidationError:
        raise Unreadable from None


def _texts(value: Any) -> Any:
    if isinstance(value, str):
        return value.split()
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else value
