"""STD, HTTP, SSE, OPS: one connection to an upstream serves many calls."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from conformance.checks import check
from conformance.checks.common import SESSION, SESSIONS, must_be_callable
from mock_servers.script import Script, on_call, reply, sleep

if TYPE_CHECKING:
    from conformance.workbench.mocks import MockUpstream, StdioMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.remotes import RemoteMockUpstream
    from conformance.workbench.workbench import Workbench

#: calls that run at the same time
_AT_ONCE = 3
#: Each call takes a tenth of a second, so that calls at the same time are really in flight together.
_TAKES_TIME = [on_call("echo", sleep(0.1), reply())]


@check("STD-060")
async def one_child_serves_all_calls(workbench: Workbench) -> None:
    upstream = workbench.stdio("a", Script(on=_TAKES_TIME))
    async with workbench.serving(upstream) as proxy:
        await _requests(workbench, proxy, upstream)
    _must_use_one_process(workbench, upstream)


@check("HTTP-070", slow=True)
async def one_session_serves_all_calls(workbench: Workbench) -> None:
    upstream = await workbench.http("a", Script(http=SESSIONS, on=_TAKES_TIME))
    async with workbench.serving(upstream) as proxy:
        await _requests(workbench, proxy, upstream)
    _must_use_one_session(workbench, upstream)


@check("SSE-014", slow=True)
async def one_stream_serves_all_calls(workbench: Workbench) -> None:
    upstream = await workbench.sse("a", Script(on=_TAKES_TIME))
    async with workbench.serving(upstream) as proxy:
        await _requests(workbench, proxy, upstream)
    _must_not_repeat_the_handshake(workbench, upstream)
    later = [stream for stream in upstream.streams if stream.t > upstream.first_call.t]
    workbench.expect(not later, "no stream begins after the first call", later)


@check("OPS-050")
async def each_of_several_upstreams_keeps_its_connection(workbench: Workbench) -> None:
    children = [workbench.stdio("first"), workbench.stdio("second")]
    remotes = [await workbench.http("remote", Script(http=SESSIONS))] if workbench.has("HTTP") else []
    upstreams: list[MockUpstream] = [*children, *remotes]
    async with workbench.serving(*upstreams) as proxy:
        calls = [partial(must_be_callable, workbench, proxy, upstream) for upstream in upstreams]
        for call in calls * 3:
            await call()
        await workbench.run_cases(*calls)
    for child in children:
        _must_use_one_process(workbench, child)
    for remote in remotes:
        _must_use_one_session(workbench, remote)


async def _requests(workbench: Workbench, proxy: Proxy, upstream: MockUpstream) -> None:
    """A call, a listing, two calls one after the other, and several at the same time."""
    call = partial(must_be_callable, workbench, proxy, upstream)
    await call()
    await proxy.ready(upstream)
    await call()
    await call()
    await workbench.run_cases(*[call] * _AT_ONCE)


def _must_use_one_process(workbench: Workbench, upstream: StdioMockUpstream) -> None:
    name, first = upstream.name, upstream.first_call
    pids = {call.pid for call in upstream.requests("tools/call")}
    workbench.expect(len(pids) == 1, f"one process of {name} gets all calls", sorted(pids))
    later = [start.pid for start in upstream.starts if start.t > first.t]
    workbench.expect(not later, f"no process of {name} starts after the first call", later)


def _must_use_one_session(workbench: Workbench, upstream: RemoteMockUpstream) -> None:
    used = {call.header(SESSION) for call in upstream.posts("tools/call")}
    workbench.expect(len(used) == 1, f"all calls to {upstream.name} have one session id", used)
    _must_not_repeat_the_handshake(workbench, upstream)


def _must_not_repeat_the_handshake(workbench: Workbench, upstream: RemoteMockUpstream) -> None:
    first = upstream.first_call
    begun = [request for request in upstream.posts("initialize") if request.t > first.t]
    workbench.expect(not begun, f"no handshake with {upstream.name} begins after the first call", begun)
