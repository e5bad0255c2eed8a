"""Mistakes with messages that are too large."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from conformance.mutants import mutant, replace
from dynamic_mcp.config.load import parse
from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.protocol.lines import LineSplitter
from dynamic_mcp.protocol.peer import Peer
from dynamic_mcp.upstream.http.reply import HttpReply

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynamic_mcp.config.model import Config, Server
    from dynamic_mcp.protocol.pieces import Line


@mutant("HARD-009")
def lines_of_a_child_have_no_bound() -> None:
    right = LineSplitter.__init__

    def wrong(self: LineSplitter, most: int = 0, on_oversized: Callable[..., None] = print) -> None:
        right(self)

    replace(right, wrong)


@mutant("HARD-009")
def bodies_have_no_bound() -> None:
    right = HttpReply.body

    async def wrong(self: HttpReply, most: int) -> Line:
        return await right(self, 1 << 40)

    replace(right, wrong)


@mutant("HARD-009")
def has_a_bound_of_4_mib_without_a_setting() -> None:
    right = parse

    def wrong(*arguments: Any) -> Config:
        read = right(*arguments)
        return msgspec.structs.replace(read, servers=tuple(map(bounded, read.servers)))

    def bounded(server: Server) -> Server:
        most = min(server.transport.max_message_size, 4 << 20)
        transport = msgspec.structs.replace(server.transport, max_message_size=most)
        return msgspec.structs.replace(server, transport=transport)

    replace(right, wrong)


@mutant("HARD-009")
def keeps_what_it_drops() -> None:
    """The proxy reads the whole message to memory first."""
    right = LineSplitter.feed
    kept: list[bytes] = []

    def wrong(self: LineSplitter, data: bytes) -> list[Line]:
        kept.append(data)
        return right(self, data)

    replace(right, wrong)


@mutant("HARD-009")
def one_large_answer_ends_every_call() -> None:
    def wrong(self: Peer, edge: bytes, last: bool) -> None:
        self.close(UpstreamFailed("its answer is too large"))

    replace(Peer.receive_oversized, wrong)


@mutant("HARD-009")
def waits_for_the_end_of_every_line() -> None:
    replace(LineSplitter.is_endless, False)
