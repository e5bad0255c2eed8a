"""Finds out which members of a server entry a flat program with a configuration file has no use for: a timeout, environment variables, ...

One start has a server for each member. If the program does not work with them, each member gets a start of its own. If the program does not
start with a member, it refuses this member. The behaviour of the program shows whether it has a member. So a member of another name or form
counts as missing, as the text of the profile says.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

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
from conformance.workbench.at_once import at_once
from conformance.workbench.remotes import RemoteMockUpstream
from mock_servers.script import Script, on_call, silence, tool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from conformance.commands.probing import Findings
    from conformance.engine.execution import WorkbenchFactory
    from conformance.model.sut import Sut
    from conformance.workbench.mocks import MockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

    Has = Callable[[Proxy, MockUpstream], Awaitable[bool]]

#: how long the timeout of the probe is, and how long a call may take with it
_TIMEOUT, _TIMED_OUT = "1s", 5.0
_MARK = "CONFORMANCE_MEMBER"
_HEADER = "X-Conformance-Member"
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


async def find_members(
    sut: Sut, kinds: Sequence[str], found: Findings, factory: WorkbenchFactory, tell: Callable[[str], None]
) -> list[str]:
    """The members without effect, in a fixed order. `kinds` are the servers that the program can use.

    A dynamic face is bound to the configuration of dynamic-mcp, where a member without effect is a mistake; so the answer is empty for it.
    """
    if sut.profile.single is not None or found.face != "flat" or not kinds:
        return []
    dropped = sut.profile.config.drop
    trials = [one for one in TRIALS if one.kind in ("any", *kinds) and one.member not in dropped]
    tell("the members of a server in the configuration")
    effects = await _effects(sut, trials, kinds, found, factory)
    if effects is None:
        tell("each of these members in a start of its own")
        alone = await at_once([partial(_effects, sut, [one], kinds, found, factory) for one in trials])
        effects = {name: has for one in alone if one is not None for name, has in one.items()}
    return [trial.member for trial in trials if not effects.get(trial.member)]


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
                shown = [servers[trial.member] for trial in trials if trial.shown]
                await _listed(proxy, shown, found.patience)
                return {trial.member: await trial.has(proxy, servers[trial.member]) for trial in trials}
    except (HarnessError, UsageError):
        raise
    except NotApplicable:
        return {trial.member: True for trial in trials}  # the profile says how it is written
    except ConformanceError:
        return None


async def _server(workbench: Workbench, trial: MemberTrial, kinds: Sequence[str]) -> MockUpstream:
    name = f"probe{trial.member}"
    own = f"{TOOL}_{trial.member}"
    script = Script(tools=[tool(own)], on=[on_call(own, silence())])
    members: Mapping[str, Any] = {trial.member: trial.value}
    if trial.member == "cwd":
        folder = workbench.sandbox.root / _MARK.lower()
        folder.mkdir()
        members = {"cwd": str(folder)}
    kind = kinds[0] if trial.kind == "any" else trial.kind
    return await mock_of_kind(workbench, kind, name, script, **members)


async def _listed(proxy: Proxy, servers: Sequence[MockUpstream], patience: float) -> None:
    """Wait for the tools of these servers. Raises `Untestable` if the program does not show them."""
    deadline = time.monotonic() + patience
    while missing := [one.name for one in servers if not await _shows(proxy, one)]:
        if time.monotonic() > deadline:
            raise Untestable(f"tools/list does not show the tools of {', '.join(missing)}")
        await anyio.sleep(_POLL)


async def _shows(proxy: Proxy, server: MockUpstream) -> str:
    """The name of the server's tool in the list; empty if the list lacks it."""
    names = [str(one.get("name")) for one in await proxy.items("tools/list", "tools", within=FIRST_ANSWER)]
    return next((name for name in names if server.tool_names[0] in name), "")


async def _ends_the_call(proxy: Proxy, server: MockUpstream) -> bool:
    call = {"name": await _shows(proxy, server), "arguments": {}}
    try:
        await proxy.request("tools/call", call, within=_TIMED_OUT)
    except ImplementationCrashed:
        raise
    except Violation:
        return not server.requests("tools/call")  # a call that went nowhere tells nothing about its timeout
    return True


async def _hides_the_tools(proxy: Proxy, server: MockUpstream) -> bool:
    return not await _shows(proxy, server)


async def _hides_the_server(proxy: Proxy, server: MockUpstream) -> bool:
    contacted = server.requests("initialize") or server.requests("server/discover")
    return not contacted and not await _shows(proxy, server)


async def _sets_the_variable(proxy: Proxy, server: MockUpstream) -> bool:
    return any(start.env.get(_MARK) == "set" for start in getattr(server, "starts", ()))


async def _changes_the_folder(proxy: Proxy, server: MockUpstream) -> bool:
    return any(start.cwd.endswith(_MARK.lower()) for start in getattr(server, "starts", ()))


async def _sends_the_header(proxy: Proxy, server: MockUpstream) -> bool:
    return isinstance(server, RemoteMockUpstream) and any(
        request.header(_HEADER) == "set" for request in server.http
    )


#: the timeout comes first, because its call gives the program time to show what it should hide
TRIALS = (
    MemberTrial("timeout", {"tools": _TIMEOUT}, "any", _ends_the_call),
    MemberTrial("features", {"tools": False}, "any", _hides_the_tools, shown=False),
    MemberTrial("enabled", False, "any", _hides_the_server, shown=False),
    MemberTrial("env", {_MARK: "set"}, "command", _sets_the_variable),
    MemberTrial("cwd", "", "command", _changes_the_folder),
    MemberTrial("headers", {_HEADER: "set"}, "http", _sends_the_header),
)
