"""Removes optional members that are null from messages, because the schemas of MCP do not allow them, and official clients refuse them.

Libraries that write every field of an object write null for a missing one. This module removes only optional members that MCP defines, and
null entries of lists that MCP defines. It keeps any other null, for example in structured content, metadata and unknown members. A value
without a null to remove keeps its bytes, and so does a large one. ``valid_result`` also repairs the list of a result.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Raw

from dynamic_mcp.protocol.jsonrpc import NULL, decode_members
from dynamic_mcp.protocol.known_members import KnownMembers
from dynamic_mcp.protocol.outline import without_long_texts
from dynamic_mcp.protocol.pieces import LARGE

#: Objects and arrays inside each other that are searched, objects and arrays with a null in one value, and entries of one array.
_MAX_DEPTH = 6
_MAX_SEARCHED = 2000
_MAX_ENTRIES = 10_000
#: The optional members of MCP that a server may write as null.
_OPTIONAL = frozenset(
    [
        "_meta",
        "annotations",
        "arguments",
        "audience",
        "blob",
        "capabilities",
        "completions",
        "description",
        "icons",
        "includeContext",
        "instructions",
        "isError",
        "lastModified",
        "logger",
        "message",
        "metadata",
        "mimeType",
        "mode",
        "modelPreferences",
        "nextCursor",
        "priority",
        "prompts",
        "required",
        "resources",
        "serverInfo",
        "size",
        "sizes",
        "stopSequences",
        "structuredContent",
        "supportedVersions",
        "systemPrompt",
        "temperature",
        "text",
        "title",
        "toolChoice",
        "tools",
        "total",
        "uri",
        "websiteUrl",
    ]
)
#: Members whose values consist of members and entries of MCP.
_CONTAINERS = frozenset({"annotations", "arguments", "content", "contents", "icons", "messages", "resource"})
_KNOWN = KnownMembers(
    "_meta",
    "content",
    "contents",
    "description",
    "isError",
    "messages",
    "resultType",
    "structuredContent",
    "task",
)
#: The list that a result has to have, by method.
_LISTS = {"tools/call": "content", "resources/read": "contents", "prompts/get": "messages"}
_IS_LIST = {method: re.compile(rb'"%b"\s*:\s*\[' % name.encode()).search for method, name in _LISTS.items()}
#: Members of a tool result of another kind: of a task (MCP 2025-11-25), or of MCP 2024-10-07.
_OF_OTHER_KINDS = ("task", "toolResult")
#: takes half the time of ``in`` for a long text
_HAS_NULL = re.compile(NULL).search

_decode_entries = msgspec.json.Decoder(list[Raw]).decode


def valid_result(method: str, result: bytes) -> bytes:
    """The result of a request without nulls, and with its list, which is empty if there was none. A large result stays as it is."""
    name = _LISTS.get(method)
    if name is None or len(result) > LARGE:
        return result
    outline = without_long_texts(result)
    if _HAS_NULL(outline) is None and _IS_LIST[method](outline):
        return result
    if result[:1] == b"{" and _KNOWN.has_many_others(result):
        return result
    members = decode_members(result)
    listed = members.get(name)
    kept = without_nulls(result)
    is_missing = _lacks_list(members) if listed is None else bytes(listed) == NULL
    if is_missing:
        return msgspec.json.encode({**decode_members(kept), name: []})
    if listed is None or (bytes(listed)[:1] == b"[" and method != "tools/call"):
        return kept
    entries = _entries(bytes(listed)) if method == "tools/call" else None
    if entries is None:
        return kept
    left = iter(range(_MAX_SEARCHED))
    repaired = [Raw(_without_nulls(one, _MAX_DEPTH, left)) for one in entries]
    return msgspec.json.encode({**decode_members(kept), name: repaired})


def _lacks_list(members: dict[str, Raw]) -> bool:
    """Whether a result without its list is one of the kind that has a list."""
    kind = members.get("resultType")
    return (kind is None or bytes(kind) == b'"complete"') and not any(
        name in members for name in _OF_OTHER_KINDS
    )


def _entries(content: bytes) -> list[bytes] | None:
    """The blocks of the content of a tool result: a text or a single block counts too. None for a list of blocks as it should be."""
    if content[:1] != b"[":
        return [_block(content)]
    entries = [bytes(raw) for raw in _decode_entries(content) if bytes(raw) != NULL]
    return None if all(one[:1] == b"{" for one in entries) else [*map(_block, entries)]


def _block(value: bytes) -> bytes:
    if value[:1] == b"{":
        return value
    text = Raw(value) if value[:1] == b'"' else value.decode()
    return msgspec.json.encode({"type": "text", "text": text})


def without_nulls(value: bytes, depth: int = _MAX_DEPTH) -> bytes:
    """A JSON value without members and entries that are null; the same bytes if it has none. What is beyond the bounds stays."""
    return value if len(value) > LARGE else _without_nulls(value, depth, iter(range(_MAX_SEARCHED)))


def _without_nulls(value: bytes, depth: int, left: Iterator[int]) -> bytes:
    """``left`` has an element for each object and array that may still be searched."""
    if NULL not in value or not depth or next(left, None) is None:
        return value
    if value[:1] == b"{":
        members = decode_members(value)
        kept = {
            name: Raw(_without_nulls(bytes(raw), depth - 1, left)) if name in _CONTAINERS else raw
            for name, raw in members.items()
            if name not in _OPTIONAL or bytes(raw) != NULL
        }
        return value if _same(members.values(), kept.values()) else msgspec.json.encode(kept)
    if value[:1] == b"[":
        entries = _decode_entries(value)
        if len(entries) > _MAX_ENTRIES:
            return value
        kept_entries = [
            Raw(_without_nulls(bytes(raw), depth - 1, left)) for raw in entries if bytes(raw) != NULL
        ]
        return value if _same(entries, kept_entries) else msgspec.json.encode(kept_entries)
    return value


def _same(before: Iterable[Raw], after: Iterable[Raw]) -> bool:
    return [*map(bytes, before)] == [*map(bytes, after)]
