"""Mistakes with upstreams of the modern era behind a URL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw

from conformance.mutants import mutant, replace
from dynamic_mcp.upstream import handshake
from dynamic_mcp.upstream.http import streamable
from dynamic_mcp.upstream.http.streamable import StreamableHttpUpstream

if TYPE_CHECKING:
    from dynamic_mcp.protocol.jsonrpc import Message
    from dynamic_mcp.upstream.base import Options


@mutant("HTTP-022", also={"HTTP-023": "modern servers want it"})
def leaves_the_metadata_out_of_the_body() -> None:
    async def wrong(self: StreamableHttpUpstream, method: str, params: bytes, options: Options) -> bytes:
        return await self._peer.request(method, params, options.timeout, options.on_progress)

    replace(StreamableHttpUpstream.request, wrong)


@mutant("HTTP-022")
def writes_names_raw_into_the_header() -> None:
    right = streamable._name_of

    def wrong(message: Message) -> str | None:
        if right(message) is None:
            return None
        params = msgspec.json.decode(message.params, type=dict[str, Raw])
        return msgspec.json.decode(params["uri" if "uri" in params else "name"], type=str)

    replace(right, wrong)


@mutant("HTTP-023")
def initializes_after_a_rejected_version() -> None:
    replace(handshake._supported_by, lambda refusal: None)


@mutant("HTTP-023", also={"HTTP-022": "modern servers refuse it"})
def asks_a_modern_server_for_a_stream() -> None:
    right = StreamableHttpUpstream.open

    async def wrong(self: StreamableHttpUpstream, timeout: float, *, skip_probe: bool = False) -> None:
        await right(self, timeout, skip_probe=skip_probe)
        if self.modern:
            self._in_background(self._listen)

    replace(right, wrong)
