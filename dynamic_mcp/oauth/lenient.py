"""Documents of which only some members are needed: a wrong value of another member costs this member alone."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from dynamic_mcp.oauth.request import Unreadable, decode_object

_T = TypeVar("_T", bound=msgspec.Struct)


class Incomplete(Unreadable):
    """It is a document of this kind, but the member ``name`` is missing, or has a wrong type."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def decode_known(body: bytes, kind: type[_T]) -> _T:
    """Decode a JSON object; an optional member of a wrong type counts as missing. Raises Unreadable, also Incomplete.

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
            continue
    missing = [one.name for one in msgspec.structs.fields(kind) if one.required and one.name not in known]
    if missing:
        raise Incomplete(missing[0]) if known else Unreadable
    return kind(**known)


def _texts(value: Any) -> Any:
    if isinstance(value, str):
        return value.split()
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else value
