"""Entries of the lists that a client gets, without members of a wrong type: clients refuse a whole list for one such member."""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Raw

from dynamic_mcp.protocol.shapes import ANNOTATIONS, ICON, META, WHOLE, Shape, Type

_NAMED: Mapping[str, Type] = {"title": str, "description": str, "icons": [ICON], **META}
_RESOURCE: Mapping[str, Type] = {"name": str, "mimeType": str, "annotations": ANNOTATIONS, **_NAMED}
_ARGUMENT = Shape({"name": str}, {"title": str, "description": str, "required": bool})
#: By the member of a result with the list. The catalog gives a resource without a name its URI as the name.
_SHAPES = {
    "prompts": Shape({"name": str}, {"arguments": [_ARGUMENT], **_NAMED}),
    "resources": Shape({"uri": str}, {"size": WHOLE, **_RESOURCE}),
    "resourceTemplates": Shape({"uriTemplate": str}, _RESOURCE),
}
_has_scheme = re.compile("[A-Za-z][A-Za-z0-9+.-]*:").match


def key_problem(member: str, key: str) -> str:
    """Why clients do not accept the name or URI of an entry of the list in this member; empty if they do.

    OpenCode ends the connection for an empty name, and the Python SDK 1 refuses a URI without a scheme.
    """
    if not key and member in _SHAPES:
        return "is empty"
    return "has no scheme" if member == "resources" and not _has_scheme(key) else ""


def valid_entry(member: str, entry: Raw, wrong: set[str]) -> Raw:
    """A copy of an entry of the list in this member, without members of a wrong type, whose names ``wrong`` gets.

    The entry has its name or URI. A tool stays as it is, because the client gets it as a text.
    """
    shape = _SHAPES.get(member)
    if shape is None:
        return entry.copy()
    value = bytes(entry)
    right = shape.repaired(value, wrong)
    return Raw(value if right is None else right)
