"""TOK: the refresh request, the rotation of refresh tokens, and refreshes that fail."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

from conformance.checks import check
from conformance.checks.common import must_answer_a_call, must_sign_in, must_work_again, sign_in, until
from conformance.checks.tok_expiry import first_run
from conformance.checks.token_files import stored
from conformance.errors import NotApplicable
from mock_servers.browser import User
from mock_servers.oauth_script import Fault, OAuth

if TYPE_CHECKING:
    from conformance.workbench.browsers import Browser
    from conformance.workbench.protected import ProtectedMockUpstream
    from conformance.workbench.workbench import Workbench

REFRESH = "refresh_token"
#: short enough to expire before the next start, long enough for one start
SHORT = 3


async def let_tokens_expire(
    workbench: Workbench, upstream: ProtectedMockUpstream, *, starts: int = 1
) -> None:
    """Start the proxy so many times with an expired token, and let a token expire in each session but the last.

    If the proxy signs in again at the first start, tokens expire in this session alone. No source obliges a proxy to store or to renew
    tokens. Raises `NotApplicable` if it does not renew any.
    """
    await first_run(workbench, upstream)
    for left in reversed(range(starts)):
        await _expired(workbench, upstream)
        async with workbench.proxy(upstream) as proxy:
            await proxy.handshake()
            await must_sign_in(workbench, proxy, upstream)
            stores = bool(upstream.refreshes)
            for _ in range(min(left, 1) if stores else starts + 1):
                await _expired(workbench, upstream)
                await proxy.call(upstream.name, "echo", {"x": 1}, within=20.0)
        if not stores:
            break
    if not upstream.refreshes:
        raise NotApplicable("it signs in again, and renews no token")


async def _expired(workbench: Workbench, upstream: ProtectedMockUpstream) -> None:
    await until(workbench, upstream.token_requests[-1].t + SHORT + 0.5)


@check("TOK-008", timeout=45, slow=True)
async def the_refresh_request_is_well_formed(workbench: Workbench) -> None:
    grants_less = OAuth(lifetimes=[SHORT], token_fields={"scope": "x"})
    upstream = await workbench.oauth("a", grants_less, oauth_scopes=["x", "y"])
    await let_tokens_expire(workbench, upstream)
    asked = workbench.at(upstream.refreshes, 0, "a refresh")
    request = next(request for request in upstream.http if request.n == asked.n)
    kind = (request.header("Content-Type") or "").partition(";")[0].strip().lower()
    form = "application/x-www-form-urlencoded"
    workbench.expect(request.method == "POST" and kind == form, "a POST with a form", request)
    before = upstream.token_requests[: upstream.token_requests.index(asked)]
    token = [one.issued[REFRESH] for one in before if REFRESH in one.issued][-1]
    workbench.expect(asked.params.get(REFRESH) == token, f"{REFRESH}={token}", asked)
    beyond = set(asked.params.get("scope", "").split()) - {"x"}
    workbench.expect(not beyond, "no scope beyond x, which the server granted of x and y", asked)


@check("TOK-041", timeout=45, slow=True)
async def the_refresh_names_the_client_and_the_resource(workbench: Workbench) -> None:
    upstream = await workbench.oauth("a", OAuth(lifetimes=[SHORT]))
    await let_tokens_expire(workbench, upstream)
    resource = upstream.authorizations[0].params.get("resource", upstream.url)
    for asked in workbench.some(upstream.refreshes, "a refresh"):
        for name, value in {"client_id": upstream.client_id, "resource": resource}.items():
            workbench.expect(asked.params.get(name) == value, f"{name}={value}", asked)


@check("TOK-009", timeout=60, slow=True)
async def a_rotated_refresh_token_replaces_the_old_one(workbench: Workbench) -> None:
    upstream = await workbench.oauth("a", OAuth(lifetimes=[SHORT]))
    await let_tokens_expire(workbench, upstream, starts=2)
    newest = None
    for asked in upstream.token_requests:
        if asked in upstream.refreshes:
            used = asked.params.get(REFRESH)
            workbench.expect(used == newest, f"a refresh with the newest token, {newest}", asked)
        newest = asked.issued.get(REFRESH, newest)


@check("TOK-010", timeout=60, slow=True)
async def without_rotation_the_refresh_token_is_kept(workbench: Workbench) -> None:
    upstream = await workbench.oauth("a", OAuth(lifetimes=[SHORT], rotation=False))
    await let_tokens_expire(workbench, upstream, starts=2)
    for asked, following in pairwise(upstream.token_requests):
        if asked in upstream.refreshes:
            kept = asked.params.get(REFRESH)
            used = following.params.get(REFRESH)
            workbench.expect(used == kept, f"after a refresh, one with the same token, {kept}", following)


@check("TOK-012", timeout=60, slow=True)
async def invalid_grant_leads_to_one_new_sign_in(workbench: Workbench) -> None:
    refuses = Fault("token", grant=REFRESH, status=400, body={"error": "invalid_grant"})
    oauth = OAuth(lifetimes=[SHORT, 3600], faults=[refuses])
    in_session, at_start = await workbench.oauth("session", oauth), await workbench.oauth("start", oauth)
    await refusals_must_lead_to_sign_ins(workbench, in_session, at_start)


async def refusals_must_lead_to_sign_ins(
    workbench: Workbench, in_session: ProtectedMockUpstream, *at_start: ProtectedMockUpstream
) -> None:
    """Let tokens expire whose refresh the servers refuse: for one server in a session, for the others before a start.

    At this start, the user leaves the page. Raises `Violation` unless each server gets one refresh request, and a page opens.
    """
    upstreams = [in_session, *at_start]
    browser = workbench.browser()
    async with workbench.proxy(*upstreams) as proxy:
        await proxy.handshake()
        with workbench.precondition("the first sign-in works"):
            await proxy.ready(*upstreams)
        await until(workbench, max(upstream.exchanges[0].t for upstream in upstreams) + SHORT + 0.5)
        await proxy.call(in_session.name, "echo", {"x": 1}, within=20.0)
        await _must_open_a_second_page(workbench, browser, in_session, "in a session")
    with workbench.case(in_session.name):
        workbench.one(in_session.refreshes, "one refresh request")
        pages = browser.pages_of(in_session)
        workbench.expect(len(pages) == 2, "one page after the first sign-in", pages)
    browser.used_by(User("leaves"))
    async with workbench.proxy(*at_start) as proxy:
        await proxy.handshake()
        for upstream in at_start:
            await proxy.wake(upstream.name)
        for upstream in at_start:
            await _must_open_a_second_page(workbench, browser, upstream, "at a start")
    browser.used_by(User())
    async with workbench.proxy(*at_start) as proxy:
        await proxy.handshake()
        for upstream in at_start:
            with workbench.case(upstream.name):
                await must_sign_in(workbench, proxy, upstream)
    for upstream in at_start:
        with workbench.case(upstream.name):
            workbench.one(upstream.refreshes, "one refresh request")
            pages = browser.pages_of(upstream)
            workbench.expect(len(pages) <= 3, "one page at each of the three starts", pages)


async def _must_open_a_second_page(
    workbench: Workbench, browser: Browser, upstream: ProtectedMockUpstream, when: str
) -> None:
    await workbench.eventually(
        lambda: len(browser.pages_of(upstream)) > 1,
        within=10.0,
        what=f"{upstream.name}: a refused refresh {when} leads to a page",
        seen=lambda: upstream.token_requests,
    )


@check("TOK-013", timeout=120, slow=True)
async def a_passing_refresh_failure_costs_nothing(workbench: Workbench) -> None:
    faults = [
        Fault("token", grant=REFRESH, times=1, status=503),
        Fault("token", grant=REFRESH, times=1, cut=True),
    ]
    # The token is due at once, and stays valid for the rest of the check.
    due = max(30, int(workbench.sut.profile.margin * 2 / 3))
    upstream = await workbench.oauth("a", OAuth(lifetimes=[due, 3600], faults=faults))
    gone = await workbench.oauth("gone", OAuth(lifetimes=[due]))
    expired = await workbench.oauth("expired", OAuth(lifetimes=[SHORT, 3600], faults=faults[:1]))
    browser = workbench.browser()
    with workbench.precondition("the first run signs in"):
        await sign_in(workbench, upstream, gone, expired)
    await gone.stop()
    async with workbench.proxy(upstream, gone, expired) as proxy:
        await proxy.handshake()
        await proxy.wake("gone")
        await must_sign_in(workbench, proxy, upstream)
        await must_answer_a_call(workbench, proxy, upstream)
        workbench.expect(
            upstream.refreshes, "the proxy tries a refresh inside the buffer", upstream.token_requests
        )
        for _ in range(40):
            await must_answer_a_call(workbench, proxy, upstream)
            if len(upstream.access_tokens) > 1:
                break
            content = stored(workbench, "a")
            kept = upstream.refresh_tokens[0] in content or len(upstream.access_tokens) > 1
            workbench.expect(kept, "the file keeps the refresh token", content)
            with workbench.case("an endpoint that refuses connections"):
                content = stored(workbench, "gone")
                kept = gone.refresh_tokens[-1] in content
                workbench.expect(kept, f"the file keeps {gone.refresh_tokens[-1]}", content)
            await workbench.holds_for(2.0, lambda: None)
        workbench.expect(
            len(upstream.access_tokens) == 2, "the proxy tries the refresh again", upstream.refreshes
        )
        await must_answer_a_call(workbench, proxy, upstream)
        token = upstream.access_tokens[1]
        workbench.expect(upstream.bearers[-1] == token, "the proxy uses the new token", upstream.bearers)
        with workbench.case("a status 503 after the token expired"):
            await until(workbench, expired.exchanges[0].t + SHORT + 0.5)
            await must_work_again(workbench, proxy, expired, within=30.0)
            workbench.one(browser.pages_of(expired), "no page after the first sign-in")
            sent = {asked.params.get(REFRESH) for asked in expired.refreshes}
            workbench.expect(sent == {expired.refresh_tokens[0]}, "it tries the refresh again", sent)
    workbench.one(browser.pages_of(upstream), "no page after the first sign-in")


@check("TOK-014", timeout=40, slow=True)
async def parallel_calls_cause_one_refresh(workbench: Workbench) -> None:
    late = Fault("token", grant=REFRESH, delay=0.5)
    soon = int(workbench.sut.profile.margin) + 6
    upstream = await workbench.oauth("a", OAuth(lifetimes=[soon, 3600], faults=[late]))
    workbench.browser()
    async with workbench.proxy(upstream) as proxy:
        await proxy.handshake()
        with workbench.precondition("the sign-in works"):
            await proxy.ready(upstream)
        await until(workbench, upstream.exchanges[0].t + 7.5)
        before = len(upstream.mcp)
        await workbench.run_cases(
            *(partial(must_answer_a_call, workbench, proxy, upstream) for _ in range(10))
        )
    workbench.expect(len(upstream.refreshes) == 1, "one refresh", upstream.refreshes)
    calls = [request for request in upstream.mcp[before:] if request.rpc == "tools/call"]
    old = [request for request in calls if upstream.bearer(request) != upstream.access_tokens[1]]
    workbench.expect(len(calls) == 10 and not old, "ten calls with the second token", calls)
