"""Mistakes with the cancellation of calls over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance import gateway
from conformance.mutants import mutant, wire_http
from conformance.mutants.wire_http import Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from conformance.mutants.wire_http import ProxyRequest, Send
    from dynamic_mcp.upstream.http.reply import HttpReply


@mutant("FRONT-024")
def cancels_nothing_at_servers_behind_a_url() -> None:
    async def wrong(request: ProxyRequest, send: Send) -> AsyncIterator[HttpReply]:
        if request.rpc == "notifications/cancelled":
            yield Reply(status=202)
            return
        async with send(request) as reply:
            yield reply

    wire_http.around_requests(wrong)


@mutant("FRONT-024", listens=True)
def a_response_that_a_modern_client_closes_cancels_nothing() -> None:
    async def wrong(self: gateway.Gateway, conversation: gateway.Conversation) -> None:
        """Leaves the call to its server."""

    setattr(gateway.Gateway, "_abandon", wrong)  # noqa: B010
