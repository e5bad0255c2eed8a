"""Mistakes in starts that are slow, many, short of descriptors, or disturbed by the era probe."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from conformance.mutants import mutant, replace
from dynamic_mcp.groups.group import Group
from dynamic_mcp.groups.state import GroupState
from dynamic_mcp.process import descriptors
from dynamic_mcp.process.turns import StartTurns
from dynamic_mcp.upstream import base, handshake
from dynamic_mcp.upstream.http.streamable import StreamableHttpUpstream
from dynamic_mcp.upstream.stdio import StdioUpstream

if TYPE_CHECKING:
    from dynamic_mcp.config.model import Server
    from dynamic_mcp.protocol.peer import Peer
    from dynamic_mcp.upstream.base import Handshake


def limit_starts(seconds: float) -> None:
    """Let every start take this many seconds."""
    right = Group.define

    def wrong(self: Group, server: Server) -> None:
        timeouts = msgspec.structs.replace(server.timeouts, start=seconds)
        right(self, msgspec.structs.replace(server, timeouts=timeouts))

    replace(right, wrong)


@mutant("OPS-030")
def ends_a_child_that_is_slow() -> None:
    """The proxy behaved like this before version 1.2 of the requirements."""
    limit_starts(10.0)


@mutant("OPS-031")
def keeps_the_words_of_the_server_for_itself() -> None:
    replace(StdioUpstream.stderr_tail, lambda self: "")


@mutant("OPS-032")
def gives_a_start_all_the_time() -> None:
    limit_starts(3600.0)


@mutant("OPS-032")
def does_not_name_the_setting() -> None:
    replace(base.not_started_within, lambda seconds: f"it did not start within {seconds:g} s")


@mutant("OPS-033", also={"OPS-035": "all start at once"})
def starts_everything_at_once() -> None:
    create = StartTurns.__init__

    def wrong(self: StartTurns, size: int | None = None) -> None:
        create(self, 1000)

    replace(create, wrong)


@mutant("OPS-034")
def lets_a_hanging_child_keep_its_turn() -> None:
    # Private: no public name ends a turn early.
    replace(StartTurns._take_back, lambda self: None)


@mutant("OPS-035")
def starts_servers_in_the_order_of_the_file() -> None:
    replace(GroupState.is_wanted, lambda self: False)


@mutant("OPS-036")
def is_content_with_its_descriptors() -> None:
    replace(descriptors.raise_limit, lambda: None)


@mutant("OPS-036")
def hands_its_own_limit_to_the_children() -> None:
    replace(descriptors.restorer, lambda: None)


@mutant("OPS-037")
def gives_up_a_server_that_fails_the_probe() -> None:
    """The proxy behaved like this before version 1.2 of the requirements, for statuses from 500 on and for resets."""
    probe, right = handshake.probe, StreamableHttpUpstream.open

    async def wrong(peer: Peer, client_info: bytes = b"", timeout: float | None = None) -> Handshake | None:
        found = await probe(peer, client_info, timeout)
        if found is None:
            raise handshake.NoCommonVersion("the probe failed")
        return found

    async def open_with_a_probe(
        self: StreamableHttpUpstream, timeout: float, *, skip_probe: bool = False
    ) -> None:
        await right(self, timeout)

    replace(probe, wrong)
    replace(right, open_with_a_probe)
