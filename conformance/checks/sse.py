"""SSE: the proxy as a client of an HTTP+SSE upstream, the transport of MCP 2024-11-05."""

from __future__ import annotations

import re
import signal
import time
from functools import partial
from typing import TYPE_CHECKING

from conformance.checks import check
from conformance.checks.asides import provoke_asides, rules_of_asides
from conformance.checks.common import must_be_callable, must_be_usable
from conformance.checks.http_requests import must_have_its_headers
from conformance.checks.reloaded_remotes import must_close_streams_at_a_reload
from mock_servers.actions import reply, silence, sleep
from mock_servers.remote_actions import close_streams, endpoint, expire_session, stream
from mock_servers.script import Http, Rule, Script, any_arguments, echo_tool, on_call, tool

if TYPE_CHECKING:
    from conformance.workbench.remotes import RemoteMockUpstream
    from conformance.workbench.workbench import Workbench
    from mock_servers.journal_views import HttpRequest

#: SSE-017: seconds until an answer, and the calls that wait for one at the same time
_LATE, _WAITING = 5.0, 5


def _endpoint_announced(upstream: RemoteMockUpstream) -> list[float]:
    """The times of the endpoint events."""
    return [entry.t for entry in upstream.events("http-body") if entry.text.startswith("event: endpoint")]


@check("SSE-001", slow=True)
async def the_stream_is_opened_first_with_get(workbench: Workbench) -> None:
    upstream = await workbench.sse("a", Script(on=[Rule("GET", [sleep(1.0)])]))
    async with workbench.proxy(upstream) as proxy:
        await proxy.handshake()
        await proxy.tools_of("a")  # wakes a lazy proxy
        what = "a request within 5 s"
        await workbench.eventually(lambda: upstream.verbs, within=5.0, what=what)
        # Looking for OAuth metadata before the connection is allowed.
        await workbench.eventually(
            lambda: _of_the_transport(workbench, upstream), within=5.0, what="its first request"
        )
        first = _of_the_transport(workbench, upstream)[0]
        workbench.expect(first.method == "GET", "the first request is a GET", first)
        workbench.expect(first.target == "/mcp", "a GET of the configured URL", first)
        # A missing header admits everything (RFC 9110, section 12.5.1), and MCP 2024-11-05 demands none.
        accepted = first.header("Accept") or "*/*"
        admits = any(kind in accepted for kind in ("text/event-stream", "text/*", "*/*"))
        workbench.expect(admits, "a header Accept that admits text/event-stream", first)
        await must_be_usable(workbench, proxy, upstream, what="the group becomes usable")
    announced = _endpoint_announced(upstream)[0]
    early = [
        post
        for post in _of_the_transport(workbench, upstream)
        if post.method == "POST" and post.t < announced
    ]
    workbench.expect(not early, "no message before the endpoint event", early)


def _of_the_transport(workbench: Workbench, upstream: RemoteMockUpstream) -> list[HttpRequest]:
    """The requests without probes and looks for OAuth metadata.

    A program whose configuration cannot say the transport has to try Streamable HTTP first, and the server refuses that.
    """
    profile = workbench.sut.profile
    tries = profile.face == "flat" and profile.single is None and "sse" not in profile.entries
    return [
        request
        for request in upstream.http
        if not request.is_probe
        and not request.target.startswith("/.well-known/")
        and not (tries and request.rpc == "initialize" and request.status == 405)
    ]


@check("SSE-002", timeout=40)
async def the_endpoint_is_resolved_against_the_stream_url(workbench: Workbench) -> None:
    announced = {
        "path": ("/messages?sid=$sid", "/messages"),
        "relative": ("messages?sid=$sid", "/base/messages"),
        "absolute": ("$origin/deep/er?sid=$sid", "/deep/er"),
    }
    upstreams = [
        await workbench.sse(name, Script(http=Http(path="/base/sse", endpoint=uri)))
        for name, (uri, _) in announced.items()
    ]
    async with workbench.proxy(*upstreams) as proxy:
        await proxy.handshake()
        for upstream in upstreams:
            await must_be_usable(
                workbench, proxy, upstream, what=f"the group with the {upstream.name} endpoint becomes usable"
            )
    for upstream in upstreams:
        pattern = re.escape(announced[upstream.name][1]) + r"\?sid=Session-\w+-aBcXyZ"
        posts = [one for one in _of_the_transport(workbench, upstream) if one.method == "POST"]
        for post in workbench.some(posts, f"a POST to {upstream.name}"):
            right = re.fullmatch(pattern, post.target)
            workbench.expect(right, f"a POST to {announced[upstream.name][1]} with its query", post)


@check("SSE-003", timeout=40, slow=True)
async def responses_are_taken_from_the_stream(workbench: Workbench) -> None:
    """Another upstream answers the POSTs with JSON that looks like a result."""
    rules = [on_call("first", sleep(1.0)), on_call("second", sleep(0.5))]
    tools = [echo_tool(), *(tool(name, properties=any_arguments("x")) for name in ("first", "second"))]
    text = await workbench.sse("text", Script(tools=tools, on=rules))
    misleading = Http(accepted=200, accepted_body='{"status": "ok", "result": {"content": []}}')
    other = await workbench.sse("json", Script(tools=tools, on=rules, http=misleading))
    async with workbench.proxy(text, other) as proxy:
        await proxy.handshake()
        for upstream in (text, other):
            with workbench.must(f"the group {upstream.name} becomes usable"):
                await proxy.ready(upstream)
            results: dict[str, str] = {}

            async def take(name: str, group: str = upstream.name, results: dict[str, str] = results) -> None:
                result = await proxy.call(group, name, {"x": f"for-{name}"}, within=5.0)
                workbench.expect(not result.is_error, f"the call of {name} succeeds", result.raw)
                results[name] = result.text

            await workbench.run_cases(lambda: take("first"), lambda: take("second"))
            for name, seen in results.items():
                workbench.expect(
                    f"for-{name}" in seen, f"the call of {name} receives its own result", results
                )


@check("SSE-015")
async def configured_headers_are_on_the_get_and_on_every_post(workbench: Workbench) -> None:
    headers = {"Authorization": "Bearer canary-51c0", "X-Team": "a b"}
    script = Script(http=Http(required_headers=headers))
    await must_have_its_headers(workbench, await workbench.sse("a", script, headers=headers), headers)


@check("SSE-004", timeout=40)
async def the_access_token_is_on_the_get_and_on_every_post(workbench: Workbench) -> None:
    upstream = await workbench.oauth("b", script=Script(on=rules_of_asides()), kind="sse")
    workbench.browser()
    async with workbench.proxy(upstream) as proxy:
        await proxy.handshake()
        await must_be_usable(
            workbench, proxy, upstream, what="an upstream that requires an access token becomes usable"
        )
        await provoke_asides(workbench, proxy, upstream)
    signed_in, tokens = upstream.exchanges[-1].t, upstream.access_tokens
    # A proxy may look for documents of the sign-in again, which need no token.
    streams = {request.n for request in upstream.streams}
    later = [
        request
        for request in upstream.http
        if request.t > signed_in
        and (request.opens_stream or request.n in streams or request.target.startswith("/messages"))
        and not request.is_discovery
    ]
    verbs = {request.method for request in later}
    workbench.expect({"GET", "POST"} <= verbs, "the stream and messages after the sign-in", later)
    for request in later:
        scheme, _, token = (request.header("Authorization") or "").partition(" ")
        workbench.expect(scheme == "Bearer" and token in tokens, f"Bearer with one of {tokens}", request)


@check("SSE-005", timeout=40, slow=True)
async def an_endpoint_of_another_origin_is_refused(workbench: Workbench) -> None:
    other = await workbench.collector()
    headers = {"Authorization": "Bearer canary-90de"}
    own = await workbench.sse("own", headers=headers)
    foreign = Http(endpoint=other.at("/messages?sid=$sid"))
    upstream = await workbench.sse("foreign", Script(http=foreign), headers=headers)
    async with workbench.proxy(own, upstream) as proxy:
        await proxy.handshake()
        with workbench.precondition("an endpoint of the same origin works"):
            await proxy.ready(own)
            await must_be_callable(workbench, proxy, own)
        await proxy.tools_of("foreign")  # wakes a lazy proxy
        with workbench.precondition("the upstream announces the endpoint of another origin"):
            what = "an endpoint event"
            await workbench.eventually(lambda: _endpoint_announced(upstream), within=10.0, what=what)
        await workbench.holds_for(10.0, other.saw_nothing)
        answer = await proxy.call("foreign", "echo")
        workbench.expect(answer.is_error, "a call to the group is an error", answer.raw)
        other.saw_nothing()


@check("SSE-006", timeout=70, slow=True)
async def an_idle_stream_stays_open(workbench: Workbench) -> None:
    comments = [": still here\n\n"] * 70
    chatty = Rule("GET", [endpoint("/messages?sid=$sid"), stream(*comments, pause=0.5)])
    upstreams = [await workbench.sse("silent"), await workbench.sse("comments", Script(on=[chatty]))]
    async with workbench.proxy(*upstreams) as proxy:
        await proxy.handshake()
        with workbench.must("the groups become usable"):
            await proxy.ready(*upstreams)

        # A proxy can look at a server before it connects, also with a GET of the stream.
        began = {upstream.name: len(upstream.streams) for upstream in upstreams}

        def must_open_no_stream() -> None:
            for upstream in upstreams:
                further = upstream.streams[began[upstream.name] :]
                workbench.expect(not further, f"{upstream.name}: no further GET without a call", further)

        await workbench.holds_for(35.0, must_open_no_stream)
        for upstream in upstreams:
            if upstream.streams[-1].ended is not None:
                workbench.note(f"{upstream.name}: the proxy closed its stream, so a call needs another one")
            await must_be_callable(workbench, proxy, upstream)


@check("SSE-007", timeout=100, slow=True)
async def a_lost_stream_fails_calls_and_is_opened_anew(workbench: Workbench) -> None:
    at_a_reload = [partial(must_close_streams_at_a_reload, workbench)] if workbench.reloads else []
    await workbench.run_cases(partial(_must_replace_a_lost_stream, workbench), *at_a_reload)


async def _must_replace_a_lost_stream(workbench: Workbench) -> None:
    """Raise `Violation` unless a lost stream fails its calls and a new one serves the next, or if a stream outlives the proxy."""
    upstream = await workbench.sse("a", Script(on=[on_call("add", close_streams(), silence(), times=1)]))
    async with workbench.proxy(upstream) as proxy:
        await proxy.handshake()
        with workbench.must("the group becomes usable"):
            await proxy.ready(upstream)
        answer = await proxy.call("a", "add", {"a": 1, "b": 2}, within=20.0)
        workbench.expect(answer.is_error, "the pending call is an error", answer.raw)
        with workbench.precondition("the call has ended its stream"):
            call = workbench.at(upstream.posts("tools/call"), 0, "the call at the upstream")
            cut = [one for one in upstream.streams if one.ended_by == "cut"]
            lost = workbench.at([one.ended for one in cut], 0, "a stream that the server ended")
        assert lost is not None
        workbench.expect(answer.t - lost <= 5.0, "within 5 s of the loss", f"{answer.t - lost:.2f} s")
        others = [one for one in upstream.streams if one.t < lost and one not in cut and one.ended is None]
        if others:
            workbench.note("another stream stayed open, so the proxy need not reconnect at once")

        await must_be_usable(
            workbench, proxy, upstream, what="the group works again within 60 s", within=60.0
        )
        begun = upstream.posts("initialize")
        fresh = [request for request in begun if request.t > lost]
        workbench.expect(fresh or others, "a fresh handshake", begun)
        targets = {request.target for request in begun}
        workbench.expect(
            len(targets) == len(begun), "each handshake at the endpoint of its own stream", begun
        )
        last = upstream.posts("tools/call")[-1]
        living = (targets if others else {begun[-1].target}) - {call.target}
        workbench.expect(last.target in living, "the call at the newest endpoint", last)

        proxy.signal(signal.SIGTERM)
        what = "the proxy closes its GET within 5 s of SIGTERM"
        await workbench.eventually(
            lambda: all(request.ended for request in upstream.streams), within=5.0, what=what
        )


@check("SSE-016", timeout=60, slow=True)
async def a_session_that_the_server_forgot_is_replaced(workbench: Workbench) -> None:
    forgetful = [on_call("add", expire_session())]
    upstreams = [
        await workbench.sse("not-found", Script(on=forgetful)),
        await workbench.sse("bad-request", Script(http=Http(lost="400"), on=forgetful)),
    ]
    async with workbench.serving(*upstreams) as proxy:
        for upstream in upstreams:
            forgets = await proxy.call(upstream.name, "add", {"a": 1, "b": 2})
            with workbench.precondition(
                f"{upstream.name}: the call after which the server forgets the session"
            ):
                workbench.expect(not forgets.is_error, "it succeeds", forgets.raw)
            first = upstream.streams[-1]
            what = f"{upstream.name}: a call succeeds within 10 s"
            await must_be_usable(workbench, proxy, upstream, what=what, within=10.0)
            refused = [
                request for request in upstream.http if request.status in (400, 404) and not request.is_probe
            ]
            workbench.expect(refused, f"{upstream.name}: a refused POST", upstream.http)
            second = upstream.streams[-1]
            workbench.expect(second.n != first.n, f"{upstream.name}: a second stream", upstream.streams)
            last = upstream.posts("tools/call")[-1]
            old = upstream.posts("initialize")[0].target
            workbench.expect(last.target != old, f"{upstream.name}: the last call at the new endpoint", last)


@check("SSE-017", timeout=60, slow=True)
async def a_late_answer_of_an_old_connection_reaches_no_other_call(workbench: Workbench) -> None:
    """Several calls wait at a time, so that their ids meet if each connection numbers them in the same way."""
    old, new = ({"x": name} for name in ("old", "new"))
    script = Script(
        http=Http(one_transport=True),
        on=[
            *(on_call("echo", sleep(_LATE), reply(), params={"arguments": one}) for one in (old, new)),
            on_call("add", close_streams(), silence(), times=1),
        ],
    )
    upstream = await workbench.sse("a", script)
    async with workbench.serving(upstream) as proxy:
        for _ in range(_WAITING):
            await proxy.begin_call("a", "echo", old)
        with workbench.precondition("the calls of the first connection arrive"):
            what = "calls at the upstream"
            await workbench.eventually(lambda: _calls_with(upstream, old), within=5.0, what=what)
        await proxy.call("a", "add", {"a": 1, "b": 2}, within=20.0)

        async def gets_its_own_answer(number: int) -> None:
            with workbench.case(f"call {number} of the new connection"):
                result = await proxy.call("a", "echo", new, within=30.0)
                workbench.expect(result.is_error or "new" in result.text, "its own answer", result.raw)

        await workbench.run_cases(*(partial(gets_its_own_answer, number) for number in range(_WAITING)))
    first = _calls_with(upstream, old)[0]
    in_time = [call for call in _calls_with(upstream, new) if call.t < first.t + _LATE]
    with workbench.precondition("a call of the new connection waits when the late answers come"):
        workbench.expect(
            in_time, f"a call within {_LATE} s after the first one", upstream.posts("tools/call")
        )
        workbench.expect(in_time[0].target != first.target, "another connection", in_time[0])


def _calls_with(upstream: RemoteMockUpstream, arguments: dict[str, str]) -> list[HttpRequest]:
    return [
        call for call in upstream.posts("tools/call") if call.message["params"].get("arguments") == arguments
    ]


@check("SSE-008", timeout=60, slow=True)
async def a_server_that_never_announces_its_endpoint_fails_alone(workbench: Workbench) -> None:
    mute = Script(on=[Rule("GET", [stream(*[": wait\n\n"] * 60, pause=0.5)])])
    silent, good = await workbench.sse("silent", mute), await workbench.sse("good")
    started = time.monotonic()
    async with workbench.proxy(silent, good) as proxy:
        await proxy.handshake()
        await proxy.wake(silent.name)
        await must_be_usable(
            workbench, proxy, good, what="the other group works from the beginning", within=5.0
        )
        with workbench.precondition("the proxy requests the stream of the mute upstream"):
            await workbench.eventually(lambda: silent.streams, within=5.0, what="a GET")
        left = started + 16.0 - time.monotonic()
        closed = "the proxy closes the GET without an endpoint within 16 s of the start"
        await workbench.eventually(lambda: silent.streams[0].ended_by == "client", within=left, what=closed)
        # A proxy that connects again for this call waits for the endpoint again.
        answer = await proxy.call("silent", "echo", within=18.0)
        workbench.expect(answer.is_error, "a call to the mute group is an error", answer.raw)


@check("SSE-013", timeout=60, slow=True)
async def a_stream_that_a_gateway_ends_is_opened_again_at_once(workbench: Workbench) -> None:
    upstream = await workbench.sse("a", Script(http=Http(stream_limit=1.5)))
    async with workbench.serving(upstream) as proxy:
        for _ in range(4):
            seen = len(upstream.streams)
            end = partial(_end_of, upstream, upstream.streams[-1].n)
            ended = await workbench.eventually(end, within=10.0, what="the gateway ends the stream")
            assert ended is not None
            await must_be_callable(workbench, proxy, upstream)
            opened = [request.t for request in upstream.streams[seen:]]
            workbench.expect(opened, "a stream for the call", upstream.streams)
            after = opened[0] - ended
            workbench.expect(
                after <= 1.5, "the next stream <= 1.5 s after the end of the last", f"{after:.2f} s"
            )
    cut = [request for request in upstream.streams if request.ended_by == "server"]
    workbench.expect(len(cut) >= 4, "four streams that the server ended", upstream.streams)


def _end_of(upstream: RemoteMockUpstream, number: int) -> float | None:
    """When the stream with this number ended."""
    return next(request.ended for request in upstream.streams if request.n == number)
