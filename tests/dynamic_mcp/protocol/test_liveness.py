"""When a connection without answers ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from dynamic_mcp.errors import UpstreamGone, UpstreamRefused, UpstreamTimeout
from dynamic_mcp.protocol.liveness import LONG_WAIT, ROUNDS
from dynamic_mcp.protocol.peer import Peer
from dynamic_mcp.protocol.pending import Options
from tests.dynamic_mcp.clocks import skip

if TYPE_CHECKING:
    from dynamic_mcp.protocol.jsonrpc import Outgoing

SHORT = 0.02


class Connection:
    """A peer whose other side answers what a test feeds. ``life`` is what becomes of the question."""

    def __init__(self, life: Exception | None) -> None:
        self.life = life
        self.questions = 0
        self.ends: list[str] = []
        self.sent: list[Outgoing] = []
        self.peer = Peer(self.sent.append, lambda _: None, on_junk=self.ends.append, ask=self._ask)

    async def _ask(self, _timeout: float) -> None:
        self.questions += 1
        await asyncio.sleep(SHORT)
        if self.life is not None:
            raise self.life

    async def times_out(self, method: str = "tools/call") -> None:
        with pytest.raises(UpstreamTimeout):
            await self.peer.request(method, b"{}", Options(SHORT))
        # Time for the question.
        await asyncio.sleep(2 * SHORT)

    def receive(self, text: str) -> None:
        self.peer.receive(text.encode())


async def test_silence_after_several_requests_and_the_question_ends_the_connection() -> None:
    one = Connection(UpstreamTimeout("no answer"))
    for _ in range(ROUNDS):
        assert not one.questions
        await one.times_out()
    assert one.questions == 1
    assert "without an answer" in one.ends[0]


@pytest.mark.parametrize("life", [None, UpstreamRefused(b'{"code":-32601}'), UpstreamGone("it ended")])
async def test_any_answer_to_the_question_keeps_the_connection(life: Exception | None) -> None:
    one = Connection(life)
    for _ in range(2 * ROUNDS):
        await one.times_out()
    assert one.questions == 2
    assert not one.ends


async def test_one_slow_call_among_many_at_the_same_time_is_one_round() -> None:
    one = Connection(UpstreamTimeout("no answer"))
    await asyncio.gather(*(one.times_out() for _ in range(3 * ROUNDS)))
    assert not one.questions


@pytest.mark.parametrize(
    "sign",
    [
        '{"jsonrpc":"2.0","id":1,"result":{}}',
        '{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}',
    ],
)
async def test_a_late_answer_and_progress_start_the_count_again(sign: str) -> None:
    one = Connection(UpstreamTimeout("no answer"))
    for _ in range(ROUNDS - 1):
        await one.times_out()
    one.receive(sign)
    await one.times_out()
    assert not one.questions


async def test_log_messages_are_no_sign_of_life() -> None:
    one = Connection(UpstreamTimeout("no answer"))
    for _ in range(ROUNDS):
        one.receive('{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}')
        await one.times_out()
    assert one.ends


@pytest.mark.parametrize("id", ["0", "-5", "99", '"x"'])
async def test_an_answer_to_no_request_is_no_sign_of_life(id: str) -> None:
    one = Connection(UpstreamTimeout("no answer"))
    for _ in range(ROUNDS):
        one.receive(f'{{"jsonrpc":"2.0","id":{id},"result":{{}}}}')
        await one.times_out()
    assert one.ends


async def test_an_answer_during_the_question_keeps_the_connection() -> None:
    one = Connection(UpstreamTimeout("no answer"))
    for _ in range(ROUNDS):
        with pytest.raises(UpstreamTimeout):
            await one.peer.request("tools/call", b"{}", Options(SHORT))
    await asyncio.sleep(0)
    one.receive('{"jsonrpc":"2.0","id":1,"result":{}}')
    await asyncio.sleep(2 * SHORT)
    assert one.questions == 1
    assert not one.ends


async def test_the_handshake_does_not_count() -> None:
    one = Connection(UpstreamTimeout("no answer"))
    for _ in range(2 * ROUNDS):
        await one.times_out("server/discover")
    assert not one.questions


@pytest.mark.parametrize(("waited", "counts"), [(LONG_WAIT - 1.0, False), (LONG_WAIT, True)])
async def test_a_client_that_cancels_after_a_long_wait_counts(waited: float, counts: bool) -> None:
    one = Connection(UpstreamTimeout("no answer"))
    for _ in range(ROUNDS):
        call = asyncio.ensure_future(one.peer.request("tools/call", b"{}", Options(None)))
        await skip(waited)
        call.cancel()
        await asyncio.wait({call})
    await skip(SHORT)
    assert bool(one.ends) is counts


async def test_a_stream_that_is_replaced_does_not_count() -> None:
    """A listen request gets its answer at the end of the stream only."""
    one = Connection(UpstreamTimeout("no answer"))
    for _ in range(2 * ROUNDS):
        stream = asyncio.create_task(one.peer.request("subscriptions/listen", b"{}", Options(None)))
        await skip(2 * LONG_WAIT)
        stream.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stream
    assert one.questions == 0
    one.peer.close(UpstreamGone("the test is over"))


async def test_a_closed_connection_asks_nothing() -> None:
    one = Connection(UpstreamTimeout("no answer"))
    one.peer.close(UpstreamGone("closed"))
    for _ in range(ROUNDS):
        one.peer.unanswered()
    await asyncio.sleep(0)
    assert not one.questions
