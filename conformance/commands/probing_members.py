"""Finds out which members of a server entry a program with a configuration file has no use for: a timeout, environment variables, ...

One start has a server for each member. If the program does not work with them, each member gets a start of its own. If the program does not
start with a member, it refuses this member. The behaviour of the program shows whether it has a member. So a member of another name or form
counts as missing, as the text of the profile says. Limit: of a table with several settings, a probe sees only whether the program refuses
the empty table.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
from msgspec import structs

from conformance.commands.probing import FIRST_ANSWER, TOOL, mock_of_kind
from conformance.errors import (
    ConformanceError,
    HarnessError,
    ImplementationCrashed,
    NotApplicable,
    Untestable,
    UsageError,
    Violation,
)
from conformance.model.profile_file import DEFAULT_SETTINGS, DEFAULT_TOOLS
from conformance.workbench.at_once import at_once
from conformance.workbench.listing_forms import definitions
from conformance.workbench.remotes import RemoteMockUpstream
from mock_servers.script import Script, on_call, silence, tool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from conformance.commands.probing import Findings
    from conformance.engine.execution import WorkbenchFactory
    from conformance.model.profile import Profile
    from conformance.model.profile_tables import Face
    from conformance.model.sut import Sut
    from conformance.workbench.mocks import MockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

    Has = Callable[["_View", MockUpstream], Awaitable[bool]]

#: how long the timeout of the probe is, and how long a call may take with it
_TIMEOUT, _TIMED_OUT = "1s", 5.0
_MARK = "CONFORMANCE_MEMBER"
_HEADER = "X-Conformance-Member"
#: with the member after it, the name of the second tool of a server
_OTHER = "whisper"
_POLL = 0.2


@dataclass(frozen=True)
class MemberTrial:
    """One member of an entry, and how what the program does shows that it has the member."""

    member: str
    value: Any
    #: the kind of the server: "command", "http", or "any"
    kind: str
    has: Has
    #: whether the program shows the tool of the server, if it has the member
    shown: bool = True
    #: whether the documents of dynamic-mcp have the member, so that its lack is a mistake of a dynamic face
    documented: bool = True


async def find_members(
    sut: Sut, kinds: Sequence[str], found: Findings, factory: WorkbenchFactory, tell: Callable[[str], None]
) -> list[str]:
    """The members without effect, in a fixed order. `kinds` are the servers that the program can use.

    A dynamic face is bound to the configuration that the documents of dynamic-mcp describe. The command tries only the members beyond it.
    """
    if sut.profile.single is not None or not found.face or not kinds:
        return []
    face: Face = "dynamic" if found.face == "dynamic" else "flat"
    sut = replace(
        sut, profile=structs.replace(sut.profile, face=face, tools=found.tools or dict(DEFAULT_TOOLS))
    )
    trials = [one for one in TRIALS if one.kind in ("any", *kinds) and _is_open(sut.profile, one)]
    tell("the members of a server in the configuration")
    effects = await _effects(sut, trials, kinds, found, factory)
    if effects is None:
        tell("each of these members in a start of its own")
        alone = await at_once([partial(_effects, sut, [one], kinds, found, factory) for one in trials])
        effects = {name: has for one in alone if one is not None for name, has in one.items()}
    return [trial.member for trial in trials if not effects.get(trial.member)]


def _is_open(profile: Profile, trial: MemberTrial) -> bool:
    """Whether the profile leaves open if the program has the member."""
    if trial.member in profile.config.drop or (trial.documented and profile.face == "dynamic"):
        return False
    tables = {place.partition(".")[0] for place in DEFAULT_SETTINGS.values()}
    return trial.member not in tables or any(
        place.partition(".")[0] == trial.member for place in profile.settings.values()
    )


async def _effects(
    sut: Sut,
    trials: Sequence[MemberTrial],
    kinds: Sequence[str],
    found: Findings,
    factory: WorkbenchFactory,
) -> dict[str, bool] | None:
    """By member, whether it has an effect; None if the program does not work with these entries."""
    try:
        async with factory(sut, "PROFILE", keep=False) as workbench:
            servers = {trial.member: await _server(workbench, trial, kinds) for trial in trials}
            async with workbench.proxy(*servers.values(), wire_types=False) as proxy:
                proxy.may_end_by_itself()
                await proxy.handshake(within=min(FIRST_ANSWER, sut.profile.starts_within))
                view = _View(proxy, is_flat=sut.profile.face == "flat")
                shown = [servers[trial.member] for trial in trials if trial.shown]
                await view.must_list(shown, found.patience)
                return {trial.member: await trial.has(view, servers[trial.member]) for trial in trials}
    except (HarnessError, UsageError):
        raise
    except NotApplicable:
        return {trial.member: True for trial in trials}  # the profile says how it is written
    except ConformanceError:
        return None


async def _server(workbench: Workbench, trial: MemberTrial, kinds: Sequence[str]) -> MockUpstream:
    name = f"probe{trial.member}"
    own = f"{TOOL}_{trial.member}"
    script = Script(tools=[tool(own), tool(f"{_OTHER}_{trial.member}")], on=[on_call(own, silence())])
    members: Mapping[str, Any] = {trial.member: trial.value}
    if trial.member == "cwd":
        folder = workbench.sandbox.root / _MARK.lower()
        folder.mkdir()
        members = {"cwd": str(folder)}
    kind = kinds[0] if trial.kind == "any" else trial.kind
    return await mock_of_kind(workbench, kind, name, script, **members)


@dataclass(frozen=True)
class _View:
    """What the client of the program sees of a server."""

    proxy: Proxy
    is_flat: bool

    async def must_list(self, servers: Sequence[MockUpstream], patience: float) -> None:
        """Wait for the tools of these servers. Raises `Untestable` if the program does not show them."""
        deadline = time.monotonic() + patience
        while missing := [one.name for one in servers if not await self.shows(one)]:
            if time.monotonic() > deadline:
                raise Untestable(f"the program does not show the tools of {', '.join(missing)}")
            await anyio.sleep(_POLL)

    async def shows(self, server: MockUpstream, place: int = 0) -> str:
        """The name of the server's tool at this place, as the client sees it; empty if the client does not see the tool."""
        own = server.tool_names[place]
        if not self.is_flat:
            listing = await self.proxy.tools_of(server.name, within=FIRST_ANSWER)
            return own if definitions(listing, own) else ""
        tools = await self.proxy.items("tools/list", "tools", within=FIRST_ANSWER)
        return next((name for name in (str(one.get("name")) for one in tools) if own in name), "")


async def _ends_the_call(view: _View, server: MockUpstream) -> bool:
    call = {"name": await view.shows(server), "arguments": {}}
    try:
        await view.proxy.request("tools/call", call, within=_TIMED_OUT)
    except ImplementationCrashed:
        raise
    except Violation:
        return not server.requests("tools/call")  # a call that went nowhere tells nothing about its timeout
    return True


async def _hides_the_tools(view: _View, server: MockUpstream) -> bool:
    return not await view.shows(server)


async def _hides_one_tool(view: _View, server: MockUpstream) -> bool:
    return not await view.shows(server, 1)


async def _hides_the_server(view: _View, server: MockUpstream) -> bool:
    contacted = server.requests("initialize") or server.requests("server/discover")
    return not contacted and not await view.shows(server)


async def _is_accepted(view: _View, server: MockUpstream) -> bool:
    return True


async def _sets_the_variable(view: _View, server: MockUpstream) -> bool:
    return any(start.env.get(_MARK) == "set" for start in getattr(server, "starts", ()))


async def _changes_the_folder(view: _View, server: MockUpstream) -> bool:
    return any(start.cwd.endswith(_MARK.lower()) for start in getattr(server, "starts", ()))


async def _sends_the_header(view: _View, server: MockUpstream) -> bool:
    return isinstance(server, RemoteMockUpstream) and any(
        request.header(_HEADER) == "set" for request in server.http
    )


#: the timeout comes first, because its call gives the program time to show what it should hide
TRIALS = (
    MemberTrial("timeout", {"tools": _TIMEOUT}, "any", _ends_the_call),
    MemberTrial("features", {"tools": False}, "any", _hides_the_tools, shown=False),
    MemberTrial("enabled", False, "any", _hides_the_server, shown=False),
    MemberTrial("env", {_MARK: "set"}, "command", _sets_the_variable),
    MemberTrial("cwd", "", "command", _changes_the_folder, documented=False),
    MemberTrial("headers", {_HEADER: "set"}, "http", _sends_the_header),
    MemberTrial("tools", {"deny": [f"{_OTHER}_tools"]}, "any", _hides_one_tool, documented=False),
    MemberTrial("security", {}, "any", _is_accepted, documented=False),
    MemberTrial("oauth", {}, "http", _is_accepted, documented=False),
)
