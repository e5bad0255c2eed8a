"""HTTP: the end of sessions, broken streams, and the older transport behind the same URL."""

from __future__ import annotations

import time
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import anyio

from conformance.checks import check
from conformance.checks.common import SESSION, SESSIONS, must_be_callable, must_be_echoed, must_be_usable
from conformance.errors import NotApplicable, Violation
from conformance.workbench.exposed import exposed_uri, needs
from conformance.workbench.listing_forms import listing_text
from mock_servers.actions import list_changed, reply, set_tools, sleep
from mock_servers.remote_actions import end_stream, event, expire_session, respond
from mock_servers.script import Http, Rule, Script, on_call, tool
from mock_servers.script import request as ask

if TYPE_CHECKING:
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.remotes import RemoteMockUpstream
    from conformance.workbench.workbench import Workbench
    from mock_servers.journal_views import HttpRequest


ELICIT = "elicitation/create"
_NUMBER = {"type": "object", "properties": {"n": {"type": "number"}}}
#: the most calls of HTTP-009 after the one that makes the upstream forget: a pool fills its places, and then uses each again
_CALLS_AFTER = 12


@check("HTTP-009", timeout=60)
async def a_404_for_the_session_leads_to_a_new_session(workbench: Workbench) -> None:
    """The proxy may have several sessions. The upstream forgets the one of the first call."""
    upstream = await workbench.http("a", Script(http=SESSIONS, on=[on_call("add", expire_session())]))
    async with workbench.serving(upstream) as proxy:
        forgets = await proxy.call("a", "add", {"a": 1, "b": 2})
        with workbench.precondition("the call that makes the upstream forget"):
            workbench.expect(not forgets.is_error, "it succeeds", forgets.raw)
        failed = 0
        for number in range(_CALLS_AFTER):
            result = await proxy.call("a", "echo", {"x": number}, within=10.0)
            failed += result.is_error
            # The call in question may fail, or go into the new session.
            workbench.expect(
                failed <= len(_refused(upstream)), "each call without a 404 succeeds", result.raw
            )
            if not result.is_error and _call_in_a_new_session(upstream):
                break
    first = upstream.posts("tools/call")[0]
    forgotten = first.header(SESSION)
    if not any(one.header(SESSION) == forgotten for one in upstream.http if one.t > first.t):
        raise NotApplicable(
            "no request carries the id that the upstream has forgotten: it has other sessions"
        )
    refused = _refused(upstream)
    workbench.expect(refused, "the upstream answers 404 to a request of the old session", upstream.verbs)
    lost = {request.header(SESSION): request for request in reversed(refused)}
    later = [call for call in upstream.posts("tools/call") if call.t > lost.get(call.header(SESSION), call).t]
    workbench.expect(not later, "no call with an id after the 404 to it", later)
    begun = [request for request in upstream.posts("initialize") if request.t > refused[0].t]
    # A session for each call is allowed here, too.
    calls = [call for call in upstream.posts("tools/call") if call.t >= refused[0].t]
    most = max(len(refused), len(calls))
    workbench.expect(1 <= len(begun) <= most, f"1 to {most} new initialize after the 404", begun)
    workbench.expect(begun[0].header(SESSION) is None, "initialize without the old id", begun[0])
    workbench.expect(
        _call_in_a_new_session(upstream), "a call in the new session", upstream.posts("tools/call")[-1]
    )


def _refused(upstream: RemoteMockUpstream) -> list[HttpRequest]:
    return [request for request in upstream.http if request.status == 404]


def _call_in_a_new_session(upstream: RemoteMockUpstream) -> HttpRequest | None:
    """A call that succeeded in a session that began after a 404."""
    given = {
        entry.data["n"]: dict(entry.data["headers"]).get(SESSION)
        for entry in upstream.events("http-response")
    }
    refused = _refused(upstream)
    begun = [given.get(one.n) for one in upstream.posts("initialize") if refused and one.t > refused[0].t]
    calls = (call for call in upstream.posts("tools/call") if call.status == 200)
    return next((call for call in calls if call.header(SESSION) in begun), None)


@check("HTTP-071", timeout=40)
async def a_new_session_has_the_subscriptions_of_the_lost_one(workbench: Workbench) -> None:
    about = {"uri": "x://one"}
    script = Script(
        http=SESSIONS,
        resources=[{**about, "name": "one"}],
        capabilities={"tools": {}, "resources": {"subscribe": True}},
        on=[Rule("resources/subscribe", [reply({})]), on_call("add", expire_session())],
    )
    upstream = await workbench.http("a", script)
    async with workbench.serving(upstream) as proxy:
        await must_be_callable(workbench, proxy, upstream)
        needs(proxy, "resources", "subscribe")
        uri = await exposed_uri(proxy, upstream.name, about["uri"])
        with workbench.precondition("the subscription"):
            answer = await proxy.request("resources/subscribe", {"uri": uri})
            workbench.expect("result" in answer.message, "it succeeds", answer.raw)
            workbench.expect(upstream.posts("resources/subscribe"), "it reaches the upstream", upstream.verbs)
        lost = upstream.sessions
        await proxy.call("a", "add", {"a": 1, "b": 2})
        await proxy.call("a", "echo", {"x": 1})  # may fail, or go into the new session
        await must_be_echoed(workbench, proxy, "a", {"x": 2})

        def subscribed_again() -> bool:
            again = [
                post for post in upstream.posts("resources/subscribe") if post.header(SESSION) not in lost
            ]
            return about["uri"] in [post.message["params"]["uri"] for post in again]

        await workbench.eventually(
            subscribed_again, within=5.0, what="resources/subscribe in the new session within 5 s"
        )


@check("HTTP-072", timeout=40, slow=True)
async def an_answer_reaches_only_the_session_that_asked(workbench: Workbench) -> None:
    """The answer to the old question is sent also if the proxy withdrew it, because the two can cross."""
    asking, asking_otherwise = {"x": "ask"}, {"x": "ask with another id"}
    form = {"message": "Well?", "requestedSchema": _NUMBER}
    script = Script(
        http=SESSIONS,
        on=[
            on_call("echo", ask(ELICIT, form, id=0, wait=3.0), params={"arguments": asking}),
            on_call("echo", ask(ELICIT, form, id=7, wait=3.0), params={"arguments": asking_otherwise}),
            on_call("add", expire_session()),
        ],
    )
    upstream = await workbench.http("a", script)
    async with workbench.proxy(upstream) as proxy:
        proxy.capabilities = {"elicitation": {}}
        await proxy.handshake()
        await proxy.ready(upstream)
        await must_be_callable(workbench, proxy, upstream)
        await proxy.begin_call("a", "echo", asking)
        old = await _question(workbench, proxy, 1)
        if old is None:
            await proxy.begin_call("a", "echo", asking_otherwise)
            other = await _question(workbench, proxy, 1)
            workbench.expect(other is None, "a question with id 0 comes like one with id 7", other)
            raise NotApplicable("it passes no question on")
        await proxy.call("a", "add", {"a": 1, "b": 2})
        await proxy.call("a", "echo", {"x": 1})  # may fail, or go into the new session
        await must_be_echoed(workbench, proxy, "a", {"x": 2})
        await proxy.send({"id": old["id"], "result": {"action": "accept", "content": {"n": 1}}})
        await proxy.begin_call("a", "echo", asking)
        new = await _question(workbench, proxy, 2)
        workbench.expect(new, "the question of the new session reaches the client", proxy.received)
        assert new is not None
        await proxy.send({"id": new["id"], "result": {"action": "accept", "content": {"n": 2}}})
        session = [
            post for post in upstream.posts("tools/call") if post.message["params"]["arguments"] == asking
        ][-1]
        answers = await workbench.eventually(
            lambda: [post for post in upstream.posts() if _answers_in(post, session.header(SESSION))],
            within=5.0,
            what="an answer in the new session",
        )
        given = [post.message.get("result", {}).get("content") for post in answers]
        workbench.expect(
            given == [{"n": 2}], "the new session gets the answer to its own question only", given
        )


def _answers_in(post: HttpRequest, session: str | None) -> bool:
    """Whether this POST answers a question in this session."""
    return "method" not in post.message and post.header(SESSION) == session


async def _question(workbench: Workbench, proxy: Proxy, number: int) -> dict[str, Any] | None:
    """The question with this number; None if it does not come."""
    try:
        found = await workbench.eventually(
            lambda: [one for one in proxy.received if one.get("method") == ELICIT][number - 1 :],
            within=3.0,
            what="a question to the user",
        )
    except Violation:
        return None
    return found[0]


@check("HTTP-010", timeout=40, slow=True)
async def a_session_is_ended_with_delete(workbench: Workbench) -> None:
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
