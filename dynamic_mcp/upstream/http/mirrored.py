"""Arguments of tool calls that repeat in HTTP headers, because the schema of the tool asks for it with ``x-mcp-header``.

A gateway can then route a call without reading its body. A tool with an invalid annotation is not usable, because the server would
refuse its calls (MCP 2026-07-28, basic/transports/streamable-http, "Custom Headers from Tool Parameters").
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Raw

from dynamic_mcp.protocol.jsonrpc import decode_members

_KEY = "x-mcp-header"
#: how the name of such a header begins
ARGUMENT = "Mcp-Param-"
#: The largest schema with annotations, in bytes, and the most annotations. Reading a schema takes a quarter of a millisecond for each KiB,
#: and each annotation makes a header in each call.
_MAX_SCHEMA = 1 << 17
MAX_ANNOTATIONS = 100
_MAX_SAFE = 2**53
_PLAIN = re.compile(r"(?:[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)?")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TYPES = {"string", "integer", "boolean"}
#: The keywords of JSON Schema whose values are schemas, by the form of the value.
_ONE = {"additionalProperties", "contains", "contentSchema", "else", "if", "items", "not", "propertyNames"}
_ONE |= {"then", "unevaluatedItems", "unevaluatedProperties"}
_LIST = {"allOf", "anyOf", "items", "oneOf", "prefixItems"}
_NAMED = {"$defs", "definitions", "dependentSchemas", "patternProperties"}

#: The names of the properties from the root of the schema to an argument.
_Path = tuple[str, ...]


class MirroredArguments:
    """The annotated arguments of the tools of one server, as its last listing defines them."""

    def __init__(self) -> None:
        self._headers: dict[str, dict[_Path, str]] = {}

    def learn(self, tool: str, definition: Raw) -> str:
        """Note the annotations of a tool. The result says why the tool cannot be used, and is "" if it can."""
        self._headers.pop(tool, None)
        text = bytes(definition)
        if _KEY.encode() not in text and b"\\u" not in text:
            return ""
        try:
            headers = _annotations(text)
        except ValueError as problem:
            return str(problem)
        if headers:
            self._headers[tool] = headers
        return ""

    def headers(self, params: bytes) -> dict[str, str]:
        """The headers for the params of a ``tools/call``. An argument that is missing, null or no plain value has none."""
        if not self._headers:
            return {}
        call = msgspec.json.decode(params, type=_Call)
        found = {}
        objects: dict[_Path, dict[str, Raw]] = {}
        for path, name in self._headers.get(call.name, {}).items():
            text = _text_at(path, call.arguments, objects)
            if text is not None:
                found[ARGUMENT + name] = header_value(text)
        return found


class _Call(msgspec.Struct):
    name: str
    arguments: Raw = Raw(b"null")


class _Tool(msgspec.Struct):
    schema: Raw = msgspec.field(name="inputSchema", default=Raw(b"{}"))


def header_value(text: str) -> str:
    """A text as the value of a header: in Base64 if it is not plain ASCII ("Value Encoding")."""
    if _PLAIN.fullmatch(text) and not (text.startswith("=?base64?") and text.endswith("?=")):
        return text
    return f"=?base64?{base64.b64encode(text.encode()).decode()}?="


def _annotations(definition: bytes) -> dict[_Path, str]:
    """The header name of each annotated argument. Raises ValueError with what is wrong about an annotation."""
    try:
        schema = bytes(msgspec.json.decode(definition, type=_Tool).schema)
        if len(schema) > _MAX_SCHEMA:
            raise RecursionError
        root = msgspec.json.decode(schema)
    except (msgspec.DecodeError, RecursionError):
        if _KEY.encode() not in definition:
            return {}
        raise ValueError(f"its schema has {_KEY} and is too large or too deep") from None
    headers: dict[_Path, str] = {}
    taken: set[str] = set()
    for path, part in _parts(root):
        if _KEY not in part:
            continue
        if not path:
            raise ValueError(f"{_KEY} is at a place that no chain of properties reaches")
        header = part[_KEY]
        if not isinstance(header, str) or not _TOKEN.fullmatch(header):
            raise ValueError(f"{_KEY} is not the name of a header")
        kinds = _types_of(part) - {"null"}
        if not kinds or not kinds <= _TYPES:
            raise ValueError(f"{_KEY} is at an argument that is no string, integer or boolean")
        if header.lower() in taken:
            raise ValueError(f"two arguments have the same {_KEY}")
        taken.add(header.lower())
        if len(taken) > MAX_ANNOTATIONS:
            raise ValueError(f"more than {MAX_ANNOTATIONS} arguments have {_KEY}")
        headers[path] = header
    return headers


def _types_of(part: dict[str, Any]) -> set[str]:
    found = part.get("type")
    return {one for one in (found if isinstance(found, list) else [found]) if isinstance(one, str)}


def _parts(root: Any) -> Iterator[tuple[_Path | None, dict[str, Any]]]:
    """Each subschema with its path of properties, which is None behind any other keyword. Follows no reference."""
    stack: list[tuple[_Path | None, Any]] = [((), root)]
    while stack:
        path, part = stack.pop()
        if not isinstance(part, dict):
            continue
        yield path, part
        for keyword, value in part.items():
            if keyword == "properties" and isinstance(value, dict):
                stack += [(None if path is None else (*path, name), one) for name, one in value.items()]
            elif keyword in _LIST and isinstance(value, list):
                stack += [(None, one) for one in value]
            elif keyword in _ONE:
                stack.append((None, value))
            elif keyword in _NAMED and isinstance(value, dict):
                stack += [(None, one) for one in value.values()]


def _text_at(path: _Path, arguments: Raw, objects: dict[_Path, dict[str, Raw]]) -> str | None:
    """The text for a header of the argument at a path. ``objects`` keeps what was decoded, for the other paths."""
    value = arguments
    try:
        for depth, name in enumerate(path):
            if (place := path[:depth]) not in objects:
                objects[place] = decode_members(value)
            value = objects[place][name]
        text = bytes(value).decode()
        if text in ("true", "false"):
            return text
        if text.startswith('"'):
            return msgspec.json.decode(value, type=str)
        if text[0] not in "-0123456789":
            return None
        number = float(text)
    except (KeyError, msgspec.DecodeError):
        return None
    # The digits of an integer that a float cannot hold stay as the client wrote them.
    return str(int(number)) if number.is_integer() and abs(number) < _MAX_SAFE else text
