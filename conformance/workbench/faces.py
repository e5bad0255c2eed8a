"""The face of a proxy: how its client lists and calls the tools of its upstreams.

With a dynamic face, two tools stand in front of all others. With a flat face, each tool of an upstream is a tool of the proxy. The profile
describes its name, or the list shows it. A check uses the same methods on both.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from conformance.errors import NotApplicable, Untestable
from conformance.workbench.inbox import Answer
from conformance.workbench.listed_tools import ListedTools
from conformance.workbench.listing_forms import listing_text, offered_groups
from conformance.workbench.names import formatted
from conformance.workbench.timeline import shorten

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from conformance.model.profile import Profile
    from conformance.workbench.listed_tools import Around
    from conformance.workbench.mocks import MockUpstream
    from conformance.workbench.transcript import Json

#: sends a request as a prerequisite: method, params, seconds
Ask: TypeAlias = Callable[[str, "Json", float], Awaitable[Answer]]

#: a list with more pages than this counts as endless
MAX_PAGES = 100


class Face(Protocol):
    """What a check does with the tools of a group, in requests of this face."""

    async def tools_of(self, ask: Ask, group: str, within: float, selection: Json) -> Answer:
        """The answer that lists the tools of a group under their own names; `selection` are further arguments."""

    async def groups(self, ask: Ask, among: Sequence[str], within: float) -> list[str]:
        """The groups that the proxy offers now; some faces show only those of `among`."""

    async def listing_tool(self, ask: Ask, within: float) -> Json:
        """The definition of the listing tool. Raises `NotApplicable` if the face has none."""

    def waking(self, group: str) -> tuple[str, Json]:
        """The method and params of a request that makes a lazy proxy connect to the upstream."""

    def call_params(self, group: str, tool: str, args: Json | None) -> Json:
        """The params of `tools/call` for this tool of a group."""

    def called(self, params: Json) -> list[tuple[str, str, Any]]:
        """The group, tool and arguments that these params of `tools/call` can mean; empty if the face does not know."""


class DynamicFace:
    """The two tools of dynamic-mcp, under the names of the profile."""

    def __init__(self, tools: Mapping[str, str]) -> None:
        self._list_tool, self._call_tool = tools["list"], tools["call"]

    async def tools_of(self, ask: Ask, group: str, within: float, selection: Json) -> Answer:
        method, params = self.waking(group)
        arguments = {**params["arguments"], **selection}
        return await ask(method, {**params, "arguments": arguments}, within)

    async def groups(self, ask: Ask, among: Sequence[str], within: float) -> list[str]:
        """From the enum of the `group` argument. Without an enum, those of `among` that the definition of the tool describes.

        If it describes none of them, those that the tool names when it gets no group, by the same rule.
        """
        offered = offered_groups(await self.listing_tool(ask, within), among)
        if offered or not among:
            return offered
        answer = await ask("tools/call", {"name": self._list_tool, "arguments": {}}, within)
        return offered_groups({"description": listing_text(answer)}, among)

    async def listing_tool(self, ask: Ask, within: float) -> Json:
        _, found, raw = await _all_pages(ask, within)
        for tool in found:
            if tool.get("name") == self._list_tool:
                return tool
        raise Untestable(f"tools/list shows no tool {self._list_tool}: {shorten(raw)}")

    def waking(self, group: str) -> tuple[str, Json]:
        return "tools/call", {"name": self._list_tool, "arguments": {"group": group}}

    def call_params(self, group: str, tool: str, args: Json | None) -> Json:
        arguments = {"group": group, "name": tool, "args": {} if args is None else args}
        return {"name": self._call_tool, "arguments": arguments}

    def called(self, params: Json) -> list[tuple[str, str, Any]]:
        asked = params.get("arguments")
        if params.get("name") != self._call_tool or not isinstance(asked, dict):
            return []
        group, tool = asked.get("group"), asked.get("name")
        # With arguments under another name, the check itself knows what has to arrive.
        is_plain = asked.keys() <= {"group", "name", "args"}
        if not (is_plain and isinstance(group, str) and isinstance(tool, str)):
            return []
        return [(group, tool, asked.get("args", {}))]


class FlatFace:
    """Each tool of an upstream is a tool of the proxy.

    The pattern of the profile makes its name. If the list shows no such name, or the profile has no pattern, the list decides
    (`conformance.workbench.listed_tools`). Limit: of two groups that show one name without a prefix, either can have got the call.
    """

    def __init__(
        self, profile: Profile, upstreams: Callable[[], Sequence[MockUpstream]], alone: bool
    ) -> None:
        """`upstreams` are those that the proxy can have; `alone`: it has one."""
        self._pattern = profile.names.pattern("tool", alone=alone)
        self._alone = alone
        #: by group: what stood around the names of its tools when the list showed one
        self._learned: dict[str, Around] = {}
        #: by group and tool: its name when the list showed it
        self._names: dict[tuple[str, str], str] = {}
        self._upstreams = upstreams
        self._listed = ListedTools((), ())
        #: by name: what `call_params` meant by it
        self._made: dict[str, set[tuple[str, str]]] = {}

    async def tools_of(self, ask: Ask, group: str, within: float, selection: Json) -> Answer:
        if selection:
            raise NotApplicable("the face of the program is flat: tools/list selects no tools")
        answer, raw = await self._list(ask, within)
        if answer.is_error:
            return answer
        result = {"content": [], "structuredContent": {"tools": list(self._own(group))}}
        message = {**answer.message, "result": result}
        # A reader looks for what the program has sent, and not for the part that is of the group.
        return Answer(message, raw, answer.t)

    async def groups(self, ask: Ask, among: Sequence[str], within: float) -> list[str]:
        await self._list(ask, within)
        return [group for group in among if any(self._own(group))]

    async def listing_tool(self, ask: Ask, within: float) -> Json:
        raise NotApplicable("the face of the program is flat: it has no tool that lists the tools of a group")

    def waking(self, group: str) -> tuple[str, Json]:
        return "tools/list", {}

    def call_params(self, group: str, tool: str, args: Json | None) -> Json:
        """Raises `NotApplicable` if the list does not tell the tool from that of the same name of another group."""
        name = self._name_of(group, tool)
        self._made.setdefault(name, set()).add((group, tool))
        return {"name": name, "arguments": {} if args is None else args}

    def called(self, params: Json) -> list[tuple[str, str, Any]]:
        name = params.get("name")
        meant = self._made.get(name, set()) if isinstance(name, str) else set()
        return [(group, tool, params.get("arguments", {})) for group, tool in sorted(meant)]

    async def _list(self, ask: Ask, within: float) -> tuple[Answer, str]:
        """The last answer to `tools/list`, and all its pages as the program sent them."""
        answer, found, raw = await _all_pages(ask, within)
        named = [tool for tool in found if isinstance(tool.get("name"), str)]
        self._listed = ListedTools(named, self._upstreams())
        return answer, raw

    def _own(self, group: str) -> Iterator[Json]:
        """The definitions in the list that are of the group, under their own names."""
        one_by_one = None if self._fits_pattern(group) else self._listed.own(group)
        of_others = self._listed.of_others(group)
        for own, tool in self._by_affixes(group) if one_by_one is None else one_by_one:
            if tool["name"] != own or own not in of_others:
                yield {**tool, "name": own}

    def _by_affixes(self, group: str) -> Iterator[tuple[str, Json]]:
        around = self._affixes(group) or (("", "") if self._alone else None)
        if around is None:
            return
        before, after = around
        for tool in self._listed.shown:
            name = tool["name"]
            if len(name) >= len(before) + len(after) and name.startswith(before) and name.endswith(after):
                yield name[len(before) : len(name) - len(after)], tool

    def _name_of(self, group: str, tool: str) -> str:
        if not self._fits_pattern(group):
            if found := self._listed.name(group, tool):
                self._names[group, tool] = found
            if (group, tool) in self._names:
                return self._names[group, tool]
        before, after = self._affixes(group) or self._wanted(group)
        return f"{before}{tool}{after}"

    def _affixes(self, group: str) -> Around | None:
        """What stands before and after the own name of a tool of this group; None if no list has shown one."""
        around = self._wanted(group) if self._fits_pattern(group) else self._listed.around(group)
        if around is not None:
            self._learned[group] = around
        return self._learned.get(group)

    def _fits_pattern(self, group: str) -> bool:
        """Whether the profile has a pattern, and the list shows a name that it can have made for this group."""
        before, after = self._wanted(group)
        names = [tool["name"] for tool in self._listed.shown]
        return bool(self._pattern) and any(name.startswith(before) and name.endswith(after) for name in names)

    def _wanted(self, group: str) -> tuple[str, str]:
        """What the pattern of the profile puts before and after; nothing without a pattern."""
        before, _, after = formatted(self._pattern or "{tool}", server=group, tool="\0").partition("\0")
        return before, after


async def _all_pages(ask: Ask, within: float) -> tuple[Answer, list[Json], str]:
    """The last answer to `tools/list`, the definitions on all its pages, and these as the program sent them."""
    found: list[Json] = []
    pages: list[str] = []
    params: Json = {}
    for _ in range(MAX_PAGES):
        answer = await ask("tools/list", params, within)
        pages.append(answer.raw)
        found += _tools_on(answer)
        cursor = answer.member("nextCursor")
        if answer.is_error or cursor is None:
            break
        params = {"cursor": cursor}
    return answer, found, "\n".join(pages)


def _tools_on(page: Answer) -> list[Json]:
    """The definitions in an answer to `tools/list`; none if the answer has another shape."""
    tools = page.member("tools")
    return [tool for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []


def face_of(profile: Profile, upstreams: Callable[[], Sequence[MockUpstream]], *, alone: bool) -> Face:
    """The face that the profile describes."""
    return FlatFace(profile, upstreams, alone) if profile.face == "flat" else DynamicFace(profile.tools)
