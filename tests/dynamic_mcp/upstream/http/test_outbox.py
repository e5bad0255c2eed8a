"""Messages without an answer: few POSTs at once, all in order, and a bound for those that wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from dynamic_mcp.errors import UpstreamGone
from dynamic_mcp.protocol.jsonrpc import Outgoing
from dynamic_mcp.tasks import TaskSet
from dynamic_mcp.upstream import flow
from dynamic_mcp.upstream.flow import Holds
from dynamic_mcp.upstream.http.outbox import MAX_POSTS, Outbox
from tests.dynamic_mcp.helpers import eventually


class Server:
    """Takes the POSTs of an outbox, and lets each wait until ``accepts`` is set."""

    def __init__(self) -> None:
        self.begun: list[bytes] = []
        self.ended = 0
        self.accepts = asyncio.Event()
        self.error: Exception | None = None
        self.faults: list[str] = []
        self.holds = Holds(lambda held: None)
        self.tasks = TaskSet()
        self.outbox = Outbox(self._post, self._in_background, self.holds, self.faults.append)

    async def _post(self, message: Outgoing) -> None:
        self.begun.append(message.line)
        await self.accepts.wait()
        self.ended += 1
        if self.error is not None:
            raise self.error

    def _in_background(self, work: Callable[[], Coroutine[Any, Any, None]]) -> object:
        return self.tasks.start(work())


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    one = Server()
    yield one
    one.outbox.close()
    await one.tasks.close()


async def test_few_posts_are_in_flight_and_every_message_is_sent(server: Server) -> None:
    lines = [b"%d" % number for number in range(100)]
    for line in lines:
        server.outbox.add(Outgoing(line))
    await asyncio.sleep(0.01)
    assert server.begun == lines[:MAX_POSTS]
    server.accepts.set()
    await eventually(lambda: server.ended == len(lines), "the server has them")
    assert server.begun == lines


async def test_server_that_refuses_a_message_gets_the_next_one(server: Server) -> None:
    server.error = UpstreamGone("no")
    server.accepts.set()
    for number in range(2 * MAX_POSTS):
        server.outbox.add(Outgoing(b"%d" % number))
    await eventually(lambda: server.ended == 2 * MAX_POSTS, "the server has them")


async def test_too_many_answers_stop_reading_until_the_server_takes_some(server: Server) -> None:
    answer = Outgoing(b"x" * (1 << 20))
    for _ in range(MAX_POSTS + 17):
        server.outbox.add(answer)
    assert server.holds.reasons
    server.accepts.set()
    await eventually(lambda: server.ended == MAX_POSTS + 17, "the server has them")
    assert not server.holds.reasons


async def test_the_number_of_small_answers_has_a_bound(server: Server) -> None:
    for _ in range(MAX_POSTS + 17_000):
        server.outbox.add(Outgoing(b"{}"))
    assert server.holds.reasons


async def test_server_that_takes_nothing_loses_its_connection(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "OWED_GRACE", 0.02)
    for _ in range(MAX_POSTS + 17):
        server.outbox.add(Outgoing(b"x" * (1 << 20)))
    await eventually(lambda: server.faults, "a fault")


async def test_own_notifications_are_dropped_while_too_much_waits(server: Server) -> None:
    for _ in range(MAX_POSTS + 17):
        server.outbox.add(Outgoing(b"x" * (1 << 20)))
    server.outbox.add(Outgoing(b"cancelled", "notifications/cancelled"))
    server.accepts.set()
    await eventually(lambda: server.ended == MAX_POSTS + 17, "the server has them")
    assert b"cancelled" not in server.begun


async def test_answers_to_a_lost_session_are_dropped(server: Server) -> None:
    for number in range(MAX_POSTS):
        server.outbox.add(Outgoing(b"first %d" % number, "notifications/cancelled"))
    await eventually(lambda: len(server.begun) == MAX_POSTS, "the first messages")
    server.outbox.add(Outgoing(b"an answer"))
    server.outbox.add(Outgoing(b"cancelled", "notifications/cancelled"))
    server.outbox.leave_session()
    server.outbox.add(Outgoing(b"another answer"))
    server.accepts.set()
    await eventually(lambda: server.ended == MAX_POSTS + 2, "the server has them")
    assert server.begun[MAX_POSTS:] == [b"cancelled", b"another answer"]


async def test_an_answer_whose_post_has_not_begun_is_dropped(server: Server) -> None:
    server.outbox.add(Outgoing(b"an answer"))
    server.outbox.leave_session()
    server.outbox.add(Outgoing(b"another answer"))
    server.accepts.set()
    await eventually(lambda: server.ended, "the server has one")
    assert server.begun == [b"another answer"]
