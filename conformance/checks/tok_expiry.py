"""TOK: when the proxy uses a stored token, when it refreshes the token first, and when it discards it.

No clock is faked: the authorization server sets the lifetime of its tokens. A token that expires within 5 minutes, or the margin of the
profile, is due for a refresh. So a token with a shorter lifetime is due at once. Its first refresh may happen in the first run, so a check
of the second run knows what the first run has sent.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from conformance.checks import check
from conformance.checks.common import must_answer_a_call, must_sign_in, sign_in, until
from conformance.errors import NotApplicable, Untestable
from mock_servers.oauth_script import OAuth

if TYPE_CHECKING:
    from conformance.workbench.protected import ProtectedMockUpstream
    from conformance.workbench.workbench import Workbench


#: seconds of a margin within which a check can sign in, and start the proxy again
LEAST_MARGIN = 60.0


async def first_run(workbench: Workbench, *upstreams: ProtectedMockUpstream) -> None:
    """Sign in, so that a second run finds stored tokens."""
    workbench.browser()
    with workbench.precondition("the first run signs in"):
        await sign_in(workbench, *upstreams)


def must_have_no_refresh(workbench: Workbench, upstream: ProtectedMockUpstream) -> None:
    """Raise `Violation` if a refresh request has arrived."""
    workbench.expect(not upstream.refreshes, "no refresh", upstream.refreshes)


@check("TOK-004", timeout=40, slow=True)
async def a_stored_token_is_used_again_after_a_restart(workbench: Workbench) -> None:
    upstreams = [
        await workbench.oauth("lives", OAuth(lifetimes=[3600])),
        await workbench.oauth("silent", OAuth(lifetimes=[None])),
    ]
    await first_run(workbench, *upstreams)
    before = {upstream.name: (len(upstream.token_requests), len(upstream.mcp)) for upstream in upstreams}
    browser = workbench.browser()
    async with workbench.proxy(*upstreams) as proxy:
        await proxy.handshake()
        await must_sign_in(workbench, proxy, *upstreams)
        for upstream in upstreams:
            await must_answer_a_call(workbench, proxy, upstream)
    browser.must_not_have_opened()
    for upstream in upstreams:
        asked, seen = before[upstream.name]
        later = upstream.token_requests[asked:]
        workbench.expect(not later, f"{upstream.name}: no token request in the second run", later)
        bearers = {upstream.bearer(request) for request in upstream.mcp[seen:]} - {None}
        first = upstream.access_tokens[0]
        workbench.expect(bearers == {first}, f"{upstream.name}: the first access token", bearers)


@check("TOK-015", timeout=30)
async def a_token_without_expires_in_is_accepted(workbench: Workbench) -> None:
    upstream = await workbench.oauth("a", OAuth(lifetimes=[None]))
    workbench.browser()
    async with workbench.proxy(upstream) as proxy:
        await proxy.handshake()
        await must_sign_in(workbench, proxy, upstream)
        await must_answer_a_call(workbench, proxy, upstream)
    issued, used = upstream.access_tokens, upstream.bearers
    workbench.expect(used and set(used) <= set(issued), "only tokens that were issued", used)


@check("TOK-005", timeout=40, slow=True)
async def the_buffer_holds_when_connecting(workbench: Workbench) -> None:
    margin = workbench.sut.profile.margin
    if margin < LEAST_MARGIN:
        raise NotApplicable(f"the profile says that it refreshes a token {margin:g} s before its expiry")
    within = [int(margin * part) for part in (0.97, 0.67, 0.1)]
    upstreams = [await workbench.oauth(f"a{s}", OAuth(lifetimes=[s])) for s in within]
    await first_run(workbench, *upstreams)
    before = {upstream.name: (list(upstream.access_tokens), len(upstream.mcp)) for upstream in upstreams}
    browser = workbench.browser()
    async with workbench.proxy(*upstreams) as proxy:
        await proxy.handshake()
        await must_sign_in(workbench, proxy, *upstreams)
    browser.must_not_have_opened()
    for upstream in upstreams:
        stored, seen = before[upstream.name]
        posts = [request for request in upstream.mcp[seen:] if request.method == "POST"]
        token = upstream.bearer(posts[0])
        fresh = token in upstream.access_tokens and token not in stored
        workbench.expect(fresh, f"{upstream.name}: the first POST carries a refreshed token", posts[0])


@check("TOK-006", timeout=60, slow=True)
async def outside_the_buffer_there_is_no_refresh(workbench: Workbench) -> None:
    upstream = await workbench.oauth("a", OAuth(lifetimes=[int(workbench.sut.profile.margin) + 60]))
    await first_run(workbench, upstream)
    async with workbench.proxy(upstream) as proxy:
        await proxy.handshake()
        await must_sign_in(workbench, proxy, upstream)
        for _ in range(5):
            await must_answer_a_call(workbench, proxy, upstream)
            await workbench.holds_for(3.0, partial(must_have_no_refresh, workbench, upstream))
    must_have_no_refresh(workbench, upstream)


@check("TOK-007", timeout=40, slow=True)
async def the_buffer_holds_during_a_session(workbench: Workbench) -> None:
    upstream = await workbench.oauth("a", OAuth(lifetimes=[int(workbench.sut.profile.margin) + 8, 3600]))
    workbench.browser()
    async with workbench.proxy(upstream) as proxy:
        await proxy.handshake()
        with workbench.precondition("the sign-in works"):
            await proxy.ready(upstream)
        signed_in = upstream.exchanges[0].t
        await must_answer_a_call(workbench, proxy, upstream)
        if time.monotonic() - signed_in > 7.0:
            raise Untestable("the first call came too late, the machine is too slow")
        must_have_no_refresh(workbench, upstream)
        workbench.expect(
            upstream.bearers[-1] == upstream.access_tokens[0], "the first token", upstream.bearers
        )
        await until(workbench, signed_in + 12.0)
        await must_answer_a_call(workbench, proxy, upstream)
    workbench.expect(len(upstream.refreshes) == 1, "one refresh", upstream.refreshes)
    calls = [request for request in upstream.mcp if request.rpc == "tools/call"]
    token = upstream.bearer(calls[-1])
    workbench.expect(token == upstream.access_tokens[1], "the second token in the second call", calls[-1])
    refused = [request for request in upstream.mcp if request.t > signed_in and request.status == 401]
    workbench.expect(not refused, "no 401 after the sign-in", refused)


@check("TOK-011", timeout=40, slow=True)
async def an_expired_token_is_never_sent(workbench: Workbench) -> None:
    without_refresh = OAuth(lifetimes=[2, 3600], refresh_tokens=False)
    with_refresh = await workbench.oauth("with", OAuth(lifetimes=[2, 3600]))
    without = await workbench.oauth("without", without_refresh)
    in_session = await workbench.oauth("session", without_refresh)
    upstreams = [with_refresh, without, in_session]
    workbench.browser()
    async with workbench.proxy(*upstreams) as proxy:
        await proxy.handshake()
        with workbench.precondition("the first sign-in works"):
            await proxy.ready(*upstreams)
        expired = max(upstream.exchanges[0].t for upstream in upstreams) + 3.0
        await until(workbench, expired)
        await proxy.call(in_session.name, "echo", {"x": 1}, within=20.0)
    await sign_in(workbench, *upstreams)
    for upstream in upstreams:
        old = upstream.access_tokens[0]
        sent = [request for request in upstream.mcp if upstream.bearer(request) == old]
        late = [request for request in sent if request.t > expired]
        workbench.expect(not late, f"{upstream.name}: the expired token is not sent", late)
    workbench.expect(with_refresh.refreshes, "a refresh", with_refresh.token_requests)
    for upstream in (without, in_session):
        workbench.expect(
            len(upstream.exchanges) == 2, f"a second sign-in to {upstream.name}", upstream.token_requests
        )


@check("TOK-016", timeout=40, slow=True)
async def short_lifetimes_cause_no_refresh_loop(workbench: Workbench) -> None:
    upstream = await workbench.oauth("a", OAuth(lifetimes=[60]))
    workbench.browser()
    async with workbench.proxy(upstream) as proxy:
        await proxy.handshake()
        await must_sign_in(workbench, proxy, upstream)

        def must_be_bounded() -> None:
            workbench.expect(len(upstream.refreshes) <= 4, "at most four refreshes", upstream.refreshes)

        await workbench.holds_for(10.0, must_be_bounded)
        for _ in range(3):
            await must_answer_a_call(workbench, proxy, upstream)
        must_be_bounded()
