"""A server that revokes its access tokens, so that a proxy gets new ones without a wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mock_servers.remote_actions import revoke_tokens
from mock_servers.script import Rule, on_call

if TYPE_CHECKING:
    from conformance.workbench.protected import ProtectedMockUpstream
    from conformance.workbench.proxy import Proxy


def rule_of_revocation() -> Rule:
    """The rule of a server for `let_tokens_be_revoked`."""
    return on_call("add", revoke_tokens())


async def let_tokens_be_revoked(proxy: Proxy, upstream: ProtectedMockUpstream) -> None:
    """Let the server revoke its tokens, and call it again. Whether the proxy then gets new ones is another requirement (OAUTH-025)."""
    await proxy.call(upstream.name, "add", {"a": 1, "b": 2})
    await proxy.call(upstream.name, "echo", {"x": 1}, within=20.0)
