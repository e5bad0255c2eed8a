"""FRONT: the cancellation of a call, by clients of each era, at servers of each transport and era."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from conformance.checks import check
from conformance.model.profile import SEVERAL_CLIENTS
from conformance.model.registry import MODERN
from conformance.workbench.remotes import RemoteMockUpstream
from conformance.workbench.several_clients import another_client
from mock_servers.script import Script, on_call, sleep

if TYPE_CHECKING:
    from conformance.workbench.mocks import MockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.transcript import Json
    from conformance.workbench.workbench import Workbench
    from mock_servers.journal_views import HttpRequest, Request
    from mock_servers.script import Era

CANCELLED = "notifications/cancelled"
#: seconds that a call takes, unless the server stops it
_TAKES = 5.0
#: seconds for a cancellation to reach the server
_AT_ONCE = 1.0


@check("FRONT-024", timeout=60, slow=True)
async def a_cancellation_reaches_the_upstream_and_ends_the_call(workbench: Workbench) -> None:
    """A modern client over HTTP cancels by closing the response. Where there are several clients, one that comes later cancels too."""
    await workbench.run_cases(partial(_legacy_clients, workbench), partial(_modern_client, workbench))


async def _legacy_clients(workbench: Workbench) -> None:
    upstreams: list[MockUpstream] = [_stdio(workbench, "stdio")]
    has_modern = "modern" in workbench.eras()
    if has_modern:
        upstreams.append(_stdio(workbench, "modern-stdio", "modern"))
    if workbench.has("HTTP"):
        upstreams.append(await workbench.http("http", _script("http")))
        if has_modern:
            upstreams.append(await workbench.http("modern-http", _script("modern-http", "modern")))
    if workbench.has("SSE"):
        upstreams.append(await workbench.sse("sse", _script("sse")))
    profile = workbench.sut.profile
    has_several = workbench.has(SEVERAL_CLIENTS) and profile.client.has_several
    has_several = has_several and profile.upstreams == "several"
    later = [_stdio(workbench, "of-later-client")] if has_several else []
    async with workbench.serving(*upstreams, *later) as proxy:
        steps = [partial(_cancels, workbench, proxy, one) for one in upstreams]
        await workbench.run_cases(*steps, *(partial(_later_client, workbench, proxy, one) for one in later))


async def _later_client(workbench: Workbench, first: Proxy, upstream: MockUpstream) -> None:
    async with another_client(workbench, first) as later:
        await later.handshake()
        await later.ready(upstream)
        await _cancels(workbench, later, upstream)


async def _modern_client(workbench: Workbench) -> None:
    """Only for a profile that names this revision, because another program may not even answer a modern request."""
    if not workbench.sut.profile.speaks(MODERN):
        return
    upstream = _stdio(workbench, "of-modern-client", "both")
    async with workbench.proxy(upstream) as proxy:
        proxy.modern = True
        await proxy.ready(upstream)
        await _cancels(workbench, proxy, upstream)


def _stdio(workbench: Workbench, name: str, era: Era = "legacy") -> MockUpstream:
    return workbench.stdio(name, _script(name, era))


def _script(name: str, era: Era = "legacy") -> Script:
    return Script(era=era, on=[on_call("echo", sleep(_TAKES), params={"arguments": _slow(name)})])


def _slow(name: str) -> Json:
    """The arguments of a call that takes long. Those of each server differ, because a face can give their tools one name."""
    return {"word": f"slow {name}"}


async def _cancels(workbench: Workbench, proxy: Proxy, upstream: MockUpstream) -> None:
    """Cancel a call after a second, and another one at once."""
    group = upstream.name
    for number, pause in enumerate((1.0, 0.0)):
        id = f"{group}-{number}"
        await proxy.begin("tools/call", proxy.call_params(group, "echo", _slow(group)), id=id)
        with workbench.precondition("the call reaches the upstream"):
            call = await _call(workbench, upstream, number)
        await anyio.sleep(pause)
        at = time.monotonic()
        await proxy.notify(CANCELLED, {"requestId": id, "reason": "enough"})
        await _must_be_cancelled(workbench, upstream, call, number, at)
    await workbench.holds_for(_TAKES + 1.0, partial(_must_be_unanswered, workbench, proxy, group))
    following = await proxy.call(group, "echo", {"word": f"next {group}"})
    workbench.expect(not following.is_error, "the next call works", following.raw)


async def _call(workbench: Workbench, upstream: MockUpstream, number: int) -> Request:
    calls = await workbench.eventually(
        lambda: upstream.requests("tools/call")[number:], within=5.0, what="the upstream has the call"
    )
    return workbench.one(calls, "the upstream has it once")


async def _must_be_cancelled(
    workbench: Workbench, upstream: MockUpstream, call: Request, told: int, at: float
) -> None:
    """Raise `Violation` unless a modern server over HTTP sees the end of the stream, and every other one a notification."""
    if isinstance(upstream, RemoteMockUpstream) and upstream.script.era == "modern":

        def closed() -> list[HttpRequest]:
            own = [post for post in upstream.posts("tools/call") if post.message["id"] == call.id]
            return [post for post in own if post.ended_by == "client"]

        post = (
            await workbench.eventually(closed, within=2.0, what="the proxy closes the stream of the call")
        )[0]
        assert post.ended is not None
        took = post.ended - at
    else:
        what = f"a cancellation of the call {call.id!r} reaches the upstream"
        notes = await workbench.eventually(lambda: upstream.requests(CANCELLED)[told:], within=2.0, what=what)
        note = workbench.one(notes, "one cancellation reaches the upstream")
        workbench.expect(note.param("requestId") == call.id, f"under the id {call.id!r}", note.message)
        took = note.t - at
    workbench.expect(took <= _AT_ONCE, f"within {_AT_ONCE:g} s", took, timed=True)


def _must_be_unanswered(workbench: Workbench, proxy: Proxy, group: str) -> None:
    heard = [one.message for one in proxy.transcript.heard()]
    answers = [one for one in heard if "method" not in one and str(one.get("id")).startswith(f"{group}-")]
    must_have_no_result(workbench, answers)


def must_have_no_result(workbench: Workbench, answers: list[dict[str, Any]]) -> None:
    """Raise `Violation` if what the client cancelled has an answer.

    Over Streamable HTTP, a response as JSON needs a body, which can be an error.
    """
    may_fail = workbench.sut.profile.client.transport == "http"
    wrong = [one for one in answers if not (may_fail and "error" in one)]
    workbench.expect(not wrong, "no answer to what the client cancelled", wrong)
