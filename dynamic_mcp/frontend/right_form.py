"""The refusal of a wrong call, for the model: the problem, and the right form of the call as JSON.

The right form keeps what the model gave, so that the next call can succeed. It names no tool that the model did not name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Raw

from dynamic_mcp.errors import CallRefused
from dynamic_mcp.frontend.tool_surface import CALL, GET
from dynamic_mcp.protocol.jsonrpc import decode_members
from dynamic_mcp.wording import MAX_TEXT, cut, name_list

#: What a form shows in place of a name that nothing tells.
UNKNOWN_GROUP, UNKNOWN_TOOL = "NAME_OF_THE_GROUP", "NAME_OF_THE_TOOL"
#: Examples of values, by the type in a JSON Schema.
_EXAMPLES: Mapping[str, object] = {
    "string": "text",
    "number": 1,
    "integer": 1,
    "boolean": True,
    "array": [],
    "object": {},
    "null": None,
}
#: Arguments in an example, if the schema requires none.
_MAX_OPTIONAL = 3


class Schema(msgspec.Struct):
    """The input schema of a tool, as far as the arguments of a call need it. Unreadable parts count as absent."""

    properties: Mapping[str, Raw]
    required: list[str]
    #: whether the tool expects arguments that are not in ``properties``
    is_open: bool
    text: str

    @classmethod
    def of(cls, definition: Raw) -> Schema:
        """The schema in the definition of a tool."""
        raw = _object(definition).get("inputSchema", Raw(b"{}"))
        schema = _object(raw)
        required = _decoded(schema.get("required"))
        properties = _object(schema.get("properties", Raw(b"{}")))
        others = bytes(schema.get("additionalProperties", Raw(b"false" if properties else b"true")))
        return cls(
            properties,
            [name for name in required if isinstance(name, str)] if isinstance(required, list) else [],
            others != b"false",
            bytes(raw).decode(),
        )

    def allows(self, name: str, value: Raw) -> bool:
        """Whether the argument ``name`` may be an object or text such as ``value``. True if the schema does not say."""
        types = _decoded(_object(self.properties[name]).get("type"))
        kind = "object" if bytes(value)[:1] == b"{" else "string"
        return types is None or kind in (types if isinstance(types, list) else [types])

    def example(self) -> dict[str, object]:
        """Arguments with a value for each required one, or for the first few."""
        names = self.required or list(self.properties)[:_MAX_OPTIONAL]
        return {name: _example(_object(self.properties.get(name, Raw(b"{}")))) for name in names}


def refuse_get(problem: str, groups: Iterable[str], **form: object) -> CallRefused:
    """The refusal of a call of ``get_dynamic_tools``. ``form`` has the members of the right form."""
    return CallRefused(f"{GET}: {problem}. Groups: {name_list(groups)}.\n{_right(form)}")


def refuse_call(problem: str, **form: object) -> CallRefused:
    """The refusal of a call of ``call_dynamic_tool``. ``form`` has the members of the right form."""
    return CallRefused(f"{CALL}: {problem}.\n{_right(form)}")


def refuse_arguments(problem: str, schema: Schema, **form: object) -> CallRefused:
    """The refusal of the arguments of a known tool. If ``form`` has no args, the right form has an example of them."""
    if "args" not in form:
        problem += ". The values in the right form are examples"
        form["args"] = schema.example()
    text = f"{refuse_call(problem, **form)}\nInput schema of the tool: {cut(schema.text, MAX_TEXT)}"
    return CallRefused(text)


def _right(form: Mapping[str, object]) -> str:
    return f"Right form: {cut(msgspec.json.encode(form).decode(), MAX_TEXT)}"


def _example(schema: Mapping[str, Raw]) -> object:
    """A value for an argument: one that its schema names, or one of its type."""
    for member in ("default", "const"):
        if member in schema:
            return schema[member]
    for member in ("examples", "enum"):
        values = _decoded(schema.get(member))
        if isinstance(values, list) and values:
            return values[0]
    kind = _decoded(schema.get("type"))
    kind = kind[0] if isinstance(kind, list) and kind else kind
    return _EXAMPLES.get(kind, "text") if isinstance(kind, str) else "text"


def _decoded(raw: Raw | None) -> Any:
    return None if raw is None else msgspec.json.decode(raw)


def _object(raw: Raw) -> dict[str, Raw]:
    """The members of a JSON object; none for another value, such as the schema ``true``."""
    try:
        return decode_members(raw)
    except msgspec.DecodeError:
        return {}
