"""TOK, OAUTH: good tokens that are refused for a while, or in one session. None of these cases needs the user."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from conformance.checks import check
from conformance.checks.common import must_answer_a_call, must_sign_in, must_work_again, until
from conformance.checks.tok_refresh import REFRESH, SHORT
from conformance.errors import NotApplicable
from mock_servers.actions import reply, sleep
from mock_servers.oauth_script import Fault, OAuth
from mock_servers.remote_actions import refuse_tokens, respond
from mock_servers.script import Http, Script, on_call

if TYPE_CHECKING:
    from conformance.workbench.browsers import Browser
    from conformance.workbench.inbox import CallResult
    from conformance.workbench.protected import ProtectedMockUpstream
    from conformance.workbench.workbench import Workbench

#: seconds in which the server refuses every token
OUTAGE = 6.0


@check("TOK-042", timeout=90, slow=True)
async def a_gateway_at_the_token_endpoint_costs_no_tokens(workbench: Workbench) -> None:
    gateways = {
        "forbidden": Fault("token", grant=REFRESH, times=1, status=403, body={"message": "Forbidden"}),
        "blocked": Fault("token", grant=REFRESH, times=1, status=451, body={"detail": "blocked"}),
    }
    upstreams = [
        await workbench.oauth(name, OAuth(lifetimes=[SHORT, 3600], faults=[fault]))
        for name, fault in gateways.items()
    ]
    browser = workbench.browser()
    async with workbench.proxy(*upstreams) as proxy:
        await proxy.handshake()
        with workbench.precondition("the sign-in works"):
            await proxy.ready(*upstreams)
        await until(workbench, max(upstream.exchanges[0].t for upstream in upstreams) + SHORT + 0.5)
        for upstream in upstreams:
            with workbench.case(upstream.name):
                await must_work_again(workbench, proxy, upstream, within=30.0)
                _must_have_renewed(workbench, browser, upstream)
                sent = {asked.params.get(REFRESH) for asked in upstream.refreshes}
                workbench.expect(len(sent) == 1, "the same refresh token again", upstream.refreshes)


@check("TOK-043", timeout=90, slow=True)
async def a_server_that_refuses_all_tokens_for_a_while_costs_no_sign_in(workbench: Workbench) -> None:
    begin = on_call("add", refuse_tokens(OUTAGE), sleep(OUTAGE / 2), reply())
    upstream = await workbench.oauth("a", script=Script(http=Http(sessions=True), on=[begin]))
    browser = workbench.browser()
    async with workbench.proxy(upstream) as proxy:
        await proxy.handshake()
        await must_sign_in(workbench, proxy, upstream)
        begun: list[CallResult] = []

        async def call() -> None:
            begun.append(await proxy.call("a", "add", {"a": 1, "b": 2}, within=20.0))

        async with anyio.create_task_group() as beside:
            beside.start_soon(call)
            with workbench.precondition("the call with which the server begins to refuse"):
                await workbench.eventually(
                    lambda: upstream.requests("tools/call"), within=10.0, what="it reaches the server"
                )
            refused = [await proxy.call("a", "echo", {"x": 1}, within=20.0)]
            while len(refused) < 4:
                await anyio.sleep(0.5)
                refused.append(await proxy.call("a", "echo", {"x": 1}, within=20.0))
        for answer in refused:
            workbench.expect(answer.is_error, "a refused call is an error", answer.raw)
        workbench.expect(not begun[0].is_error, "the call that has begun keeps its answer", begun[0].raw)
        _must_have_renewed(workbench, browser, upstream)
        await must_work_again(workbench, proxy, upstream, within=OUTAGE + 40.0)
        _must_have_renewed(workbench, browser, upstream)


@check("TOK-044", timeout=60, slow=True)
async def a_tool_that_refuses_every_token_costs_few_renewals(workbench: Workbench) -> None:
    refusal = respond(401, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
    script = Script(http=Http(sessions=True), on=[on_call("add", refusal)])
    upstream = await workbench.oauth("a", script=script)
    browser = workbench.browser()
    async with workbench.proxy(upstream) as proxy:
        await proxy.handshake()
        await must_sign_in(workbench, proxy, upstream)
        before = len(browser.pages_of(upstream))
        for _ in range(5):
            answer = await proxy.call("a", "add", {"a": 1, "b": 2}, within=20.0)
            workbench.expect(answer.is_error, "a refused call is an error", answer.raw)
            await must_answer_a_call(workbench, proxy, upstream)
        workbench.expect(len(upstream.refreshes) <= 2, "at most two refreshes", upstream.refreshes)
        pages = browser.pages_of(upstream)[before:]
        workbench.expect(len(pages) <= 1, "at most one further page", pages)


@check("OAUTH-049", timeout=60, slow=True)
async def a_new_token_may_need_a_new_session(workbench: Workbench) -> None:
    upstream = await workbench.oauth(
        "a",
        OAuth(lifetimes=[SHORT, 3600], bound_sessions=True),
        script=Script(http=Http(sessions=True)),
    )
    browser = workbench.browser()
    async with workbench.proxy(upstream) as proxy:
        await proxy.handshake()
        with workbench.precondition("the sign-in works"):
            await proxy.ready(upstream)
        await until(workbench, upstream.exchanges[0].t + SHORT + 0.5)
        await must_work_again(workbench, proxy, upstream, within=20.0)
        _must_have_renewed(workbench, browser, upstream)
        await must_answer_a_call(workbench, proxy, upstream)


def _must_have_renewed(workbench: Workbench, browser: Browser, upstream: ProtectedMockUpstream) -> None:
    """Raise `Violation` after a second page. Raises `NotApplicable` if the proxy does not renew tokens."""
    pages = browser.pages_of(upstream)
    if not upstream.refreshes and len(pages) > 1:
        raise NotApplicable("it signs in again, and renews no token")
    workbench.expect(len(pages) == 1, "no page after the first sign-in", pages)
