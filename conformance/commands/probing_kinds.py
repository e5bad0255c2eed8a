"""Finds out which kinds of servers a program with a configuration file can use, beyond the kind of the first probe.

For each kind, it starts the program with one scripted server. The journal of the server tells a program that has no such transport from
one whose transport has a mistake. An entry that the program ignores is tried again with members that some programs require. Of
a dynamic face, it calls the tool that lists the tools of a group.
"""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import anyio
from msgspec import structs

from conformance.commands.probing import FIRST_ANSWER, GROUPS, TOOL, mock_of_kind
from conformance.errors import ConformanceError, HarnessError, NotApplicable, Untestable, UsageError
from conformance.model.profile_file import DEFAULT_STARTS_WITHIN, DEFAULT_TOOLS
from conformance.workbench.at_once import at_once
from conformance.workbench.remotes import RemoteMockUpstream
from mock_servers.script import Script, tool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from conformance.commands.probing import Findings
    from conformance.engine.execution import WorkbenchFactory
    from conformance.model.profile_tables import Face
    from conformance.model.sut import Sut
    from conformance.workbench.mocks import MockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

#: by kind: its name, and the families of requirements that a program without it lacks
KINDS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "command": ("a server with a command", ("STD", "GUARD")),
    "http": ("a Streamable HTTP server", ("HTTP",)),
    "sse": ("an HTTP+SSE server", ("SSE",)),
}
#: by kind: further members of an entry, as some programs require them
_FORMS: Mapping[str, tuple[Mapping[str, str], ...]] = {
    "command": ({}, {"type": "stdio"}),
    "http": ({}, {"type": "http"}, {"transport": "http"}, {"type": "streamable-http"}),
    "sse": ({}, {"transport": "sse"}),
}
#: by kind: what a program without it does not do; it may send other requests to a URL
_LACKS: Mapping[str, str] = {
    "command": "did not start",
    "http": "sent no POST to",
    "sse": "did not open the stream of",
}
#: seconds for a program that has answered a request for its tools to connect to its server, or so many times its first answer
_CONTACT, _SLOWER = 4.0, 5.0
_POLL = 0.2


@dataclass
class KindFound:
    """What the program did with one server of a kind."""

    kind: str
    #: the further members of its entry
    members: Mapping[str, str] = field(default_factory=dict)
    is_used: bool = False
    was_reached: bool = False
    #: why the program cannot use it; empty if it can
    reason: str = ""
    #: the last line that the program wrote for people
    said: str = ""

    @property
    def families(self) -> tuple[str, ...]:
        return KINDS[self.kind][1]


async def find_kinds(
    sut: Sut, kind: str, found: Findings, factory: WorkbenchFactory, tell: Callable[[str], None]
) -> list[KindFound]:
    """What the program does with a server of each other kind; empty for a program with one server on its command line."""
    if sut.profile.single is not None:
        return []
    starts = max(DEFAULT_STARTS_WITHIN, math.ceil(2 * found.first_answer))
    face: Face = "dynamic" if found.face == "dynamic" else "flat"
    tools = found.tools or dict(DEFAULT_TOOLS)
    profile = structs.replace(sut.profile, face=face, tools=tools, starts_within=starts)
    others = [other for other in KINDS if other != kind]
    names = " and ".join(KINDS[other][0] for other in others)
    tell(f"{names} in the configuration, each in a start of its own")
    probes = [partial(_find_kind, replace(sut, profile=profile), other, found, factory) for other in others]
    return await at_once(probes)


async def _find_kind(sut: Sut, kind: str, found: Findings, factory: WorkbenchFactory) -> KindFound:
    tried: list[KindFound] = []
    for members in _FORMS[kind]:
        result = await _look(sut, KindFound(kind, members), found, factory)
        if result.is_used or result.was_reached:
            return result
        tried.append(result)
    return tried[0]


async def _look(sut: Sut, result: KindFound, found: Findings, factory: WorkbenchFactory) -> KindFound:
    name = KINDS[result.kind][0]
    workbench: Workbench | None = None
    did = "did not start with"
    try:
        async with factory(sut, "PROFILE", keep=False) as workbench:
            script = Script(tools=[tool(f"{TOOL}_0")])
            upstream = await mock_of_kind(workbench, result.kind, GROUPS[0], script, **result.members)
            async with workbench.proxy(upstream, wire_types=False) as proxy:
                proxy.may_end_by_itself()
                try:
                    await proxy.handshake(within=min(FIRST_ANSWER, sut.profile.starts_within))
                    did = _LACKS[result.kind]
                    if not await _connects(proxy, upstream, found):
                        raise Untestable(f"it {did} {name}")
                    did = f"did not list the tools of, within {found.patience:.2g} s,"
                    await proxy.ready(upstream, within=found.patience)
                    result.is_used = True
                finally:
                    result.was_reached = _was_reached(upstream)
    except (HarnessError, UsageError):
        raise
    except NotApplicable as problem:
        result.reason = f"its profile has no form of {name}: {problem.reason}"
    except ConformanceError:
        if not result.is_used:
            result.reason = f"in a first probe, it {did} {name} in its configuration"
            written = workbench.evidence.stderr_tail.split("\n") if workbench is not None else []
            result.said = next((line.strip() for line in reversed(written) if line.strip()), "")
    return result


async def _connects(proxy: Proxy, upstream: MockUpstream, found: Findings) -> bool:
    """Whether the program connects to its server. A program that has not answered yet may be about to, so it gets more time."""
    contact = max(_CONTACT, _SLOWER * found.first_answer)
    deadline = time.monotonic() + max(contact, found.patience)
    answered: float | None = None
    while time.monotonic() < min(deadline, answered + contact if answered is not None else deadline):
        with contextlib.suppress(Untestable):
            await proxy.tools_of(upstream.name, within=max(_POLL, deadline - time.monotonic()))
        answered = answered or time.monotonic()
        if _was_reached(upstream):
            return True
        await anyio.sleep(_POLL)
    return _was_reached(upstream)


def _was_reached(upstream: MockUpstream) -> bool:
    """Whether the program began to speak to the server as this transport does, or started it."""
    if not isinstance(upstream, RemoteMockUpstream):
        return bool(getattr(upstream, "starts", ()))
    # A client without HTTP+SSE sends a POST to the URL of the stream, and one with nothing else sends a GET to any server.
    return any(request.method == ("GET" if upstream.kind == "sse" else "POST") for request in upstream.http)
