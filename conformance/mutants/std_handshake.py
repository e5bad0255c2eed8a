"""Mistakes in beginning a connection to a stdio upstream."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import anyio

from conformance.mutants import mutant, replace, wire
from conformance.mutants.wire import without
from dynamic_mcp.errors import UpstreamGone
from dynamic_mcp.process import stuck
from dynamic_mcp.protocol import versions
from dynamic_mcp.protocol.peer import Peer
from dynamic_mcp.upstream import handshake
from dynamic_mcp.upstream.stdio import StdioUpstream

if TYPE_CHECKING:
    from conformance.mutants.wire import Changed, Message, Way
    from dynamic_mcp.clock import Clock
    from dynamic_mcp.process.child import Child
    from dynamic_mcp.protocol.jsonrpc import Malformed

INITIALIZED = "notifications/initialized"
PROBE = "server/discover"


@mutant("STD-014")
def never_says_that_it_is_initialized() -> None:
    """dmcp 1.5.0 behaves like this."""
    wire.to_stdio_upstreams(without(INITIALIZED))


@mutant("STD-014")
def says_initialized_with_a_null_id() -> None:
    wire.to_stdio_upstreams(
        lambda message, way: {**message, "id": None} if message.get("method") == INITIALIZED else message
    )


@mutant("STD-014")
def says_initialized_to_the_first_process_only() -> None:
    ways: list[Way] = []

    def wrong(message: Message, way: Way) -> Changed:
        if message.get("method") != INITIALIZED:
            return message
        ways.append(way)
        return message if way is ways[0] else None

    wire.to_stdio_upstreams(wrong)


@mutant("STD-014")
def initializes_twice() -> None:
    def wrong(message: Message, way: Way) -> Changed:
        # The proxy drops the answer to the second one, because it does not know its id.
        return [message, {**message, "id": 0}] if message.get("method") == "initialize" else message

    wire.to_stdio_upstreams(wrong)


@mutant("STD-022", also={"STD-014": "the strict server refuses the probe with another code"})
def falls_back_only_when_the_method_is_unknown() -> None:
    def wrong(error: Message) -> Message:
        if error["code"] == wire.METHOD_NOT_FOUND:
            return error
        # A server that supports only an unknown version ends the attempt.
        return {"code": wire.UNSUPPORTED_VERSION, "message": "", "data": {"supported": ["1999-01-01"]}}

    wire.from_stdio_upstreams(wire.errors(wrong, PROBE))


@mutant("STD-022", also={"STD-008": "its journal has two lives"})
def restarts_an_upstream_that_refuses_the_probe() -> None:
    def wrong(error: Message) -> Message:
        raise wire.HangUp

    wire.from_stdio_upstreams(wire.errors(wrong, PROBE))


@mutant("STD-022")
def waits_for_ever_for_an_answer_to_the_probe() -> None:
    handshake.PROBE_BUDGET = 3600.0


@mutant("STD-037")
def gives_up_after_an_answer_that_is_no_answer() -> None:
    right = Peer.receive_malformed

    def wrong(self: Peer, problem: Malformed) -> bool:
        self.close(UpstreamGone("the answer is malformed"))
        return right(self, problem)

    replace(right, wrong)


@mutant("STD-038")
def waits_for_a_child_that_hangs() -> None:
    async def wrong(child: Child, *, reads: bool, clock: Clock = time.monotonic) -> None:
        await anyio.sleep_forever()

    replace(stuck.wait_stuck, wrong)


@mutant(
    "STD-039",
    also={
        "STD-022": "a child that exits at the probe never starts without it",
        "STD-038": "the next attempt probes, too",
    },
)
def always_probes() -> None:
    async def wrong(self: StdioUpstream, timeout: float, *, skip_probe: bool = False) -> None:
        # Private: the start and the handshake have no public names.
        self.agreed = await self._probe(await self._start(), timeout)

    replace(StdioUpstream.open, wrong)


@mutant("STD-062")
def offers_the_newest_version_alone() -> None:
    def wrong(message: Message, way: Way) -> Changed:
        if message.get("method") != "initialize":
            return message
        return {**message, "params": {**message["params"], "protocolVersion": versions.LATEST_LEGACY}}

    wire.to_stdio_upstreams(wrong)
