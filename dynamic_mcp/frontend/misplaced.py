"""Arguments of an upstream's tool that a model put beside ``args``, under another name, or in another form.

The schema of the tool decides what they mean. If it does not, the call is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import msgspec
from msgspec import Raw

from dynamic_mcp.frontend.right_form import Schema, refuse_arguments
from dynamic_mcp.protocol.jsonrpc import NULL, decode_members
from dynamic_mcp.wording import name_list

#: The names of the members in the words of models, without case and anything but letters.
_NAMES: Mapping[str, frozenset[str]] = {
    "group": frozenset({"group", "groupname", "server", "servername"}),
    "name": frozenset({"name", "tool", "toolname"}),
    "names": frozenset({"name", "names", "tool", "tools", "toolname", "toolnames"}),
    "search": frozenset({"search", "query"}),
    "args": frozenset(
        {"args", "arg", "arguments", "params", "parameters", "input", "inputs", "kwargs"}
        | {f"tool{name}" for name in ("args", "arguments", "params", "parameters", "input")}
    ),
}
#: The levels of JSON inside strings.
_MAX_QUOTED = 3
_NOTHING = (b"", b"[]", NULL)
_NESTED = re.compile(rb'\{\s*"(?i:(?:tool_?)?(?:arg|param|input|kwarg)|group|server)[^"]*"\s*:\s*["{]')

Members = dict[str, Raw]


def is_name_of(member: str, name: str) -> bool:
    """Whether models use this name for a member of the two tools."""
    return _letters(name) in _NAMES[member]


def _letters(name: str) -> str:
    return "".join(filter(str.isalpha, name)).casefold()


def may_be_nested(args: bytes) -> bool:
    """Whether the arguments begin with another ``args``, or like another call. Cheap, because every call needs it."""
    return _NESTED.match(args) is not None


def object_text(raw: Raw) -> bytes | None:
    """The text of a JSON object, also of one inside a string; None for another value."""
    text = bytes(raw)
    try:
        for _ in range(_MAX_QUOTED):
            if text[:1] != b'"':
                break
            text = msgspec.json.decode(text, type=str).strip().encode()
        decode_members(text)
    except (msgspec.DecodeError, RecursionError):
        return None
    return text


def shown(args: bytes, others: Mapping[str, Raw]) -> Members:
    """All arguments that the model gave, as its next call should have them."""
    found = _members(args) or {}
    for name, raw in others.items():
        inner = _members(raw) if is_name_of("args", name) else None
        found |= {name: raw} if inner is None else inner
    return found


def place(args: bytes, others: Mapping[str, Raw], group: str, tool: str, definition: Raw) -> bytes:
    """The arguments for the tool with this definition: a JSON object. Raises CallRefused if their meaning is not clear."""
    schema = Schema.of(definition)
    beside = {name: raw for name, raw in others.items() if name in schema.properties or _counts(name, raw)}
    if (text := _args_text(args, schema)) is None:
        if "args" not in schema.properties:
            raise refuse_arguments("args must be an object", schema, group=group, name=tool)
        # The tool itself has an argument of this name.
        text, beside["args"] = b"{}", Raw(args)
    if not beside:
        return _lifted(text, schema, {"group": group, "name": tool})
    readings = list(_readings(decode_members(text), beside, schema))
    if len(readings) == 1:
        return msgspec.json.encode(readings[0])
    problem = f"the arguments of the tool belong into args. Beside it: {name_list(map(repr, beside))}"
    if unknown := [
        repr(name) for name in beside if name not in schema.properties and not is_name_of("args", name)
    ]:
        problem += f". The schema of the tool does not have {name_list(unknown)}"
    form: dict[str, object] = {
        known: raw
        for name, raw in shown(text, beside).items()
        if (known := _known_name(name, schema)) is not None
    }
    if missing := {
        name: value
        for name, value in schema.example().items()
        if name in schema.required and name not in form
    }:
        problem += f". The value of {name_list(map(repr, missing))} in the right form is an example"
    raise refuse_arguments(problem, schema, group=group, name=tool, args=form | missing)


def _known_name(name: str, schema: Schema) -> str | None:
    """The name of this argument in the schema, even if it is spelt with other capitals and signs; None without one."""
    if name in schema.properties:
        return name
    similar = [known for known in schema.properties if _letters(known) == _letters(name)]
    return similar[0] if similar else (name if schema.is_open else None)


def _counts(name: str, raw: Raw) -> bool:
    """Whether a member that is no argument of the tool says something. Clients add members that begin with an underscore."""
    is_empty = bytes(raw) == NULL or (is_name_of("args", name) and bytes(raw) in (b"{}", b"[]", b'""'))
    return not is_empty and not name.startswith("_")


def _args_text(args: bytes, schema: Schema) -> bytes | None:
    """The value of ``args`` as the text of an object; None if it is something else."""
    if args in _NOTHING or (args[:1] == b'"' and msgspec.json.decode(args, type=str).strip() in ("", "null")):
        return b"{}"
    if args[:1] != b"[":
        return object_text(Raw(args))
    elements = msgspec.json.decode(args, type=list[Raw])
    text = object_text(elements[0]) if len(elements) == 1 else None
    return text if text is not None and _fits(decode_members(text), schema) else None


def _lifted(text: bytes, schema: Schema, call: Mapping[str, str]) -> bytes:
    """The content of arguments whose only member is another ``args``, if only the content fits the schema.

    They may also repeat the group and the name of the ``call``.
    """
    outer = {name: raw for name, raw in decode_members(text).items() if not _repeats(name, raw, schema, call)}
    (name, raw), *more = outer.items() or [("", Raw(NULL))]
    if more or name in schema.properties or not is_name_of("args", name):
        return text
    inner = _members(raw)
    return msgspec.json.encode(inner) if inner is not None and _fits(inner, schema) else text


def _repeats(name: str, raw: Raw, schema: Schema, call: Mapping[str, str]) -> bool:
    """Whether a member that the schema does not have repeats the group or the name of the call."""
    if name in schema.properties or bytes(raw)[:1] != b'"':
        return False
    return any(
        is_name_of(member, name) and msgspec.json.decode(raw) == value for member, value in call.items()
    )


def _fits(args: Members, schema: Schema) -> bool:
    """Whether there are arguments, and the schema has all of them."""
    return bool(args) and args.keys() <= schema.properties.keys()


def _readings(args: Members, beside: Members, schema: Schema) -> Iterator[Members]:
    """The possible arguments of a call with members beside ``args``: all members together, or the content of the only one."""
    name, raw = next(iter(beside.items()))
    inner = _members(raw) if len(beside) == 1 else None
    if (
        inner is not None
        and not is_name_of("args", name)
        and (name in schema.properties or not _fits(inner, schema))
    ):
        inner = None
    if args and inner is not None and msgspec.json.encode(args) != msgspec.json.encode(inner):
        inner = None
    is_flat = all(
        name in schema.properties and bytes(args.get(name, raw)) == bytes(raw) for name, raw in beside.items()
    )
    if is_flat and inner is not None:
        is_flat = schema.allows(name, raw) and set(schema.required) <= {name}
        if not (_fits(inner, schema) and set(schema.required) <= inner.keys()):
            inner = None
    if is_flat:
        yield args | beside
    if inner is not None:
        yield inner


def _members(raw: bytes | Raw) -> Members | None:
    text = object_text(Raw(raw))
    return None if text is None else decode_members(text)
