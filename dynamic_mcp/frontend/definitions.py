"""The answer of ``get_dynamic_tools``: an object with the group, the server's own instructions, and the definitions of its tools.

Definitions are the bytes of the upstream. Clients cut long answers. So if the definitions of a group are larger than
``max_listing_size``, the answer has its names with one line each. The answer for a named tool has its whole definition. In an answer for a
whole group or a search, the definitions or names have at most that size. The instructions add up to ``MAX_INSTRUCTIONS`` bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

import msgspec
from msgspec import Raw

from dynamic_mcp.config.model import ToolRules
from dynamic_mcp.frontend.ranking import descriptions_of, rank, text_of
from dynamic_mcp.groups.group import Group
from dynamic_mcp.groups.listing import TOOLS, Listing
from dynamic_mcp.protocol import jsonrpc
from dynamic_mcp.tasks import Slices
from dynamic_mcp.wording import cut, name_list

#: Bytes of the instructions that an answer shows.
MAX_INSTRUCTIONS = 4 << 10
#: The share of the size that definitions or names have, however long the instructions are.
_MIN_SHARE = 1 / 3
#: Characters of the line of a tool: the first width is used with which all tools fit.
_WIDTHS = [120, 60, 30, 0]
_WIDTHS_OF_SEARCH = [120, 60]
#: Bytes of a line with an empty name.
_MIN_LINE = len('{"name":""},')

_HOW = (
    'For a complete definition ask again with "name" (one name, or several with commas), '
    'or with "search" (a few words; the best match comes first).'
)


async def answer(group: Group, tools: Listing, instructions: Raw, names: Sequence[str], search: str) -> bytes:
    """The result for the named tools; without names for those that the search finds, and without both for all tools.

    ``instructions`` are those of the handshake, any value. The caller makes sure that one of the names is in ``tools``.
    """
    told = _instructions(group, instructions)
    if names:
        note = _about_missing(group, tools, [name for name in names if name not in tools])
        found = [tools[name] for name in names if name in tools]
        return await _result(group.name, note, told, found, tools_first=True)
    if is_search := bool(search.strip()):
        chosen, widths = await rank(tools, search), _WIDTHS_OF_SEARCH
        count = f"Tools that match: {len(chosen):,}"
        note = "" if chosen else f"No tool matches {cut(search)!r}. Without search, you get all tools."
        note += _about_cut(tools)
    else:
        chosen, widths = list(tools), _WIDTHS
        note = _about_cut(tools) if tools or tools.cut else _about_none(group)
        count = f"Tools of this group: {len(chosen):,}"
    found = [tools[name] for name in chosen]
    limit = group.server.max_listing_size
    size = max(limit - len(told), int(limit * _MIN_SHARE))
    if not _fits(found, size):
        found = _lines(tools, chosen, widths, size)
        left = len(chosen) - len(found)
        more = f" Not shown: {left:,}; find them with search." if left else ""
        note = f"{count}. These are names and short descriptions only. {_HOW}{more}{_about_cut(tools)}"
    return await _result(group.name, note, told, found, tools_first=is_search)


def _about_missing(group: Group, tools: Listing, names: Iterable[str]) -> str:
    """The note about the names that no tool has, and about those that the configuration switches off."""
    off = {name: setting for name in names if (setting := group.switched_off_by(name))}
    unknown = [name for name in names if name not in off]
    notes = [f"The configuration switches off {cut(name)!r} ({setting})." for name, setting in off.items()]
    if unknown:
        notes.append(f"The group has no tool of this name: {name_list(unknown)}.{_about_cut(tools)}")
    return " ".join(notes)


def _about_cut(tools: Listing) -> str:
    return f" This list is incomplete: {tools.cut}." if tools.cut else ""


def _about_none(group: Group) -> str:
    if group.upstream is not None and TOOLS.feature not in group.upstream.agreed.capabilities:
        return "The server declares no tools, so the proxy does not ask for a list of them."
    if group.server.tools == ToolRules():
        return "The server lists no tools."
    return "The server lists no tool that the configuration allows (tools)."


def _instructions(group: Group, raw: Raw) -> bytes:
    """The instructions as JSON text, cut after ``MAX_INSTRUCTIONS`` bytes; empty for none, and for anything but a text."""
    if not raw or bytes(raw) == jsonrpc.NULL:
        return b""
    text = text_of(raw)
    if text is None:
        group.on_oddity("gave instructions that are not a text")
        return b""
    data = text.strip().encode()
    if len(data) > MAX_INSTRUCTIONS:
        shown = data[:MAX_INSTRUCTIONS].decode(errors="ignore")
        text = f"{shown}... (cut here; the server wrote {len(text):,} characters)"
    return msgspec.json.encode(text.strip()) if data else b""


def _fits(tools: Iterable[Raw], size: int) -> bool:
    for tool in tools:
        size -= memoryview(tool).nbytes + 1
        if size < 0:
            return False
    return True


def _lines(tools: Mapping[str, Raw], names: Iterable[str], widths: Sequence[int], size: int) -> list[Raw]:
    """A line for each tool, as long as all fit; else for as many of the first as possible, as short as possible."""
    # More tools than this do not fit, and millions of them need not be read.
    short = [(name, _summary(tools[name])) for name in islice(names, size // _MIN_LINE + 1)]
    lines: list[Raw] = []
    for width in widths:
        lines, left = [], size
        for name, summary in short:
            line = _line(name, summary, width)
            left -= len(line) + 1
            if left < 0:
                break
            lines.append(Raw(line))
        else:
            break
    return lines


def _summary(raw: Raw) -> str:
    """The beginning of the description on one line, or the title without one."""
    title, description = descriptions_of(raw)
    return " ".join(description[: 4 * _WIDTHS[0]].split()) or title


def _line(name: str, summary: str, width: int) -> bytes:
    entry = {"name": name}
    if summary and width:
        entry["description"] = summary if len(summary) <= width else f"{summary[:width]}..."
    return msgspec.json.encode(entry)


async def _result(
    group: str, note: str, instructions: bytes, tools: Iterable[Raw], *, tools_first: bool
) -> bytes:
    """The result. Tools that the model asked for come before the instructions, because a client may cut the end."""
    head = b'{"group":%b' % msgspec.json.encode(group)
    if note:
        head += b',"note":%b' % msgspec.json.encode(note.strip())
    told = b',"instructions":%b' % instructions if instructions else b""
    before, after = (b"", told) if tools_first else (told, b"")
    parts, slices = [], Slices()
    for tool in tools:
        # Each definition by itself, because the text of a long list takes several times its bytes.
        parts.append(_escaped(bytes(tool)))
        await slices.rest()
    return b'{"content":[{"type":"text","text":"%b%b%b"}]}' % (
        _escaped(b'%b%b,"tools":[' % (head, before)),
        b",".join(parts),
        _escaped(b"]%b}" % after),
    )


def _escaped(text: bytes) -> bytes:
    """A part of a JSON text, as a part of a JSON string."""
    return msgspec.json.encode(text.decode())[1:-1]
