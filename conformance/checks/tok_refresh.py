"""TOK: the refresh request, the rotation of refresh tokens, and refreshes that fail."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

from conformance.checks import check
from conformance.checks.common import must_answer_a_call, must_sign_in, sign_in, until
from conformance.checks.tok_expiry import first_run
from conformance.checks.token_files import stored
from conformance.errors import NotApplicable
from mock_servers.oauth_script import Fault, OAuth

if TYPE_CHECKING:
    from conformance.workbench.protected import ProtectedMockUpstream
    from conformance.workbench.workbench import Workbench

REFRESH = "refresh_token"
#: short enough to expire before the next start, long enough for one start
SHORT = 3


async def let_tokens_expire(workbench: Workbench, upstream: ProtectedMockUpstream, count: int) -> None:
    """Start the proxy `count` times with an expired token. If it then signs in again, let tokens expire in one session instead.

    No source obliges a proxy to store or to renew tokens. Raises `NotApplicable` if it does not renew any.
    """
    await first_run(workbench, upstream)
    for _ in range(count):
        await _expired(workbench, upstream)
        async with workbench.proxy(upstream) as proxy:
            await proxy.handshake()
            await must_sign_in(workbench, proxy, upstream)
            if upstream.refreshes:
                continue
            for _ in range(count):
                await _expired(workbench, upstream)
                await proxy.call(upstream.name, "echo", {"x": 1}, within=20.0)
        break
    if not upstream.refreshes:
        raise NotApplicable("it signs in again, and renews no token")


async def _expired(workbench: Workbench, upstream: ProtectedMockUpstream) -> None:
    await until(workbench, upstream.token_requests[-1].t + SHORT + 0.5)


@check("TOK-008", timeout=45, slow=True)
async def the_refresh_request_is_well_formed(workbench: Workbench) -> None:
    upstream = await workbench.oauth("a", OAuth(lifetimes=[SHORT]), oauth_scopes=["x", "y"])
    await let_tokens_expire(workbench, upstream, 1)
    asked = workbench.at(upstream.refreshes, 0, "a refresh")
    request = next(request for request in upstream.http if request.n == asked.n)
    kind = (request.header("Content-Type") or "").partition(";")[0].strip().lower()
    form = "application/x-www-form-urlencoded"
    workbench.expect(request.method == "POST" and kind == form, "a POST with a form", request)
    before = upstream.token_requests[: upstream.token_requests.index(asked)]
    token = [one.issued[REFRESH] for one in before if REFRESH in one.issued][-1]
    workbench.expect(asked.params.get(REFRESH) == token, f"{REFRESH}={token}", asked)
    workbench.expect(
        set(asked.params.get("scope", "").split()) <= {"x", "y"}, "no scope beyond x and y", asked
    )


@check("TOK-041", timeout=45, slow=True)
async def the_refresh_names_the_client_and_the_resource(workbench: Workbench) -> None:
    upstream = await workbench.oauth("a", OAuth(lifetimes=[SHORT]))
    await let_tokens_expire(workbench, upstream, 1)
    resource = upstream.authorizations[0].params.get("resource", upstream.url)
    for asked in workbench.some(upstream.refreshes, "a refresh"):
        for name, value in {"client_id": upstream.client_id, "resource": resource}.items():
            workbench.expect(asked.params.get(name) == value, f"{name}={value}", asked)


@check("TOK-009", timeout=60, slow=True)
async def a_rotated_refresh_token_replaces_the_old_one(workbench: Workbench) -> None:
    upstream = await workbench.oauth("a", OAuth(lifetimes=[SHORT]))
    await let_tokens_expire(workbench, upstream, 3)
    newest = None
    for asked in upstream.token_requests:
        if asked in upstream.refreshes:
            used = asked.params.get(REFRESH)
            workbench.expect(used == newest, f"a refresh with the newest token, {newest}", asked)
        newest = asked.issued.get(REFRESH, newest)


@check("TOK-010", timeout=60, slow=True)
async def without_rotation_the_refresh_token_is_kept(workbench: Workbench) -> None:
    upstream = await workbench.oauth("a", OAuth(lifetimes=[SHORT], rotation=False))
    await let_tokens_expire(workbench, upstream, 2)
    for asked, following in pairwise(upstream.token_requests):
        if asked in upstream.refreshes:
            kept = asked.params.get(REFRESH)
            used = following.params.get(REFRESH)
            workbench.expect(used == kept, f"after a refresh, one with the same token, {kept}", following)


@check("TOK-012", timeout=40, slow=True)
async def invalid_grant_leads_to_one_new_sign_in(workbench: Workbench) -> None:
    refuses = Fault("token", grant=REFRESH, status=400, body={"error": "invalid_grant"})
    upstream = await workbench.oauth("a", OAuth(lifetimes=[SHORT, 3600], faults=[refuses]))
    browser = workbench.browser()
    with workbench.precondition("the first run signs in"):
        await sign_in(workbench, upstream)
    await until(workbench, upstream.exchanges[0].t + SHORT + 0.5)
    await sign_in(workbench, upstream)
    workbench.expect(len(upstream.refreshes) == 1, "one refresh request", upstream.refreshes)
    workbench.expect(len(browser.openings) == 2, "one page for each run", browser.openings)


@check("TOK-013", timeout=120, slow=True)
async def a_passing_refresh_failure_costs_nothing(workbench: Workbench) -> None:
    faults = [
        Fault("token", grant=REFRESH, times=1, status=503),
        Fault("token", grant=REFRESH, times=1, cut=True),
    ]
    # The token is due at once, and stays valid for the rest of the check.
    due = max(30, int(workbench.sut.profile.margin * 2 / 3))
    upstream = await workbench.oauth("a", OAuth(lifetimes=[due, 3600], faults=faults))
    browser = workbench.browser()
    with workbench.precondition("the first run signs in"):
        await sign_in(workbench, upstream)
    async with workbench.proxy(upstream) as proxy:
        await proxy.handshake()
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
            await workbench.holds_for(2.0, lambda: None)
        workbench.expect(
            len(upstream.access_tokens) == 2, "the proxy tries the refresh again", upstream.refreshes
        )
        await must_answer_a_call(workbench, proxy, upstream)
        token = upstream.access_tokens[1]
        workbench.expect(upstream.bearers[-1] == token, "the proxy uses the new token", upstream.bearers)
    workbench.expect(len(browser.openings) == 1, "no page after the first sign-in", browser.openings)


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
