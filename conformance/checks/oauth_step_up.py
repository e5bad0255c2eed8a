"""A second sign-in at the same server. A tool there needs a scope that the first sign-in did not ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mock_servers.oauth_script import OAuth
from mock_servers.script import Http, Script

if TYPE_CHECKING:
    from conformance.workbench.protected import ProtectedMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench
    from mock_servers.journal_views import OAuthRequest


async def server_with_two_scopes(
    workbench: Workbench, name: str, *, path: str = "/mcp"
) -> ProtectedMockUpstream:
    """Its tool `echo` needs the scope `b`; the configuration has the scope `a`."""
    oauth = OAuth(tool_scopes={"echo": "b"})
    return await workbench.oauth(name, oauth, Script(http=Http(path=path)), oauth_scopes=["a"])


async def call_for_the_second_scope(proxy: Proxy, upstream: ProtectedMockUpstream) -> None:
    """Let a proxy with a step-up sign in again. A proxy may have none (OAUTH-026), so the call may fail."""
    await proxy.call(upstream.name, "echo", {"x": 1}, within=20.0)


def flows_of(
    workbench: Workbench, upstream: ProtectedMockUpstream
) -> list[tuple[OAuthRequest, OAuthRequest]]:
    """The authorization request and the exchange of the code, of each sign-in."""
    asked = {one.issued.get("code"): one for one in upstream.authorizations}
    exchanges = workbench.some(upstream.exchanges, "an exchange of a code")
    foreign = [one for one in exchanges if one.params.get("code") not in asked]
    workbench.expect(not foreign, "each exchange has a code of the authorization server", foreign)
    return [(asked[one.params.get("code")], one) for one in exchanges]
