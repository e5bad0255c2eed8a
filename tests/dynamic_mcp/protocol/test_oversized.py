"""Messages that are too large to keep: an answer fails its call, a request gets an error, and both only by an id beyond doubt."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from dynamic_mcp.errors import TooLarge
from dynamic_mcp.protocol.jsonrpc import Message, Outgoing
from dynamic_mcp.protocol.lines import LineSplitter
from dynamic_mcp.protocol.peer import Peer
from dynamic_mcp.protocol.pending import Options

BOUND = 1 << 16
TEXT = "x" * (BOUND + 1000)
ANSWERED = {"jsonrpc": "2.0", "id": 1, "result": {}}


class Wire:
    """A peer with one call in flight, whose id is 1, behind a splitter of lines."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.peer = Peer(self._send, self._notify, max_size=BOUND)
        self._splitter = LineSplitter(BOUND, self.peer.receive_oversized)
        self.call = asyncio.create_task(self.peer.request("tools/call", b"{}", Options(60.0)))

    @classmethod
    async def started(cls) -> Wire:
        wire = cls()
        await asyncio.sleep(0)
        assert wire.sent.pop()["id"] == 1
        return wire

    def _send(self, message: Outgoing) -> None:
        self.sent.append(json.loads(message.line))

    def _notify(self, message: Message) -> None:
        raise AssertionError(message)

    def receive(self, message: dict[str, Any]) -> None:
        data = json.dumps(message).encode() + b"\n"
        for start in range(0, len(data), 1000):
            for line in self._splitter.feed(data[start : start + 1000]):
                assert isinstance(line, bytes)
                self.peer.receive(line)


@pytest.mark.parametrize(
    "members", ["jsonrpc id method params", "method params jsonrpc id", "id jsonrpc params method"]
)
async def test_request_is_refused_and_the_call_with_its_id_goes_on(members: str) -> None:
    wire = await Wire.started()
    whole = {"jsonrpc": "2.0", "id": 1, "method": "sampling/createMessage", "params": {"x": TEXT}}
    wire.receive({name: whole[name] for name in members.split()})
    (refusal,) = wire.sent
    assert (refusal["id"], refusal["error"]["message"]) == (1, "the message is larger than 64 KiB")
    wire.receive(ANSWERED)
    assert await wire.call == b"{}"


@pytest.mark.parametrize("value", ["result", "error"])
@pytest.mark.parametrize(
    "members", ["jsonrpc id value", "id jsonrpc value", "value jsonrpc id", "value id jsonrpc"]
)
async def test_answer_fails_its_call(value: str, members: str) -> None:
    wire = await Wire.started()
    names = members.replace("value", value).split()
    whole = {"jsonrpc": "2.0", "id": 1, value: {"code": 1, "message": TEXT}}
    wire.receive({name: whole[name] for name in names})
    with pytest.raises(TooLarge, match="larger than 64 KiB"):
        await wire.call
    assert not wire.sent


async def test_notification_has_no_answer() -> None:
    wire = await Wire.started()
    wire.receive({"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": TEXT, "id": 1}})
    assert not wire.sent
    wire.receive(ANSWERED)
    assert await wire.call == b"{}"


async def test_each_message_counts_for_itself() -> None:
    wire = await Wire.started()
    wire.receive({"jsonrpc": "2.0", "id": 5, "result": {"x": TEXT}})
    wire.receive({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"x": TEXT}})
    assert [message["id"] for message in wire.sent] == [1]
    wire.receive({"jsonrpc": "2.0", "id": 1, "result": {"x": TEXT}})
    with pytest.raises(TooLarge):
        await wire.call
