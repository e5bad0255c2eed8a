"""Connections that send no whole request, and more connections than the proxy takes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from unittest import mock

import pytest
import uvicorn

from dynamic_mcp.extras.serving.connections import Connections, HttpConnection
from dynamic_mcp.extras.serving.limits import ServingLimits
from dynamic_mcp.frontend import backlog
from tests.dynamic_mcp.extras.serving.door import Http, call, request, serving
from tests.dynamic_mcp.extras.serving.raw import SOON, head, post, raw, raws
from tests.dynamic_mcp.helpers import eventually

#: Connections end soon, and few are enough to use up all of them.
HASTY = ServingLimits(head_time=0.2)
HASTY_WHEN_IDLE = ServingLimits(keep_alive=0.2)
FEW = ServingLimits(max_connections=4)
HALF = b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: "
FULL = "connections are in use"
TOKEN = "correct-horse-battery"


def open_connections(http: Http) -> set[HttpConnection]:
    assert http.door._server is not None
    return http.door._server.server_state.connections  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"", b""),
        (b"POST /mc", b"HTTP/1.1 408 "),
        (HALF, b"HTTP/1.1 408 "),
        (HALF + b"b\r\n", b"HTTP/1.1 408 "),
        (b"no HTTP at all", b"HTTP/1.1 408 "),
    ],
)
async def test_connection_without_a_whole_head_ends(sent: bytes, answer: bytes) -> None:
    async with serving(limits=HASTY) as http, raw(http, sent) as client:
        found = await client.rest()
        assert found.startswith(answer) and bool(found) == bool(answer)
        await eventually(lambda: not open_connections(http), "the end of the connection")


async def test_head_that_comes_byte_by_byte_has_no_more_time() -> None:
    async with serving(limits=HASTY) as http, raw(http, HALF) as client:
        reading = asyncio.ensure_future(client.rest())
        async with asyncio.timeout(SOON):
            while not reading.done():
                client.writer.write(b"a")
                await asyncio.sleep(0.02)
        await eventually(lambda: not open_connections(http), "the end of the connection")


REQUESTS: dict[str, Callable[[Http, dict[str, str]], bytes]] = {
    "half a second head": lambda http, session: post(http, request("ping"), session) + HALF,
    "half a body beside a response": lambda http, session: (
        head(http, {"Content-Length": "100"}, "/status", "GET") + b"half"
    ),
}


@pytest.mark.parametrize("kind", REQUESTS)
async def test_connection_with_half_a_request_after_a_response_ends_too(kind: str) -> None:
    async with serving(limits=HASTY) as http:
        session = await http.session()
        async with raw(http, REQUESTS[kind](http, session)) as client:
            assert (await client.response())[0] == 200
            await client.rest()


async def test_connection_without_a_byte_after_a_response_stays_for_the_next_request() -> None:
    async with serving(limits=HASTY) as http:
        session = await http.session()
        ping = post(http, request("ping"), session)
        async with raw(http, ping) as client:
            for _ in range(2):
                assert (await client.response())[0] == 200
                await asyncio.sleep(2 * HASTY.head_time)
                client.writer.write(ping)
            assert (await client.response())[0] == 200
            # The head of the next request has the time of every other head.
            client.writer.write(HALF)
            assert (await client.rest()).startswith(b"HTTP/1.1 408 ")


async def test_connection_without_a_byte_after_a_response_ends_at_last() -> None:
    async with serving(limits=HASTY_WHEN_IDLE) as http:
        session = await http.session()
        async with raw(http, post(http, request("ping"), session)) as client:
            assert (await client.response())[0] == 200
            assert await client.rest() == b""
            await eventually(lambda: not open_connections(http), "the end of the connections")


async def test_request_in_flight_has_its_time() -> None:
    async with serving(limits=HASTY) as http:
        session = await http.session()
        async with raw(http, post(http, call(), session)) as client:
            (sent,) = await http.proxy.calls(1)
            await asyncio.sleep(2 * HASTY.head_time)
            http.proxy.servers[0].answer(sent, {"content": []})
            status, body = await client.response()
    assert (status, b'"result"' in body) == (200, True)


async def test_connections_without_a_request_keep_nobody_out(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(limits=FEW, token=TOKEN) as http, raws(http, 12, HALF) as half:
        http.client.headers["Authorization"] = f"Bearer {TOKEN}"
        session = await http.session()
        assert (await http.post(request("ping"), session)).status_code == 200
        assert len(open_connections(http)) <= 4
        # The oldest ones went first.
        assert await half[0].rest() == b""
        assert not half[-1].reader.at_eof()
    lines = [record.getMessage() for record in caplog.records if FULL in record.getMessage()]
    assert "for a new client" in lines[0]
    assert lines[1:] == [f"8 more of this: {lines[0]}"]


async def test_new_connections_without_a_request_go_before_those_of_clients() -> None:
    async with serving(limits=FEW) as http:
        session = await http.session()
        async with raw(http, post(http, request("ping"), session)) as client:
            await client.response()
            async with raws(http, 8, HALF):
                await eventually(lambda: len(open_connections(http)) == 4, "four connections")
                client.writer.write(post(http, request("ping"), session))
                assert (await client.response())[0] == 200


async def test_client_beyond_connections_that_all_have_requests_gets_503(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving(limits=ServingLimits(max_connections=2)) as http:
        session = await http.session()
        calls = [post(http, call(id=id), session) for id in (1, 2)]
        async with raw(http, calls[0]) as one, raw(http, calls[1]) as two:
            sent = await http.proxy.calls(2)
            async with raw(http, post(http, request("ping"), session)) as late:
                assert (await late.response())[0] == 503
            for each in sent:
                http.proxy.servers[0].answer(each, {"content": []})
            assert [(await client.response())[0] for client in (one, two)] == [200, 200]
            async with raw(http, post(http, request("ping"), session)) as later:
                assert (await later.response())[0] == 200
    assert f"all 2 {FULL}, so a new client got 503" in caplog.text


class _Tail(asyncio.Transport):
    """A transport whose client has left these numbers of bytes unread, one after the other."""

    def __init__(self, *unread: int) -> None:
        super().__init__()
        self.unread = list(unread)
        self.ended = ""

    def get_write_buffer_size(self) -> int:
        return self.unread.pop(0)

    def get_extra_info(self, name: str, default: object = None) -> object:
        return mock.Mock() if name == "socket" else default

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        self.ended += "close "

    def abort(self) -> None:
        self.ended += "reset"


@pytest.mark.parametrize(
    ("unread", "ended"), [((5, 5), "reset"), ((5, 3, 3), "reset"), ((5, 3, 0, 0), "close "), ((0,), "close ")]
)
async def test_connection_stays_only_while_its_client_reads_the_last_response(
    unread: tuple[int, ...], ended: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "STUCK_AFTER", 0.01)
    owner = Connections(ServingLimits(head_time=0.01))
    state = uvicorn.server.ServerState()
    connection = owner.make(config=uvicorn.Config(mock.Mock()), server_state=state, app_state={})
    transport = _Tail(*unread)
    connection.connection_made(transport)
    await eventually(lambda: transport.ended, "the end")
    assert transport.ended == ended
    connection.connection_lost(None)
    assert not state.connections
