"""Notices that a server behind a URL has changed its era: that it was replaced by a version with another revision of MCP.

The words of a refusal can have another cause, so a probe has to confirm it. All requests that were refused meanwhile did not run. A
request with a status from 500 on may have run, so it says nothing here.
"""

from __future__ import annotations

from collections.abc import Callable

from dynamic_mcp.errors import EraChanged
from dynamic_mcp.protocol.jsonrpc import Outgoing
from dynamic_mcp.protocol.peer import Peer
from dynamic_mcp.upstream import handshake
from dynamic_mcp.upstream.http.refusals import doubts_era
from dynamic_mcp.upstream.http.reply import HttpReply


class EraChanges:
    """The requests of a connection whose refusals may come from a server of the other era."""

    def __init__(self, peer: Peer, client_info: Callable[[], bytes]) -> None:
        self._peer = peer
        self._client_info = client_info
        self._refused: set[int] = set()

    async def check(
        self, id: int, message: Outgoing, reply: HttpReply, timeout: float, *, modern: bool
    ) -> None:
        """Compare the era of the server with that of a request which this reply refuses. Raises EraChanged.

        A probe may take ``timeout`` seconds.
        """
        if reply.status >= 500 or message.method in handshake.METHODS:
            return
        if not doubts_era(await reply.beginning_of_body(), modern=modern):
            return
        self._refused.add(id)
        try:
            if await handshake.has_changed_era(self._peer, self._client_info(), timeout, modern=modern):
                change = EraChanged("the server speaks another era of MCP than at the handshake")
                for refused in self._refused:
                    self._peer.fail(refused, change.copy())
                raise change
        finally:
            self._refused.discard(id)
