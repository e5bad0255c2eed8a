"""JSON Schemas that mean the same in another form."""

from __future__ import annotations

from typing import Any

_PLACE = "#/$defs/"


def inlined(schema: Any) -> Any:
    """The schema with the definitions of its own `$defs` in place of the references to them, and without `$defs`.

    A proxy may write a schema this way. A reference to nothing, or to a definition that contains it, stays with `$defs`.
    """
    definitions = schema.get("$defs") if isinstance(schema, dict) else None
    if not isinstance(definitions, dict):
        return schema
    rest = {name: value for name, value in schema.items() if name != "$defs"}
    found = _resolved(rest, definitions, ())
    return found if found is not None else schema


def _resolved(value: Any, definitions: dict[str, Any], inside: tuple[str, ...]) -> Any:
    """None if a reference cannot be resolved; a value that is null stays null."""
    if isinstance(value, list):
        parts = [(one, _resolved(one, definitions, inside)) for one in value]
        return None if any(_failed(*part) for part in parts) else [part for _, part in parts]
    if not isinstance(value, dict):
        return value
    reference = value.get("$ref")
    if isinstance(reference, str) and reference.startswith(_PLACE):
        name = reference.removeprefix(_PLACE)
        target = definitions.get(name)
        if name in inside or not isinstance(target, dict):
            return None
        value = {**target, **{key: one for key, one in value.items() if key != "$ref"}}
        inside = (*inside, name)
    members = {key: (one, _resolved(one, definitions, inside)) for key, one in value.items()}
    if any(_failed(*pair) for pair in members.values()):
        return None
    return {key: one for key, (_, one) in members.items()}


def _failed(before: Any, after: Any) -> bool:
    return after is None and before is not None
