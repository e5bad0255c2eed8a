"""Mistakes with the cancellation of calls over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance import gateway
from conformance.mutants import mutant, wire_http

if TYPE_CHECKING:
    pass


@mutant("FRONT-024")
def cancels_nothing_at_servers_behind_a_url() -> None:
    wire_http.drop_notifications("notifications/cancelled")


@mutant("FRONT-024", listens=True)
def a_response_that_a_modern_client_closes_cancels_nothing() -> None:
    async def wrong(self: gateway.Gateway, conversation: gateway.Conversation) -> None:
        """Leaves the call to its server."""

    setattr(gateway.Gateway, "_abandon", wrong)  # noqa: B010
