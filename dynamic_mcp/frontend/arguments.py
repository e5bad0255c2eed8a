"""Reads the arguments of the two tools, as models write them.

A call that has one possible meaning is understood, with everything that the model gave. Any other call is refused, and the refusal shows
the right form. So no call reaches an upstream with less than the model gave. An unknown member that begins with an underscore does not
count, because clients add such members. An optional member that is empty, such as "" or null, counts as absent, because strict schemas make
models fill in every member.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Protocol

import msgspec
from msgspec import Raw

from dynamic_mcp.errors import CallRefused
from dynamic_mcp.frontend.misplaced import is_name_of, may_be_nested, object_text, place, shown
from dynamic_mcp.frontend.right_form import UNKNOWN_GROUP, UNKNOWN_TOOL, refuse_call, refuse_get
from dynamic_mcp.frontend.tool_surface import CALL, GET
from dynamic_mcp.groups.listing import TOOLS, Kind
from dynamic_mcp.protocol.jsonrpc import NULL, decode_members
from dynamic_mcp.wording import name_list

#: What models put between the names of a group and of its tool.
_SEPARATORS = (".", "/", "__", "::", ":")
#: The levels of calls inside calls.
_MAX_WRAPPED = 3
_NOTHING = (b"", NULL, b'""', b"[]", b"{}")


class KnownGroup(Protocol):
    """What a refusal has to know about a group."""

    def last_names(self, kind: Kind) -> Collection[str] | None:
        """The names in the last listing; None if there was no listing yet."""
        ...


Groups = Mapping[str, KnownGroup]


class GetArguments(msgspec.Struct, frozen=True):
    """The arguments of ``get_dynamic_tools``."""

    group: str
    #: the tools to return; empty for all
    names: tuple[str, ...] = ()
    search: str = ""


class CallArguments(msgspec.Struct, forbid_unknown_fields=True):
    """The arguments of ``call_dynamic_tool``."""

    group: str
    name: str
    #: as the model gave them; empty if it gave none
    args: Raw = Raw(b"")

    @property
    def given(self) -> Raw:
        """The arguments that the model gave, for a log."""
        return self.args

    def about_others(self) -> str:
        """A sentence about the members of the call that it does not take; "" without any."""
        return ""

    def for_tool(self, name: str, definition: Raw) -> bytes:
        """The arguments for the tool of this name: a JSON object. Raises CallRefused if their meaning is not clear."""
        args = bytes(self.args) or b"{}"
        if args[:1] == b"{" and not may_be_nested(args):
            return args
        return place(args, {}, self.group, name, definition)


class LooseArguments(CallArguments):
    """The arguments of ``call_dynamic_tool`` with further members."""

    #: their meaning depends on the tool
    beside: dict[str, Raw] = {}

    @property
    def given(self) -> Raw:
        """The arguments that the model gave, for a log."""
        if not self.beside:
            return self.args
        args = {} if object_text(self.args) or not self.args else {"args": self.args}
        return Raw(msgspec.json.encode(args | shown(bytes(self.args), self.beside)))

    def about_others(self) -> str:
        """A sentence about the members of the call that it does not take; "" without any."""
        if not self.beside:
            return ""
        return f" A call takes group, name and args; unknown: {name_list(map(repr, self.beside))}."

    def for_tool(self, name: str, definition: Raw) -> bytes:
        """The arguments for the tool of this name: a JSON object. Raises CallRefused if their meaning is not clear."""
        return place(bytes(self.args), self.beside, self.group, name, definition)


_decode_call = msgspec.json.Decoder(CallArguments).decode
_decode_texts = msgspec.json.Decoder(str | list[str]).decode


def read_call(arguments: Raw, groups: Groups) -> CallArguments:
    """Read the arguments of ``call_dynamic_tool``. Raises CallRefused."""
    try:
        call = _decode_call(arguments)
    except msgspec.ValidationError:
        pass
    else:
        if call.group in groups and call.name:
            return call
    members = _members(CALL, arguments)
    if members is None:
        group = next(iter(groups)) if len(groups) == 1 else UNKNOWN_GROUP
        raise refuse_call("the arguments must be an object", group=group, name=UNKNOWN_TOOL, args={})
    given = _take(members, "group"), _take(members, "name")
    args = members.pop("args", Raw(b""))
    group, name = map(_text, given)
    if None in given and (group or name):
        group, name = find_pair(group or name, groups) or (group, name)
    if group and name:
        return LooseArguments(group, name, args, members)
    raise _incomplete(given, group, name, shown(bytes(args), members), groups)


def _incomplete(
    given: tuple[Raw | None, Raw | None], group: str, name: str, args: dict[str, Raw], groups: Groups
) -> CallRefused:
    """The refusal of a call without a group or without a name.

    The form has no tool that the model did not name, because the model makes the call of the form.
    """
    if group:
        problem = f"{_missing('name', given[1])}. {GET} returns the tools of the group"
    else:
        problem = f"{_missing('group', given[0])}. Groups: {name_list(groups)}"
        possible = [other for other in groups if name in _tools_of(other, groups)] or [*groups]
        group = _take_elsewhere("group", given[0], args, possible)
        group = group or (possible[0] if len(possible) == 1 else UNKNOWN_GROUP)
    name = name or _take_elsewhere("name", given[1], args, _tools_of(group, groups)) or UNKNOWN_TOOL
    return refuse_call(problem, group=group, name=name, args=args)


def _take_elsewhere(member: str, raw: Raw | None, args: dict[str, Raw], known: Collection[str]) -> str:
    """The name that stands in an object or a list in the place of a member, or else the known one in ``args``. "" without one.

    ``args`` loses it, and gets the rest of what stands in the place.
    """
    inside = _content(member, raw)
    places = [(inside, key) for key in inside if is_name_of(member, key) or _text(inside[key]) in known]
    places += [(args, key) for key in args if is_name_of(member, key) and _text(args[key]) in known]
    members, key = next(iter(places), (args, ""))
    name = _text(members.pop(key, None))
    args |= shown(b"", inside)
    return name


def _content(member: str, raw: Raw | None) -> dict[str, Raw]:
    """What stands in the place of a text: the members of an object, or the only element of a list."""
    if raw is not None and bytes(raw)[:1] == b"[":
        elements = msgspec.json.decode(raw, type=list[Raw])
        raw = elements[0] if len(elements) == 1 else None
        if raw is not None and _text(raw):
            return {member: raw}
    text = None if raw is None else object_text(raw)
    return {} if text is None else decode_members(text)


def read_get(arguments: Raw, groups: Groups) -> GetArguments:
    """Read the arguments of ``get_dynamic_tools``. Raises CallRefused."""
    first = next(iter(groups), UNKNOWN_GROUP)
    members = _members(GET, arguments)
    if members is None:
        raise refuse_get("the arguments must be an object", groups, group=first)
    raw_group = _take(members, "group")
    group = _text(raw_group)
    raw_names, raw_search = (_take(members, member) or Raw(b"[]") for member in ("names", "search"))
    try:
        names, search = _texts(raw_names), " ".join(_texts(raw_search))
    except msgspec.ValidationError:
        raise refuse_get("name and search must be texts", groups, group=group or first) from None
    if raw_group is None and len(names) == 1 and (split := find_pair(names[0], groups)) is not None:
        group, *names = split
    form = {"group": group or first, **({"name": ",".join(names)} if names else {})}
    if search:
        form["search"] = search
    if not group:
        raise refuse_get(_missing("group", raw_group), groups, **form)
    if unknown := [
        repr(name) for name, raw in members.items() if not name.startswith("_") and bytes(raw) not in _NOTHING
    ]:
        problem = f"{name_list(unknown)} is unknown. It takes group, and optionally name or search"
        raise refuse_get(problem, groups, **form)
    return GetArguments(group, tuple(names), search)


def find_tool(group: str, name: str, known: Collection[str]) -> str:
    """The tool that ``name`` means: without the group in front, if there is such a tool only then."""
    if name in known:
        return name
    return next((one for one in readings(group, name) if one in known), name)


def readings(group: str, name: str) -> list[str]:
    """The tools that ``name`` can mean: the name itself, and what follows the group in front."""
    if not name.startswith(group):
        return [name]
    prefixes = [f"{group}{separator}" for separator in _SEPARATORS]
    return [name, *(name.removeprefix(prefix) for prefix in prefixes if name.startswith(prefix))]


def find_tools(group: str, names: Collection[str], known: Collection[str]) -> tuple[str, ...]:
    """The tools that ``names`` mean. One text may have several names with commas."""
    parts = [part.strip() for name in names for part in ([name] if name in known else name.split(","))]
    return tuple(dict.fromkeys(find_tool(group, part, known) for part in parts if part))


def _members(tool: str, arguments: Raw) -> dict[str, Raw] | None:
    """The members of a call, also of a call inside a string or a member such as ``arguments``. None without an object."""
    text = b"{}" if bytes(arguments) == NULL else object_text(arguments)
    members = None if text is None else decode_members(text)
    for _ in range(_MAX_WRAPPED):
        inner = None if members is None else _call_inside(tool, members)
        if inner is None:
            break
        members = inner
    return members


def _call_inside(tool: str, members: dict[str, Raw]) -> dict[str, Raw] | None:
    """The members of the call inside the only member of a call; None without one."""
    own = {name: raw for name, raw in members.items() if not name.startswith("_")}
    if bytes(own.get("name", Raw(b""))) == b'"%b"' % tool.encode():
        del own["name"]
    if len(own) != 1:
        return None
    ((name, raw),) = own.items()
    text = object_text(raw) if is_name_of("args", name) else None
    return (decode_members(text) or None) if text is not None else None


def _take(members: dict[str, Raw], member: str) -> Raw | None:
    """Remove a member, or the only one with another name of it. None without one, or for an empty one."""
    names = [name for name in members if name == member] or [
        name for name in members if is_name_of(member, name)
    ]
    raw = members.pop(names[0]) if len(names) == 1 else None
    return None if raw is None or bytes(raw) in _NOTHING else raw


def _text(raw: Raw | None) -> str:
    """The text of a member; empty for another value."""
    return "" if raw is None or bytes(raw)[:1] != b'"' else msgspec.json.decode(raw, type=str).strip()


def _texts(raw: Raw) -> list[str]:
    """The texts of a member, also of a list inside a string. Raises msgspec.ValidationError."""
    texts = _decode_texts(raw)
    if isinstance(texts, str) and texts.lstrip().startswith("["):
        with suppress(msgspec.DecodeError):
            texts = msgspec.json.decode(texts, type=list[str])
    return [text for text in ([texts] if isinstance(texts, str) else texts) if text.strip()]


def find_pair(joined: str, groups: Groups) -> tuple[str, str] | None:
    """The group and the tool in a text such as ``group.tool``; None if there is not exactly one pair."""
    found = {
        (group, joined.removeprefix(f"{group}{separator}"))
        for group in groups
        for separator in _SEPARATORS
        if joined.startswith(f"{group}{separator}") and joined != f"{group}{separator}"
    }
    if len(found) > 1:
        found = {(group, name) for group, name in found if name in (groups[group].last_names(TOOLS) or ())}
    return next(iter(found)) if len(found) == 1 else None


def _missing(member: str, raw: Raw | None) -> str:
    return f"{member!r} is missing" if raw is None else f"{member!r} must be a text"


def _tools_of(group: str, groups: Groups) -> Collection[str]:
    """The tools in the last listing of a group; empty for an unknown one."""
    return (groups[group].last_names(TOOLS) if group in groups else None) or ()
