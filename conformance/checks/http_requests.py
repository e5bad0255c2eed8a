"""HTTP: what the proxy sends to a Streamable HTTP upstream.

A probe for the modern era (`server/discover`) may come first. The checks ignore it where they judge the order
or the number of requests.
"""

from __future__ import annotations

from contextlib import nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING

from conformance.checks import check
from conformance.checks.asides import provoke_asides, rules_of_asides
from conformance.checks.common import SESSION, SESSIONS, VERSION, must_be_callable, must_be_usable
from conformance.errors import Untestable, Violation
from mock_servers.script import Http, Script

if TYPE_CHECKING:
    from conformance.workbench.mocks import MockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.remotes import RemoteMockUpstream
    from conformance.workbench.workbench import Workbench
    from mock_servers.journal_views import HttpRequest

#: the oldest revision with Streamable HTTP, which has no such header
OLDEST = "2025-03-26"


async def must_have_its_headers(
    workbench: Workbench, upstream: RemoteMockUpstream, headers: dict[str, str]
) -> None:
    """Raise `Violation` unless an upstream that requires these headers is usable, and every request to it has them."""
    async with workbench.proxy(upstream) as proxy:
        await proxy.handshake()
        what = "an upstream that wants the configured headers becomes usable"
        try:
            await must_be_usable(workbench, proxy, upstream, what=what)
        except Violation:
            _must_have_headers(workbench, upstream, headers)  # the likely cause, and its message says more
            raise
    _must_have_headers(workbench, upstream, headers)


def _must_have_headers(workbench: Workbench, upstream: RemoteMockUpstream, headers: dict[str, str]) -> None:
    requests = [request for request in upstream.http if not request.is_discovery]
    for request in workbench.some(requests, "a request with the configured headers"):
        for name, value in headers.items():
            sent = request.header(name)
            workbench.expect(sent == value, f"the header {name}: {value}", f"{name}: {sent} in {request}")


def after_initialize(workbench: Workbench, upstream: RemoteMockUpstream) -> list[HttpRequest]:
    """The requests of a session after its `initialize`, at least one. A proxy can try a server in a session of its own first."""
    requests = [request for request in upstream.http if not (request.is_probe or request.is_discovery)]
    begun = [place for place, request in enumerate(requests) if request.rpc == "initialize"]
    later = [request for request in requests[begun[0] :] if request.rpc != "initialize"] if begun else []
    workbench.expect(later, "initialize and further requests reach the upstream", requests)
    return later


@check("HTTP-001")
async def every_message_is_one_well_formed_post_to_the_configured_url(workbench: Workbench) -> None:
    posts = await _posts(workbench)
    methods = [request.rpc for request in posts]
    for wanted in ("initialize", "tools/list", "tools/call"):
        workbench.expect(wanted in methods, f"{wanted} is POSTed", methods)
    for post in posts:
        workbench.expect(post.target == "/mcp?k=v", "the path and query of the configured URL", post)
        accepted = [
            part.partition(";")[0].strip().lower() for part in (post.header("Accept") or "").split(",")
        ]
        both = {"application/json", "text/event-stream"} <= set(accepted)
        workbench.expect(both, "Accept lists application/json and text/event-stream", post)
        workbench.expect(isinstance(post.message, dict), "a body that is one JSON object", post.body.decode())


@check("HTTP-034")
async def every_message_is_declared_as_json(workbench: Workbench) -> None:
    for post in workbench.some(await _posts(workbench), "a POST"):
        kind = (post.header("Content-Type") or "").partition(";")[0].strip().lower()
        workbench.expect(kind == "application/json", "Content-Type: application/json", post)


async def _posts(workbench: Workbench) -> list[HttpRequest]:
    """Those of a session with one call, at an upstream whose URL has a query."""
    remote = await workbench.http("a")
    upstream = remote.variant(url=f"{remote.url}?k=v")
    async with workbench.serving(upstream) as proxy:
        await must_be_callable(workbench, proxy, upstream)
    return [request for request in remote.http if request.method == "POST"]


@check("HTTP-006", timeout=40)
async def initialized_is_posted_before_any_other_request(workbench: Workbench) -> None:
    """The notification arrives only once in each session."""
    statuses = (202, 200, 204) if workbench.promises("any-confirmation") else (202,)
    upstreams = [
        await workbench.http(f"a{status}", Script(strict=True, http=Http(accepted=status, sessions=True)))
        for status in statuses
    ]
    async with workbench.proxy(*upstreams) as proxy:
        await proxy.handshake()
        for upstream in upstreams:
            await must_be_usable(workbench, proxy, upstream, within=10.0)
    initialized = "notifications/initialized"
    for upstream in upstreams:
        for session in workbench.some(upstream.sessions, f"a session of {upstream.name}"):
            sent = [post.rpc for post in upstream.posts() if post.header(SESSION) == session]
            what = f"{upstream.name} receives {initialized} first after initialize, and only once"
            workbench.expect(sent[:1] == [initialized] and sent.count(initialized) == 1, what, sent)
        refused = [post for post in upstream.posts() if (post.status or 0) >= 400]
        workbench.expect(not refused, f"{upstream.name} refuses nothing", refused)


@check("HTTP-007")
async def an_assigned_session_id_is_sent_on_every_later_request(workbench: Workbench) -> None:
    upstream = await workbench.http("a", Script(http=SESSIONS, on=rules_of_asides()))
    async with workbench.proxy(upstream) as proxy:
        await proxy.handshake()
        await must_be_usable(
            workbench, proxy, upstream, what="an upstream that wants its session id becomes usable"
        )
        await provoke_asides(workbench, proxy, upstream)
    for request in after_initialize(workbench, upstream):
        value = request.header(SESSION)
        workbench.expect(value in upstream.sessions, f"{SESSION} is one of {upstream.sessions}", request)
        workbench.expect(request.status not in (400, 404), "the upstream refuses nothing", request)


@check("HTTP-008")
async def a_session_id_is_never_invented(workbench: Workbench) -> None:
    """A second upstream does assign a session id: it sees none on `initialize`."""
    without, assigning = await workbench.http("without"), await workbench.http("with", Script(http=SESSIONS))
    async with workbench.proxy(without, assigning) as proxy:
        await proxy.handshake()
        await proxy.ready(without)
        await must_be_callable(workbench, proxy, without)
        await proxy.tools_of("with")  # wakes a lazy proxy
        with workbench.precondition("the proxy connects to the upstream that assigns ids"):
            what = "initialize"
            await workbench.eventually(lambda: assigning.posts("initialize"), within=10.0, what=what)
    after_initialize(workbench, without)
    begun = workbench.some(assigning.posts("initialize"), "an initialize at the upstream that assigns ids")
    for request in [*without.http, *begun]:
        workbench.expect(
            request.header(SESSION) is None, f"no {SESSION} that the upstream did not assign", request
        )


@check("HTTP-011", timeout=40)
async def every_request_has_the_version_header(workbench: Workbench) -> None:
    for version, upstream in await _sessions_by_version(workbench):
        if version != OLDEST:
            for request in after_initialize(workbench, upstream):
                workbench.expect(request.header(VERSION), f"{VERSION} after {version}", request)


@check("HTTP-033", timeout=40, slow=True)
async def the_version_header_carries_the_negotiated_version(workbench: Workbench) -> None:
    for version, upstream in await _sessions_by_version(workbench):
        right = (version, None) if version == OLDEST else (version,)
        for request in after_initialize(workbench, upstream):
            workbench.expect(request.header(VERSION) in right, f"{VERSION}: {version}", request)


async def _sessions_by_version(workbench: Workbench) -> list[tuple[str, RemoteMockUpstream]]:
    """Upstreams that the proxy has used, each with the version that it answered. One of them has sessions, which end with DELETE."""
    every = (OLDEST, "2025-06-18", "2025-11-25")
    # The proxy may decline what it does not speak; with such a server some connect to no other one.
    versions = [one for one in every if workbench.sut.profile.speaks(one) is not False] or every
    upstreams = {
        version: await workbench.http(f"v{version}", Script(protocol_version=version)) for version in versions
    }
    spoken = {version: one for version, one in upstreams.items() if workbench.sut.profile.speaks(version)}
    script = Script(protocol_version=versions[-1], http=SESSIONS, on=rules_of_asides())
    in_sessions = await workbench.http("in-sessions", script)
    async with workbench.proxy(*upstreams.values(), in_sessions) as proxy:
        await proxy.handshake()
        for version, upstream in upstreams.items():
            # The proxy may decline an older version that it does not speak (HTTP-012).
            with nullcontext() if version in spoken or version == versions[-1] else suppress(Untestable):
                await proxy.ready(upstream, within=10.0)
                spoken[version] = upstream
        for upstream in spoken.values():
            await must_be_callable(workbench, proxy, upstream)
        used = list(spoken.items())
        with suppress(Untestable):  # whether sessions work is another requirement (HTTP-007)
            await proxy.ready(in_sessions)
            await provoke_asides(workbench, proxy, in_sessions)
            used.append((versions[-1], in_sessions))
    return used


@check("HTTP-012", timeout=40)
async def a_counter_offered_version_is_used(workbench: Workbench) -> None:
    older = Script(protocol_version="2025-03-26")
    upstreams = [await workbench.http("old-http", older), workbench.stdio("old-stdio", older)]
    async with workbench.proxy(*upstreams) as proxy:
        await proxy.handshake()
        for upstream in upstreams:
            try:
                await must_be_usable(workbench, proxy, upstream, within=10.0)
            except Violation:
                if workbench.sut.profile.speaks("2025-03-26"):
                    raise
                await _must_be_declined(workbench, proxy, upstream)
                continue
            begun = [request.message for request in upstream.requests("initialize")]
            finished = upstream.requests("notifications/initialized")
            what = f"{upstream.name} receives one initialize for each session"
            workbench.expect(len(begun) == len(finished) >= 1, what, begun)


@check("HTTP-032", timeout=40, slow=True)
async def an_unknown_version_is_declined(workbench: Workbench) -> None:
    unknown, good = Script(protocol_version="1999-01-01"), workbench.stdio("good")
    bad = [await workbench.http("bad-http", unknown), workbench.stdio("bad-stdio", unknown)]
    async with workbench.proxy(good, *bad) as proxy:
        await proxy.handshake()
        with workbench.precondition("a server with a known version works"):
            await proxy.ready(good)
            await must_be_callable(workbench, proxy, good)
        await workbench.run_cases(
            *(partial(_must_be_declined, workbench, proxy, upstream) for upstream in bad)
        )


async def _must_be_declined(workbench: Workbench, proxy: Proxy, upstream: MockUpstream) -> None:
    await proxy.tools_of(upstream.name)  # wakes a lazy proxy
    name = upstream.name
    await workbench.eventually(
        lambda: upstream.requests("initialize"), within=10.0, what=f"{name} receives initialize"
    )

    def must_send_nothing_more() -> None:
        listed = [request.message for request in upstream.requests("tools/list")]
        workbench.expect(not listed, f"no tools/list follows the unknown version of {name}", listed)

    await workbench.holds_for(3.0, must_send_nothing_more)
    answer = await proxy.call(name, "echo")
    workbench.expect(answer.is_error, f"a call to {name} is an error", answer.raw)
    must_send_nothing_more()


@check("HTTP-013")
async def configured_headers_are_on_every_request(workbench: Workbench) -> None:
    """User-Agent is among the configured headers, since HTTP libraries have a default for it."""
    headers = {"Authorization": "Bearer canary-7f3a", "X-Team": "a b; c", "User-Agent": "configured/1.0"}
    script = Script(http=Http(required_headers=headers))
    await must_have_its_headers(workbench, await workbench.http("a", script, headers=headers), headers)


@check("HTTP-014")
async def plain_http_upstreams_work_without_opt_in(workbench: Workbench) -> None:
    upstream = await workbench.http("a")
    async with workbench.proxy(upstream) as proxy:
        await proxy.handshake()
        await must_be_usable(
            workbench, proxy, upstream, what="an upstream with an http:// URL becomes usable"
        )
