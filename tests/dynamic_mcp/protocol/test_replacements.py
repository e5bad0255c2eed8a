"""Messages of a server with bytes that are not UTF-8."""

from __future__ import annotations

import asyncio
import json

import pytest

from dynamic_mcp.protocol import replacements
from dynamic_mcp.protocol.jsonrpc import Malformed, NotUtf8, parse
from dynamic_mcp.protocol.peer import Peer
from dynamic_mcp.protocol.pending import Options
from dynamic_mcp.protocol.pieces import LARGE, Large, Line
from dynamic_mcp.protocol.replacements import Replaced, parse_any

ODDITY = Replaced.oddity


class Server:
    """The other side of a peer, with one request in flight."""

    def __init__(self) -> None:
        self.oddities: list[str] = []
        self.notified: list[bytes] = []
        self.peer = Peer(
            lambda message: None,
            lambda message: self.notified.append(bytes(message.params)),
            on_oddity=self.oddities.append,
        )

    async def answer(self, *lines: Line) -> bytes:
        call = asyncio.ensure_future(self.peer.request("tools/call", b"{}", Options(5.0)))
        await asyncio.sleep(0)
        for line in lines:
            if isinstance(line, Large) or self.peer.receive(line):
                await self.peer.receive_slowly(line)
        return await call


def text_of(result: bytes) -> object:
    return json.loads(result)["t"]


async def test_a_byte_that_is_not_utf8_does_not_cost_the_answer() -> None:
    server = Server()
    line = '{"jsonrpc":"2.0","id":1,"result":{"t":"café ! 😀"}}'
    assert text_of(await server.answer(line.encode().replace(b"!", b"\x96"))) == "café \ufffd 😀"
    assert server.oddities == [ODDITY]


async def test_a_long_and_a_large_answer_have_replacements_too() -> None:
    for size in (1 << 17, 2 * LARGE):
        line = b'{"jsonrpc":"2.0","id":1,"result":{"t":"' + b"x" * size + "é".encode() + b'\xe9\xc3"}}'
        whole: Line = (
            line if size < LARGE else Large([line[at : at + 999] for at in range(0, len(line), 999)])
        )
        server = Server()
        assert text_of(await server.answer(whole)) == "x" * size + "é\ufffd\ufffd"
        assert server.oddities == [ODDITY]


@pytest.mark.parametrize("batch", [False, True])
async def test_several_messages_of_a_line_have_replacements(batch: bool) -> None:
    note, answer = (
        b'{"jsonrpc":"2.0","method":"n","params":["\xff"]}',
        b'{"jsonrpc":"2.0","id":1,"result":{"t":"\xe9"}}',
    )
    server = Server()
    line = b"[" + note + b"," + answer + b"]" if batch else note + answer
    assert text_of(await server.answer(line)) == "\ufffd"
    assert server.notified == ['["\ufffd"]'.encode()]
    assert set(server.oddities) == {ODDITY}


async def test_such_bytes_outside_a_text_stay_invalid() -> None:
    server = Server()
    right = b'{"jsonrpc":"2.0","id":1,"result":{"t":"right"}}'
    assert text_of(await server.answer(b'{"jsonrpc":"2.0","id":1,"result":{\xff}}', right)) == "right"
    assert server.oddities == [
        "sends data that is no message of MCP, which the proxy ignores: the message is not valid UTF-8"
    ]


async def test_such_bytes_never_become_an_own_id() -> None:
    server = Server()
    right = b'{"jsonrpc":"2.0","id":1,"result":{"t":"right"}}'
    assert (
        text_of(await server.answer(b'{"jsonrpc":"2.0","id":"\xff1","result":{"t":"wrong"}}', right))
        == "right"
    )


async def test_a_large_message_with_too_many_such_bytes_stays_invalid(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replacements, "MAX_REPLACED", 10)
    head = b'{"jsonrpc":"2.0","method":"m","params":["' + b"x" * LARGE
    assert isinstance(await parse_any(Large([head + b"\xff" * 10 + b'"]}'])), Replaced)
    with pytest.raises(NotUtf8):
        await parse_any(Large([head + b"\xff" * 11 + b'"]}']))


def test_a_client_gets_no_replacements() -> None:
    with pytest.raises(Malformed, match="not valid UTF-8"):
        parse(b'{"jsonrpc":"2.0","method":"m","params":["\xff"]}')
