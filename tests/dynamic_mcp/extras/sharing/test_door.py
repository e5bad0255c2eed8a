"""The door of a serving process, with connections that are no attached ends too."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

if sys.platform == "win32":
    pytest.skip("Windows has no unix sockets for this", allow_module_level=True)

from dynamic_mcp.config.model import Config, Server
from dynamic_mcp.extras.sharing import door as door_module
from dynamic_mcp.extras.sharing.door import SocketDoor
from dynamic_mcp.extras.sharing.hangup import watch_hangup
from dynamic_mcp.extras.sharing.place import MAX_GREETING, Place
from dynamic_mcp.frontend import backlog, running
from dynamic_mcp.frontend import clients as clients_module
from dynamic_mcp.frontend.clients import Clients
from dynamic_mcp.frontend.tool_surface import CALL
from dynamic_mcp.groups.group import Group
from dynamic_mcp.groups.listener import GroupListener
from dynamic_mcp.hooks import Hooks
from tests.dynamic_mcp.fakes import FakeGroup, FakeUpstream, server
from tests.dynamic_mcp.helpers import WITHIN, eventually

GREETING = {"want": "serve", "folder": "/", "pid": 1}
PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n'


def no_group(server: Server, listener: GroupListener[Group]) -> Group:
    raise AssertionError("the configuration has no server")


class Visitor:
    """One connection to the door."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer

    def send(self, line: object) -> None:
        self.writer.write(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n")

    async def line(self) -> Any:
        """The next line as JSON; None at the end of the connection."""
        try:
            line = await asyncio.wait_for(self._reader.readline(), WITHIN)
        except ConnectionResetError:
            return None
        return json.loads(line) if line else None


class Door:
    """A door without servers."""

    def __init__(self, folder: Path) -> None:
        self.place = Place(folder, "x")
        self.listened = 0
        self.clients = Clients(Config(()), no_group, Hooks(), 0.05)
        self.door = SocketDoor(folder / "config.json", self.place, 0.05, self._on_listening)
        self.ended = asyncio.Event()
        self.visitors: list[Visitor] = []
        self.starter, self._hangs_up = os.pipe()

    def _on_listening(self) -> int:
        self.listened += 1
        return self._hangs_up

    def starter_dies(self) -> None:
        os.close(self.starter)
        self.starter = -1

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        await self.door.run(self.clients, task_status=task_status)
        self.ended.set()

    async def visit(self) -> Visitor:
        self.visitors.append(Visitor(*await asyncio.open_unix_connection(str(self.place.socket))))
        return self.visitors[-1]

    async def attach(self) -> Visitor:
        visitor = await self.visit()
        visitor.send(GREETING)
        assert (await visitor.line())["pid"] == os.getpid()
        return visitor


@asynccontextmanager
async def open_door() -> AsyncIterator[Door]:
    # The path of a socket is short, and those of pytest are not.
    with tempfile.TemporaryDirectory() as folder:
        door = Door(Path(folder))
        async with anyio.create_task_group() as tasks:
            await tasks.start(door.clients.run)
            await tasks.start(door.run)
            try:
                yield door
            finally:
                for visitor in door.visitors:
                    visitor.writer.close()
                    # The socket closes with a later turn of the loop.
                    with suppress(OSError):
                        await visitor.writer.wait_closed()
            await door.door.close()
            tasks.cancel_scope.cancel()
        if door.starter >= 0:
            os.close(door.starter)
        assert not door.place.socket.exists()


async def test_lines_behind_the_greeting_are_not_lost() -> None:
    async with open_door() as door:
        visitor = await door.visit()
        visitor.send(json.dumps(GREETING).encode() + b"\n" + PING)
        assert "version" in await visitor.line()
        assert (await visitor.line())["result"] == {}
        visitor.send(PING)
        visitor.writer.write_eof()
        assert (await visitor.line())["result"] == {}
        assert await visitor.line() is None
        assert door.listened == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of a hang-up without data")
async def test_starter_that_dies_before_it_connects_is_not_waited_for() -> None:
    async with open_door() as door:
        door.starter_dies()
        await asyncio.wait_for(door.ended.wait(), WITHIN)


async def test_starter_that_lets_go_after_it_has_connected_ends_nothing() -> None:
    async with open_door() as door:
        visitor = await door.attach()
        door.starter_dies()
        visitor.send(PING)
        assert (await visitor.line())["result"] == {}
        assert not door.ended.is_set()


@pytest.mark.parametrize("line", [b"junk\n", b"[]\n", b'{"want":"serve"}\n', b'{"want":"rule"}\n', b"\xff\n"])
async def test_greeting_that_cannot_be_understood_is_refused(line: bytes) -> None:
    async with open_door() as door:
        visitor = await door.visit()
        visitor.send(line)
        assert "cannot be understood" in (await visitor.line())["refused"]
        assert await visitor.line() is None


async def test_endless_silent_and_foreign_greetings_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_module, "GREETING", 0.1)
    async with open_door() as door:
        endless, silent = await door.visit(), await door.visit()
        endless.send(b"x" * (MAX_GREETING + 1))
        assert await endless.line() is None
        assert await silent.line() is None
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
        assert await (await door.visit()).line() is None


async def test_client_beyond_the_bound_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients_module, "MAX_CLIENTS", 1)
    async with open_door() as door:
        await door.attach()
        second = await door.visit()
        second.send(GREETING)
        assert "1 clients already" in (await second.line())["refused"]
        third = await door.visit()
        third.send({"want": "status"})
        report = await third.line()
        assert (report["pid"], len(report["clients"])) == (os.getpid(), 1)


async def test_client_that_does_not_read_loses_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "MAX_UNREAD", 1 << 18)
    monkeypatch.setattr(backlog, "STUCK_AFTER", 0.5)
    async with open_door() as door:
        reads, stalls = await door.attach(), await door.attach()
        (client, other) = door.clients.open_clients.values()
        for _ in range(100):
            other.session.client_peer.notify("x", b'"%b"' % (b"x" * (1 << 14)))
            await asyncio.sleep(0)
        await eventually(lambda: len(door.clients.open_clients) == 1, "the end of the connection")
        assert [*door.clients.open_clients.values()] == [client]
        reads.send(PING)
        assert (await reads.line())["result"] == {}
        stalls.writer.close()


@pytest.mark.slow
@pytest.mark.parametrize("size", [1 << 18, (1 << 18) + 1, 12 << 20])
async def test_large_message_that_is_read_slowly_ends_no_connection(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "MAX_UNREAD", 1 << 18)
    monkeypatch.setattr(backlog, "STUCK_AFTER", 0.5)
    async with open_door() as door:
        slow = await door.attach()
        (client,) = door.clients.open_clients.values()
        for _ in range(2):
            client.session.client_peer.notify("x", b'"%b"' % (b"x" * size))
        found = 0
        while found < 2 * size:
            found += len(await slow._reader.read(1 << 20))
            await asyncio.sleep(0.05)
        assert [*door.clients.open_clients.values()] == [client]


async def call_without_an_answer(door: Door, visitor: Visitor) -> FakeUpstream:
    """Let the only client call a tool of an upstream, which gets the request."""
    params = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "c", "version": "1"},
    }
    visitor.send({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params})
    assert "result" in await visitor.line()
    (client,) = door.clients.open_clients.values()
    upstream = FakeUpstream()
    upstream.answer = None
    client.groups["a"] = FakeGroup(server("a"), upstream)
    call = {"name": CALL, "arguments": {"group": "a", "name": "echo"}}
    visitor.send({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call})
    await eventually(lambda: upstream.requests, "the request")
    return upstream


@pytest.mark.skipif(sys.platform != "linux", reason="other systems tell of a dead client with the next write")
@pytest.mark.parametrize("says_the_end_before", [False, True])
async def test_call_of_a_dead_client_is_cancelled_at_once(
    says_the_end_before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A client that lives gets its last answers within this time.
    monkeypatch.setattr(running, "LAST_ANSWERS", 1000.0)
    monkeypatch.setattr(running, "LAST_PIPED_ANSWERS", 1000.0)
    has_read_the_end = asyncio.Event()

    def watch(descriptor: int, on_hangup: Callable[[], None]) -> Callable[[], None]:
        has_read_the_end.set()
        return watch_hangup(descriptor, on_hangup)

    monkeypatch.setattr(door_module, "watch_hangup", watch)
    async with open_door() as door:
        visitor = await door.attach()
        upstream = await call_without_an_answer(door, visitor)
        if says_the_end_before:
            visitor.writer.write_eof()
            await asyncio.wait_for(has_read_the_end.wait(), WITHIN)
            await asyncio.sleep(0.05)
            assert not upstream.cancelled
        visitor.writer.close()
        await eventually(lambda: upstream.cancelled, "the cancellation")
        await eventually(lambda: not door.clients.open_clients, "the end of the client")


async def test_door_closes_itself_after_the_last_client() -> None:
    async with open_door() as door:
        visitor = await door.attach()
        visitor.send(PING)
        await visitor.line()
        assert not door.ended.is_set()
        visitor.writer.close()
        await asyncio.wait_for(door.ended.wait(), WITHIN)


async def test_socket_of_a_successor_stays() -> None:
    async with open_door() as door:
        # Systems remove old files from the folder for temporary files.
        door.place.socket.rename(door.place.socket.with_suffix(".old"))
        door.place.socket.touch()
        await door.door.close()
        assert door.place.socket.exists()
        door.place.socket.unlink()


async def test_end_of_the_door_ends_the_connections() -> None:
    async with open_door() as door:
        visitor = await door.attach()
        await door.door.close()
        assert await visitor.line() is None
        assert not door.clients.open_clients
