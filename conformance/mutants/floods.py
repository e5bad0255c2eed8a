"""Mistakes with upstreams that send too much, too often, or do not read."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from conformance.mutants import mutant, replace, wire
from dynamic_mcp.frontend.changes import ListChanges
from dynamic_mcp.pacing import Bucket
from dynamic_mcp.protocol.peer import Peer
from dynamic_mcp.upstream.flow import LoopShare, Owed
from dynamic_mcp.upstream.http.outbox import Outbox

if TYPE_CHECKING:
    from conformance.mutants.wire import Changed, Message, Way
    from dynamic_mcp.protocol.jsonrpc import Outgoing

_PROMPTS_CHANGED = "notifications/prompts/list_changed"


@mutant("OPS-012", also={"STD-024": "the flood never ends by itself"})
def serves_a_flood_to_its_end() -> None:
    """A server with much to say has the whole loop, however little it means."""
    replace(LoopShare.is_used_up, lambda self, messages=1: False)
    _bears_any_junk()


@mutant("OPS-013")
def owes_answers_without_a_bound() -> None:
    replace(Owed.grew, lambda self: None)


@mutant("OPS-013")
def answers_only_the_first_of_many_pings() -> None:
    asked = 0

    def wrong(message: Message, way: Way) -> Changed:
        nonlocal asked
        asked += message.get("method") == "ping"
        return None if message.get("method") == "ping" and asked > 1000 else message

    wire.from_stdio_upstreams(wrong)


@mutant("STD-024")
def bears_any_junk() -> None:
    _bears_any_junk()


@mutant("STD-024", also={"STD-030": "its upstreams print a line that is no message"})
def bears_no_junk() -> None:
    right = Peer.count_junk

    def wrong(self: Peer, size: int, lines: int = 1) -> None:
        right(self, size, lines * 10_001)

    replace(right, wrong)


@mutant("HTTP-025")
def posts_every_answer_at_once() -> None:
    right = Outbox.add

    def wrong(self: Outbox, message: Outgoing) -> None:
        # Private, because the number of POSTs in flight shows nowhere else.
        self._in_flight = 0
        right(self, message)

    replace(right, wrong)


@mutant("FRONT-032", also={"FRONT-123": "few changes close together pass too"})
def tells_of_every_change() -> None:
    # Private, because only this attribute of the public class sends the notification.
    replace(ListChanges.certain, lambda self, method: self._announce(method))


@mutant("FRONT-032", also={"FRONT-123": "the last of a few changes is lost too"})
def loses_the_last_change_of_several() -> None:
    last = 0.0

    def wrong(message: Message, way: Way) -> Changed:
        nonlocal last
        if message.get("method") != _PROMPTS_CHANGED:
            return message
        before, last = last, time.monotonic()
        return message if last - before > 1.0 else None

    wire.from_stdio_upstreams(wrong)


@mutant("FRONT-032")
def passes_messages_on_at_any_rate() -> None:
    replace(Bucket.take, lambda self, cost=1.0: True)


@mutant("FRONT-032")
def forgets_the_last_progress() -> None:
    def wrong(message: Message, way: Way) -> Changed:
        is_last = (message.get("params") or {}).get("progress") == 4000
        return None if message.get("method") == "notifications/progress" and is_last else message

    wire.to_client(wrong)


def _bears_any_junk() -> None:
    replace(Peer.count_junk, lambda self, size, lines=1: None)
