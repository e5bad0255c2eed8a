"""What the checks of several families do: calls, sign-ins, and starts with a configuration."""

from __future__ import annotations

import json
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from conformance.errors import NotApplicable
from mock_servers.script import Http

if TYPE_CHECKING:
    from pathlib import Path

    from conformance.workbench.inbox import Answer
    from conformance.workbench.mocks import MockUpstream
    from conformance.workbench.protected import ProtectedMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

SESSION = "Mcp-Session-Id"
VERSION = "MCP-Protocol-Version"
#: a server that gives its sessions ids
SESSIONS = Http(sessions=True)


async def must_be_callable(
    workbench: Workbench, proxy: Proxy, upstream: MockUpstream, tool: str = "echo"
) -> None:
    """Raise `Violation` unless a call through the proxy succeeds. It has the argument `x`, if the tool declares that."""
    schemas = [one["inputSchema"] for one in upstream.script.tools or [] if one["name"] == tool]
    arguments = {"x": 1} if any("x" in schema.get("properties", {}) for schema in schemas) else {}
    result = await proxy.call(upstream.name, tool, arguments)
    workbench.expect(not result.is_error, f"a call to {upstream.name} succeeds", result.raw)


async def must_be_usable(
    workbench: Workbench,
    proxy: Proxy,
    upstream: MockUpstream,
    *,
    what: str | None = None,
    within: float = 15.0,
) -> None:
    """Raise `Violation` unless the proxy lists the tools of the upstream within so many seconds, and a call to it succeeds."""
    with workbench.must(what or f"{upstream.name} becomes usable"):
        await proxy.ready(upstream, within=within)
    await must_be_callable(workbench, proxy, upstream)


def can_name_a_tool(workbench: Workbench) -> bool:
    """Whether a call can name a tool that no list shows, such as one of a server that failed."""
    profile = workbench.sut.profile
    alone = profile.upstreams == "one" or len(workbench.upstreams) == 1
    return profile.face == "dynamic" or bool(profile.names.pattern("tool", alone=alone))


def needs_names_of_tools(workbench: Workbench) -> None:
    """Raise `NotApplicable` unless a call can name a tool that no list has shown yet."""
    if not can_name_a_tool(workbench):
        raise NotApplicable(
            "no list shows the tools before the call, and the profile has no pattern for their names"
        )


def is_echo(answer: Answer, arguments: dict[str, Any]) -> bool:
    """Whether this is what `echo` returns for these arguments."""
    try:
        return not answer.is_error and bool(json.loads(answer.text) == arguments)
    except ValueError:
        return False


def must_be_echo(workbench: Workbench, answer: Answer, arguments: dict[str, Any]) -> None:
    """Raise `Violation` unless this is what `echo` returns for these arguments."""
    workbench.expect(is_echo(answer, arguments), f"the answer to the call with {arguments}", answer.raw)


async def must_be_echoed(
    workbench: Workbench,
    proxy: Proxy,
    group: str,
    arguments: dict[str, Any],
    *,
    tool: str = "echo",
    within: float = 10.0,
) -> None:
    """Raise `Violation` unless a call with these arguments returns them."""
    must_be_echo(workbench, await proxy.call(group, tool, arguments, within=within), arguments)


async def must_work_again(
    workbench: Workbench,
    proxy: Proxy,
    upstream: MockUpstream,
    *,
    within: float = 15.0,
    within_each: float = 10.0,
) -> None:
    """Call until the upstream answers: while it is starting, the proxy may refuse or wait.

    Raises `Violation` after `within` seconds, or if a call does not end in time.
    """
    deadline = time.monotonic() + within
    call = partial(proxy.call, upstream.name, "echo", {"x": 1}, within=within_each)
    while not is_echo(answer := await call(), {"x": 1}):
        again = f"{upstream.name} can be called again within {within:g} s"
        workbench.expect(time.monotonic() < deadline, again, answer.raw)
        await anyio.sleep(0.2)


async def must_sign_in(workbench: Workbench, proxy: Proxy, *upstreams: ProtectedMockUpstream) -> None:
    """Raise `Violation` unless the upstreams become usable, which needs a token."""
    for upstream in upstreams:
        with workbench.must(f"the sign-in to {upstream.name} succeeds and the proxy lists its tools"):
            await proxy.ready(upstream)


async def sign_in(workbench: Workbench, *upstreams: ProtectedMockUpstream) -> None:
    """Start a proxy, let it sign in to the upstreams, and end it. Raises `Violation`."""
    async with workbench.proxy(*upstreams) as proxy:
        await proxy.handshake()
        await must_sign_in(workbench, proxy, *upstreams)


async def must_answer_a_call(workbench: Workbench, proxy: Proxy, upstream: ProtectedMockUpstream) -> None:
    """Raise `Violation` unless a call reaches the upstream with a valid token, and its answer comes back."""
    word = f"word-{len(upstream.http)}"
    result = await proxy.call(upstream.name, "echo", {"word": word}, within=20.0)
    fine = not result.is_error and word in result.text
    workbench.expect(fine, f"a call to {upstream.name} succeeds", result.raw)


async def must_work(workbench: Workbench, *upstreams: MockUpstream, **start: Any) -> None:
    """Start the proxy like this. Raises unless it offers the tools of the upstreams, and a call of each succeeds."""
    async with workbench.proxy(**start) as proxy:
        await proxy.handshake()
        await proxy.ready(*upstreams)
        for upstream in upstreams:
            await must_be_callable(workbench, proxy, upstream)


async def must_refuse_to_start(
    workbench: Workbench, what: str, config: Path, mentioning: str | None = None
) -> None:
    """Raise `Violation` unless the proxy, started with this configuration, ends with an explanation."""
    outcome = await workbench.run_to_exit(config=config)
    with workbench.case(what):
        outcome.refused(mentioning)


async def until(workbench: Workbench, instant: float) -> None:
    """Wait until this (monotonic) instant."""
    await workbench.holds_for(max(0.0, instant - time.monotonic()), lambda: None)
