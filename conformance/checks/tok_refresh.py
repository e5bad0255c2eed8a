"""TOK: the refresh request, the rotation of refresh tokens, and refreshes that fail."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from conformance.checks import check
from conformance.checks.oauth_bearer import can_use
from conformance.checks.oauth_flow import sign_in, signs_in
from conformance.checks.tok_expiry import first_run, until
from conformance.checks.token_files import stored
from mock_servers.oauth_script import Fault, OAuth

if TYPE_CHECKING:
    from conformance.workbench.browsers import Browser
    from conformance.workbench.protected import ProtectedMockUpstream
    from conformance.workbench.workbench import Workbench

REFRESH = "refresh_token"
#: short enough to expire before the next start, long enough for one start
SHORT = 3


async def runs_with_expired_tokens(
    workbench: Workbench, upstream: ProtectedMockUpstream, count: int
) -> Browser:
    """Sign in, then start the proxy again `count` times, each time after the last token has expired. Returns
    the browser of these later runs.
    """
    await first_run(workbench, upstream)
    browser = workbench.browser()
    for _ in range(count):
        await until(workbench, upstream.token_requests[-1].t + SHORT + 0.5)
        await sign_in(workbench, upstream)
    return browser


@check("TOK-008", timeout=45, slow=True)
async def the_refresh_request_is_well_formed(workbench: Workbench) -> None:
    upstream = await workbench.oauth("a", OAuth(lifetimes=[SHORT, 3600]), oauth_scopes=["x", "y"])
    await runs_with_expired_tokens(workbench, upstream, 1)
    asked = workbench.one(upstream.refreshes, "one refresh")
    request = next(request for request in upstream.http if request.n == asked.n)
    kind = (request.header("Content-Type") or "").partition(";")[0].strip().lower()
    form = "application/x-www-form-urlencoded"
    workbench.expect(request.method == "POST" and kind == form, "a POST with a form", request)
    wanted = {REFRESH: upstream.refresh_tokens[0], "client_id": upstream.client_id, "resource": upstream.url}
    for name, value in wanted.items():
        workbench.expect(asked.params.get(name) == value, f"{name}={value}", asked)
    workbench.expect("code_verifier" not in asked.params, "no code_verifier", asked)
    workbench.expect(
        set(asked.params.get("scope", "").split()) <= {"x", "y"}, "no scope beyond x and y", asked
    )


@check("TOK-009", timeout=60, slow=True)
async def a_rotated_refresh_token_replaces_the_old_one(workbench: Workbench) -> None:
    """The last refresh token is in the file at the end."""
    upstream = await workbench.oauth("a", OAuth(lifetimes=[SHORT]))
    browser = await runs_with_expired_tokens(workbench, upstream, 3)
    browser.was_never_opened()
    used = [asked.params.get(REFRESH) for asked in upstream.refreshes]
    workbench.expect(len(used) >= 3, "three refreshes", upstream.token_requests)
    issued = upstream.refresh_tokens[: len(used)]
    workbench.expect(used == issued, f"{issued} in this order", used)
    content = stored(workbench, "a")
    workbench.expect(upstream.refresh_tokens[-1] in content, "the last refresh token is in the file", content)


@check("TOK-010", timeout=60, slow=True)
async def without_rotation_the_refresh_token_is_kept(workbench: Workbench) -> None:
    upstream = await workbench.oauth("a", OAuth(lifetimes=[SHORT], rotation=False))
    browser = await runs_with_expired_tokens(workbench, upstream, 2)
    browser.was_never_opened()
    used = [asked.params.get(REFRESH) for asked in upstream.refreshes]
    workbench.expect(len(used) >= 2, "two refreshes", upstream.token_requests)
    workbench.expect(set(used) == {upstream.refresh_tokens[0]}, "the one refresh token each time", used)
    content = stored(workbench, "a")
    workbench.expect(upstream.refresh_tokens[0] in content, "it is still in the file", content)


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
        await signs_in(workbench, proxy, upstream)
        await can_use(workbench, proxy, upstream)
        workbench.expect(
            upstream.refreshes, "the proxy tries a refresh inside the buffer", upstream.token_requests
        )
        for _ in range(40):
            await can_use(workbench, proxy, upstream)
            if len(upstream.access_tokens) > 1:
                break
            content = stored(workbench, "a")
            kept = upstream.refresh_tokens[0] in content or len(upstream.access_tokens) > 1
            workbench.expect(kept, "the file keeps the refresh token", content)
            await workbench.holds_for(2.0, lambda: None)
        workbench.expect(
            len(upstream.access_tokens) == 2, "the proxy tries the refresh again", upstream.refreshes
        )
        await can_use(workbench, proxy, upstream)
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
        await workbench.run_cases(*(partial(can_use, workbench, proxy, upstream) for _ in range(10)))
    workbench.expect(len(upstream.refreshes) == 1, "one refresh", upstream.refreshes)
    calls = [request for request in upstream.mcp[before:] if request.rpc == "tools/call"]
    old = [request for request in calls if upstream.bearer(request) != upstream.access_tokens[1]]
    workbench.expect(len(calls) == 10 and not old, "ten calls with the second token", calls)
