"""Clients that read slowly, or not at all, and answers that are larger than every bound."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from dynamic_mcp.extras.serving.limits import LIMITS, ServingLimits
from dynamic_mcp.frontend import backlog
from tests.dynamic_mcp.extras.serving.door import HEADERS, Http, call, modern_call, request, serving
from tests.dynamic_mcp.extras.serving.test_connect import connected
from tests.dynamic_mcp.helpers import eventually

#: Bytes that may wait in these tests, and an answer that no buffer of the system takes as a whole.
BOUND, LARGE = 1 << 20, 12 << 20
STUCK_AFTER = 1.0
#: streams begin at once
IMPATIENT = ServingLimits(patience=0.01)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "MAX_UNREAD", BOUND)
    monkeypatch.setattr(backlog, "MAX_UNREAD_OF_ALL", 4 * BOUND)
    monkeypatch.setattr(backlog, "STUCK_AFTER", STUCK_AFTER)


class Reader:
    """One POST on a connection of its own, whose answer is read when the test says so."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def rest(self, size: int = 1 << 22, pause: float = 0.0) -> int:
        """Read to the end, ``size`` bytes at most at once; the number of bytes. Raises ConnectionResetError."""
        found = 0
        while data := await self.reader.read(size):
            found += len(data)
            await asyncio.sleep(pause)
        return found

    async def is_reset(self) -> bool:
        """Whether the connection is reset, and does not just end."""
        try:
            await asyncio.wait_for(self.rest(), 5)
        except ConnectionResetError:
            return True
        return False


@asynccontextmanager
async def posted(http: Http, message: object, headers: Mapping[str, str]) -> AsyncIterator[Reader]:
    host, port = http.url.removeprefix("http://").removesuffix("/mcp").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 19)
    body = json.dumps(message).encode()
    fields = {
        **HEADERS,
        **headers,
        "Host": f"{host}:{port}",
        "Content-Length": str(len(body)),
        "Connection": "close",
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    writer.write(f"POST /mcp HTTP/1.1\r\n{head}\r\n".encode() + body)
    try:
        yield Reader(reader, writer)
    finally:
        writer.transport.abort()


def large(size: int = LARGE) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": "x" * size}]}


async def answer_all(http: Http, count: int, size: int = LARGE) -> None:
    for sent in await http.proxy.calls(count):
        http.proxy.servers[0].answer(sent, large(size))


@pytest.mark.parametrize("limits", [LIMITS, IMPATIENT], ids=["json", "events"])
@pytest.mark.parametrize("size", [BOUND - 1000, BOUND + 1, LARGE])
async def test_large_answer_that_is_read_ends_no_session(size: int, limits: ServingLimits) -> None:
    async with serving(limits=limits) as http:
        session = await http.session()
        waiting = asyncio.ensure_future(http.post(call(id="waits"), session))
        (first,) = await http.proxy.calls(1)
        reading = asyncio.ensure_future(http.post(call(id="large"), session))
        await eventually(lambda: len(http.proxy.servers[0].requests("tools/call")) == 2, "two calls")
        await asyncio.sleep(0.1)
        http.proxy.servers[0].answer(http.proxy.servers[0].requests("tools/call")[1], large(size))
        assert len((await reading).content) > size
        assert (await http.post(request("ping"), session)).status_code == 200
        http.proxy.servers[0].answer(first, {"content": []})
        assert '"waits"' in (await waiting).text


@pytest.mark.slow
@pytest.mark.parametrize("limits", [LIMITS, IMPATIENT], ids=["json", "events"])
async def test_client_that_reads_slowly_gets_all_its_large_answers(limits: ServingLimits) -> None:
    async with serving(limits=limits) as http:
        session = await http.session()
        async with posted(http, call(id=1), session) as one, posted(http, call(id=2), session) as two:
            await answer_all(http, 2)
            # Each reads for longer than the patience, with never so long a pause.
            began = asyncio.get_running_loop().time()
            sizes = await asyncio.gather(*(reader.rest(1 << 20, 0.2) for reader in (one, two)))
            assert asyncio.get_running_loop().time() - began > 1.5 * STUCK_AFTER
        assert min(sizes) > LARGE
        assert (await http.post(request("ping"), session)).status_code == 200


@pytest.mark.slow
@pytest.mark.parametrize("limits", [LIMITS, IMPATIENT], ids=["json", "events"])
async def test_session_of_a_client_that_stops_reading_ends_and_no_other(
    limits: ServingLimits, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(limits=limits) as http:
        deaf, other = await http.session(), await http.session()
        async with posted(http, call(id=1), deaf) as stops, posted(http, call(id=2), deaf) as waits:
            for sent in (await http.proxy.calls(2))[:1]:
                http.proxy.servers[0].answer(sent, large())
            # What a client reads on another connection is no progress of this one.
            await eventually(lambda: len(http.proxy.clients.open_clients) == 1, "the end of the session")
            assert (await http.post(request("ping"), other)).status_code == 200
            gone = await http.post(request("ping"), deaf)
            assert gone.status_code == 404
            # The connections end too, so nothing waits for them, in the system either.
            assert await asyncio.wait_for(waits.rest(), 5) < 1000
            assert await stops.is_reset()
    assert "has taken nothing for" in caplog.text


async def test_client_that_was_away_for_a_moment_gets_a_large_answer_by_resuming() -> None:
    async with serving(limits=IMPATIENT) as http:
        session = await http.session()
        async with http.stream("POST", call(), session) as events:
            await anext(events._lines)
            await http.proxy.calls(1)
        await answer_all(http, 1)
        await asyncio.sleep(STUCK_AFTER / 2)
        headers = {**session, "Last-Event-ID": "2-0"}
        async with http.stream("GET", headers=headers) as rest:
            assert len((await rest.next())["result"]["content"][0]["text"]) == LARGE
        assert (await http.post(request("ping"), session)).status_code == 200


async def test_small_client_stays_while_another_has_all_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "MAX_WAITING", LARGE + BOUND)
    async with serving() as http:
        one, two = await http.session(), await http.session()
        async with posted(http, call(id=1), one):
            await answer_all(http, 1)
            (first, _) = http.proxy.clients.open_clients.values()
            await eventually(lambda: first.outlet and first.outlet.unread() > LARGE, "the large answer")
            reading = asyncio.ensure_future(http.post(call(id=2), two))
            await eventually(lambda: len(http.proxy.servers[0].requests("tools/call")) == 2, "two calls")
            http.proxy.servers[0].answer(http.proxy.servers[0].requests("tools/call")[1], large(2 * BOUND))
            assert len((await reading).content) > 2 * BOUND
            statuses = [(await http.post(request("ping"), each)).status_code for each in (one, two)]
    assert statuses == [404, 200]


@pytest.mark.slow
@pytest.mark.parametrize("limits", [LIMITS, IMPATIENT], ids=["json", "events"])
async def test_modern_request_gets_its_large_answer_if_it_reads(limits: ServingLimits) -> None:
    async with serving(limits=limits) as http:
        message, headers = modern_call()
        async with posted(http, message, headers) as reads, posted(http, message, headers) as stops:
            await answer_all(http, 2)
            assert await reads.rest(1 << 20, 0.1) > LARGE
            await eventually(lambda: not http.proxy.clients.open_clients, "the end of the other request")
            assert await stops.is_reset()


@pytest.mark.parametrize("limits", [LIMITS, IMPATIENT], ids=["json", "events"])
async def test_connection_that_is_not_read_ends_after_its_session(limits: ServingLimits) -> None:
    async with serving(limits=limits) as http:
        session = await http.session()
        async with posted(http, call(), session) as stops:
            await answer_all(http, 1)
            assert http.door._app is not None
            (served,) = http.door._app.sessions._sessions.values()
            await eventually(lambda: served.unread() > BOUND, "the large answer")
            assert (await http.client.delete(http.url, headers=session)).status_code == 204
            await eventually(lambda: not served.connections, "the end of the connection")
            assert await stops.is_reset()


async def test_session_that_was_cut_ends_with_one_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "dynamic_mcp")
    async with serving(limits=ServingLimits(idle=0.2)) as http:
        session = await http.session()
        async with posted(http, call(), session):
            await answer_all(http, 1)
            assert http.door._app is not None
            sessions = http.door._app.sessions._sessions
            await eventually(lambda: not sessions, "the end of the session")
    lines = [record.getMessage() for record in caplog.records if "ends" in record.getMessage()]
    assert len(lines) == 1
    assert "has taken nothing for" in lines[0]


async def test_connect_passes_large_answers_beside_a_call_in_flight() -> None:
    async with serving() as http, connected(http.url) as stdio:
        await stdio.handshake()
        stdio.send(call(id="waits"))
        (first,) = await http.proxy.calls(1)
        for count in (2, 3):
            stdio.send(call(id=count))
            await eventually(lambda n=count: len(http.proxy.servers[0].requests("tools/call")) == n, "it")  # type: ignore[misc]
            http.proxy.servers[0].answer(http.proxy.servers[0].requests("tools/call")[-1], large())
            assert len((await stdio.message(id=count))["result"]["content"][0]["text"]) == LARGE
        http.proxy.servers[0].answer(first, {"content": []})
        assert "result" in await stdio.message(id="waits")
