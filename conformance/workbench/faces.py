"""The face of a proxy: how its client lists and calls the tools of its upstreams.

With a dynamic face, two tools stand in front of all others. With a flat face, each tool of an upstream is a tool of the proxy. The profile
describes its name, or the list shows it. A check uses the same methods on both.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from conformance.errors import NotApplicable, Untestable
from conformance.workbench.inbox import Answer
from conformance.workbench.listing_forms import listing_text, offered_groups
from conformance.workbench.names import formatted
from conformance.workbench.timeline import shorten

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from conformance.model.profile import Profile
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
        answer = await ask("tools/list", {}, within)
        for tool in _tools_on(answer):
            if tool.get("name") == self._list_tool:
                return tool
        raise Untestable(f"tools/list shows no tool {self._list_tool}: {shorten(answer.raw)}")

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
    (`affixes`). Limit: of two groups that show one name without a prefix, either can have got the call.
    """

    def __init__(
        self, profile: Profile, upstreams: Callable[[], Sequence[MockUpstream]], alone: bool
    ) -> None:
        """`upstreams` are those that the proxy can have; `alone`: it has one."""
        self._pattern = profile.names.pattern("tool", alone=alone)
        self._alone = alone
        #: by group: what stood around the names of its tools when the list showed one
        self._learned: dict[str, tuple[str, str]] = {}
        self._upstreams = upstreams
        self._shown: list[str] = []
        #: by name: what `call_params` meant by it
        self._made: dict[str, set[tuple[str, str]]] = {}

    async def tools_of(self, ask: Ask, group: str, within: float, selection: Json) -> Answer:
        if selection:
            raise NotApplicable("the face of the program is flat: tools/list selects no tools")
        answer, shown, raw = await self._list(ask, within)
        if answer.is_error:
            return answer
        result = {"content": [], "structuredContent": {"tools": list(self._own(group, shown))}}
        message = {**answer.message, "result": result}
        # A reader looks for what the program has sent, and not for the part that is of the group.
        return Answer(message, raw, answer.t)

    async def groups(self, ask: Ask, among: Sequence[str], within: float) -> list[str]:
        _, shown, _ = await self._list(ask, within)
        return [group for group in among if any(self._own(group, shown))]

    async def listing_tool(self, ask: Ask, within: float) -> Json:
        raise NotApplicable("the face of the program is flat: it has no tool that lists the tools of a group")

    def waking(self, group: str) -> tuple[str, Json]:
        return "tools/list", {}

    def call_params(self, group: str, tool: str, args: Json | None) -> Json:
        before, after = self._affixes(group) or self._wanted(group)
        name = f"{before}{tool}{after}"
        self._made.setdefault(name, set()).add((group, tool))
        return {"name": name, "arguments": {} if args is None else args}

    def called(self, params: Json) -> list[tuple[str, str, Any]]:
        name = params.get("name")
        meant = self._made.get(name, set()) if isinstance(name, str) else set()
        return [(group, tool, params.get("arguments", {})) for group, tool in sorted(meant)]

    async def _list(self, ask: Ask, within: float) -> tuple[Answer, list[Json], str]:
        """The last answer to `tools/list`, the definitions of all its pages, and the pages as the program sent them."""
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
        self._shown = [tool["name"] for tool in found if isinstance(tool.get("name"), str)]
        return answer, found, "\n".join(pages)

    def _own(self, group: str, shown: Iterable[Json]) -> Iterator[Json]:
        """The definitions that are of the group, under their own names."""
        around = self._affixes(group) or (("", "") if self._alone else None)
        if around is None:
            return
        before, after = around
        of_others = {
            name for one in self._upstreams() if one.name != group for name in one.tool_names
        } - self._names_of(group)
        for tool in shown:
            name = tool.get("name")
            if not isinstance(name, str) or len(name) < len(before) + len(after):
                continue
            own = name[len(before) : len(name) - len(after)]
            bare = not before and not after
            if name.startswith(before) and name.endswith(after) and not (bare and own in of_others):
                yield {**tool, "name": own}

    def _names_of(self, group: str) -> set[str]:
        return {name for one in self._upstreams() if one.name == group for name in one.tool_names}

    def _affixes(self, group: str) -> tuple[str, str] | None:
        """What stands before and after the own name of a tool of this group; None if no list has shown one."""
        around = self._wanted(group)
        if not (self._pattern and _fits(self._shown, *around)):
            others = {one.name for one in self._upstreams()} - {group}
            learned = affixes(self._shown, group, sorted(self._names_of(group)), others)
            if learned is None:
                return self._learned.get(group)
            around = learned
        self._learned[group] = around
        return around

    def _wanted(self, group: str) -> tuple[str, str]:
        """What the pattern of the profile puts before and after; nothing without a pattern."""
        before, _, after = formatted(self._pattern or "{tool}", server=group, tool="\0").partition("\0")
        return before, after


def _tools_on(page: Answer) -> list[Json]:
    """The definitions in an answer to `tools/list`; none if the answer has another shape."""
    tools = page.member("tools")
    return [tool for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []


def affixes(
    shown: Iterable[str], group: str, own: Iterable[str], others: Iterable[str]
) -> tuple[str, str] | None:
    """What stands before and after the own names of the tools of a group, as far as the list shows it.

    The name of the group counts most, in any spelling of its other characters. Then the bare name counts, then any name that does
    not contain another group. None = the list shows no tool of the group.
    """
    cut = [
        (name[: place.start()], name[place.end() :])
        for tool in own
        for name in shown
        for place in [re.search(re.escape(tool), name)]
        if place is not None
    ]
    of_group = [around for around in cut if _has_token(around, group)]
    of_none = [around for around in cut if not any(_has_token(around, other) for other in others)]
    if of_group:
        return min(of_group, key=lambda around: len("".join(around)))
    if ("", "") in cut:
        return "", ""
    return min(of_none, key=lambda around: len("".join(around)), default=None)


def face_of(profile: Profile, upstreams: Callable[[], Sequence[MockUpstream]], *, alone: bool) -> Face:
    """The face that the profile describes."""
    return FlatFace(profile, upstreams, alone) if profile.face == "flat" else DynamicFace(profile.tools)


def _has_token(around: tuple[str, str], group: str) -> bool:
    token = f"_{_plain(group).strip('_')}_"
    return any(token in f"_{_plain(part)}_" for part in around)


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "_", text).casefold()


def _fits(shown: Iterable[str], before: str, after: str) -> bool:
    return any(name.startswith(before) and name.endswith(after) for name in shown)
