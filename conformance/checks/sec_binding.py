"""SEC: to which server stored tokens belong, if a name or an origin does not tell."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from conformance.checks import check
from conformance.checks.common import must_sign_in, sign_in
from conformance.checks.tok_storage import must_receive_none
from mock_servers.script import Http, Script

if TYPE_CHECKING:
    from conformance.workbench.protected import ProtectedMockUpstream
    from conformance.workbench.workbench import Workbench


async def _at(workbench: Workbench, path: str, port: int = 0) -> ProtectedMockUpstream:
    return await workbench.oauth("a", script=Script(http=Http(path=path)), port=port)


@check("SEC-021", timeout=40, slow=True)
async def tokens_go_to_no_other_path_of_their_origin(workbench: Workbench) -> None:
    """Each server takes the port of the previous one, so only the path of the `url` changes."""
    workbench.browser()
    upstream = await _at(workbench, "/a/mcp")
    port = urlsplit(upstream.url).port or 0
    with workbench.precondition("the first sign-in works"):
        await sign_in(workbench, upstream)
    for path in ("/b/mcp", "/b/mcp/"):
        old = upstream.access_tokens + upstream.refresh_tokens
        await upstream.stop()
        upstream = await _at(workbench, path, port)
        with workbench.case(path):
            async with workbench.proxy(upstream) as proxy:
                await proxy.handshake()
                await must_sign_in(workbench, proxy, upstream)
            must_receive_none(workbench, upstream, old)
            workbench.one(upstream.exchanges, "one new sign-in")


@check("SEC-022", timeout=40, slow=True)
async def servers_with_one_name_keep_their_own_tokens(workbench: Workbench) -> None:
    first, second = await workbench.oauth("a"), await workbench.oauth("a")
    workbench.browser()
    with workbench.precondition("both sign-ins work"):
        await sign_in(workbench, first)
        await sign_in(workbench, second)
    browser = workbench.browser()
    await sign_in(workbench, first)
    await sign_in(workbench, second)
    browser.must_not_have_opened()
    for upstream, other in ((first, second), (second, first)):
        must_receive_none(workbench, upstream, other.access_tokens + other.refresh_tokens)
        workbench.one(upstream.exchanges, "one sign-in in all runs")
