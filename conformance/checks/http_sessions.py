"""HTTP: the end of sessions, broken streams, and the older transport behind the same URL."""

from __future__ import annotations

import time
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import anyio

from conformance.checks import check
from conformance.checks.common import SESSION, SESSIONS, must_be_callable, must_be_usable
from conformance.checks.reloaded_remotes import must_end_sessions_at_a_reload
from conformance.errors import NotApplicable, Violation
from conformance.workbench.listing_forms import listing_text
from mock_servers.actions import list_changed, reply, set_tools, sleep
from mock_servers.remote_actions import end_stream, event, respond
from mock_servers.script import Http, Rule, Script, on_call, tool

if TYPE_CHECKING:
    from conformance.workbench.remotes import RemoteMockUpstream
    from conformance.workbench.workbench import Workbench
    from mock_servers.journal_views import HttpRequest


@check("HTTP-010", timeout=60, slow=True)
async def a_session_is_ended_with_delete(workbench: Workbench) -> None:
    at_a_reload = [partial(must_end_sessions_at_a_reload, workbench)] if workbench.reloads else []
    await workbench.run_cases(partial(_must_end_sessions_at_its_end, workbench), *at_a_reload)


async def _must_end_sessions_at_its_end(workbench: Workbench) -> None:
    """Raise `Violation` unless the proxy sends DELETE when it ends, and ends whatever the answer is."""
    upstreams = [
        await workbench.http(f"delete{status}", Script(http=Http(sessions=True, delete=status)))
        for status in (200, 405, None)
    ]
    async with workbench.serving(*upstreams) as proxy:
        await proxy.end()
        code = await proxy.wait_exit(within=5.0)
        workbench.expect(code is not None, "the proxy exits within 5 s", proxy.how_it_ended())
    for upstream in upstreams:
        deletes = [request for request in upstream.http if request.method == "DELETE"]
        workbench.expect(deletes, f"{upstream.name} sees a DELETE", upstream.verbs)
        for request in deletes:
            at = request.target == "/mcp" and request.header(SESSION) in upstream.sessions
            workbench.expect(at, "DELETE of the endpoint with the session id", request)


@check("HTTP-015", timeout=40)
async def a_refused_post_leads_to_the_older_transport(workbench: Workbench) -> None:
    older = [
        (await workbench.sse(f"old{status}", Script(http=Http(stream_post=status)))).variant("type")
        for status in (400, 404, 405)
    ]
    broken = [
        await workbench.http(f"broken{status}", Script(on=[Rule("POST", [respond(status, "no")])]))
        for status in (401, 500)
    ]
    good = await workbench.http("good")
    async with workbench.proxy(good, *older, *broken) as proxy:
        await proxy.handshake()
        await proxy.ready(good)
        for upstream in older:
            await must_be_usable(workbench, proxy, upstream, within=10.0)
        for other in broken:
            what = f"{other.name} refuses a POST"
            await proxy.wake(other.name)
            with workbench.precondition(what):
                # The probe for the modern era counts here: after a 401 the proxy may send nothing more.
                await workbench.eventually(partial(_all_posts, other), within=10.0, what=what)
            gets = [request for request in other.http if request.method == "GET" and request.target == "/mcp"]
            workbench.expect(not gets, f"no attempt at the older transport with {other.name}", gets)


def _all_posts(upstream: RemoteMockUpstream) -> list[HttpRequest]:
    return [request for request in upstream.http if request.method == "POST"]


async def _resumed_call(
    workbench: Workbench, upstream: RemoteMockUpstream, within: float = 15.0
) -> list[HttpRequest]:
    """Make a call whose answer comes on another stream than that of its POST; returns its one POST."""
    async with workbench.serving(upstream) as proxy:
        result = await proxy.call(upstream.name, "echo", {"x": "resumed"}, within=within)
        workbench.expect(not result.is_error, "the call succeeds", result.raw)
        workbench.expect("resumed" in result.text, "the result that came on a new stream", result.raw)
    calls = upstream.posts("tools/call")
    workbench.expect(len(calls) == 1, "the call is POSTed exactly once", calls)
    return calls


@check("HTTP-020", timeout=40, slow=True)
async def a_broken_stream_is_resumed_and_retry_respected(workbench: Workbench) -> None:
    rule = on_call("echo", event("", id="event-1", retry=500), end_stream(), reply())
    upstream = await workbench.http(
        "a", Script(http=Http(sessions=True, get=False, event_ids=True), on=[rule])
    )
    calls = await _resumed_call(workbench, upstream)
    resuming = [request for request in upstream.http if request.header("Last-Event-ID") == "event-1"]
    workbench.expect(resuming, "a GET with Last-Event-ID: event-1", upstream.http)
    assert calls[0].ended is not None
    after = resuming[0].t - calls[0].ended
    workbench.expect(0.45 <= after <= 10.0, "the GET 0.45 to 10 s after the end", f"{after:.2f} s")


@check("HTTP-065", timeout=40, slow=True)
async def an_answer_whose_stream_a_gateway_cuts_again_and_again_arrives(workbench: Workbench) -> None:
    rule = on_call("echo", event("", id="event-1", retry=100), sleep(4.5), reply())
    http = Http(sessions=True, get=False, event_ids=True, stream_limit=0.5)
    upstream = await workbench.http("a", Script(http=http, on=[rule]))
    calls = await _resumed_call(workbench, upstream, within=20.0)
    resuming = [request for request in upstream.streams if request.header("Last-Event-ID") == "event-1"]
    workbench.expect(len(resuming) >= 4, "at least four GETs with Last-Event-ID: event-1", upstream.http)
    cut = [request for request in (*calls, *resuming) if request.ended_by == "server"]
    workbench.expect(len(cut) >= 4, "at least four streams that the server ended", upstream.http)


@check("HTTP-031", timeout=60, slow=True)
async def a_refused_stream_harms_nothing(workbench: Workbench) -> None:
    upstream = await workbench.http("a", Script(http=Http(sessions=True, get=False)))
    async with workbench.serving(upstream) as proxy:

        def must_send_few_gets() -> None:
            count = upstream.verbs["GET"]
            workbench.expect(count <= 3, "at most 3 GETs in 10 s where GET is answered with 405", count)

        await workbench.holds_for(10.0, must_send_few_gets)
        await must_be_callable(workbench, proxy, upstream)
        if not upstream.verbs["GET"]:
            raise NotApplicable("it opens no GET for notifications, which it need not do")


async def _must_listen(workbench: Workbench, upstream: RemoteMockUpstream) -> None:
    """Wait for a stream of the upstream's own. Raises `NotApplicable` for a proxy that opens none and promises none."""
    opened = "a GET for the notifications of the upstream"
    try:
        await workbench.eventually(lambda: upstream.streams, within=5.0, what=opened)
    except Violation:
        if workbench.promises("listens"):
            raise
        raise NotApplicable("it opens no GET for notifications, which it need not do") from None


@check("HTTP-021", timeout=40)
async def a_standalone_stream_receives_notifications(workbench: Workbench) -> None:
    """A proxy that opens no stream within 5 s has nothing to check."""
    changes = on_call("add", reply({"content": []}), set_tools([tool("brand_new")]), list_changed())
    upstream = await workbench.http("a", Script(http=SESSIONS, on=[changes]))
    async with workbench.serving(upstream) as proxy:
        await must_be_callable(workbench, proxy, upstream)
        await _must_listen(workbench, upstream)
        accepted = upstream.streams[0].header("Accept") or ""
        workbench.expect("text/event-stream" in accepted, "a GET that accepts text/event-stream", accepted)
        await proxy.call("a", "add")
        deadline = time.monotonic() + 5.0
        while "brand_new" not in listing_text(listing := await proxy.tools_of("a")):
            workbench.expect(
                time.monotonic() < deadline, "the listing shows the new tool within 5 s", listing.raw
            )
            await anyio.sleep(0.1)


@check("HTTP-064", timeout=60, slow=True)
async def a_standalone_stream_that_a_gateway_cuts_is_opened_again(workbench: Workbench) -> None:
    """A proxy that opens no stream within 5 s has nothing to check."""
    changes = on_call("add", reply({"content": []}), set_tools([tool("brand_new")]), list_changed())
    upstream = await workbench.http("a", Script(http=Http(sessions=True, stream_limit=1.0), on=[changes]))
    async with workbench.serving(upstream) as proxy:
        await must_be_callable(workbench, proxy, upstream)
        await _must_listen(workbench, upstream)
        what = "five streams, one after the other"
        await workbench.eventually(lambda: len(upstream.streams) >= 5, within=15.0, what=what)
        for last, following in pairwise(upstream.streams):
            assert last.ended is not None
            pause = following.t - last.ended
            workbench.expect(
                pause <= 1.5, "the next GET <= 1.5 s after the end of the last", f"{pause:.2f} s"
            )
        deadline = time.monotonic() + 10.0
        # The gateway may cut the stream right at the moment of a message.
        while "brand_new" not in listing_text(listing := await proxy.tools_of("a")):
            workbench.expect(
                time.monotonic() < deadline, "the listing shows the new tool within 10 s", listing.raw
            )
            result = await proxy.call("a", "add", {"a": 1, "b": 2})
            workbench.expect(not result.is_error, "each call succeeds", result.raw)
            await anyio.sleep(0.1)
