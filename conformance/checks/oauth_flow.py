"""OAUTH: one sign-in from the 401 to the first request with a bearer.

Discovery by challenge needs a request without a token, so requests before the sign-in may lack one. A check that
says "nothing happens" has a witness: the same mocks with the one thing put right must work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.checks import check
from mock_servers.oauth_script import CLIENT

if TYPE_CHECKING:
    from conformance.workbench import ProtectedUpstream, Proxy, Workbench


async def signs_in(bench: Workbench, proxy: Proxy, *upstreams: ProtectedUpstream) -> None:
    """The upstreams become usable, which without a token they cannot be."""
    for upstream in upstreams:
        with bench.must(f"the sign-in to {upstream.name} is completed and its tools are listed"):
            await proxy.ready(upstream)


async def sign_in(bench: Workbench, upstream: ProtectedUpstream) -> None:
    """A proxy of its own signs in to the upstream and is ended."""
    async with bench.proxy(upstream) as proxy:
        await proxy.handshake()
        await signs_in(bench, proxy, upstream)


@check("OAUTH-001")
async def a_configured_client_id_starts_exactly_one_flow(bench: Workbench) -> None:
    """One page is opened, with this client id and response_type=code, and before its callback was delivered the
    token endpoint has no request.
    """
    upstream = await bench.oauth("a")
    browser = bench.browser()
    async with bench.proxy(upstream) as proxy:
        await proxy.handshake()
        await signs_in(bench, proxy, upstream)
    bench.expect(len(browser.openings) == 1, "one page is opened", browser.openings)
    asked = browser.openings[0].params
    bench.expect(asked.get("client_id") == CLIENT, f"client_id={CLIENT}", browser.openings[0])
    bench.expect(asked.get("response_type") == "code", "response_type=code", browser.openings[0])
    first, authorized = upstream.token_requests[0], upstream.authorizations[0]
    bench.expect(first.t > authorized.t, "no token request before the authorization", first)
