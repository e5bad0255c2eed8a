"""One JSON-RPC connection: each call ends once, with its own answer or its own failure, for any input."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Callable, Sequence
from typing import Any
from unittest.mock import patch

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamic_mcp.errors import UpstreamFailed, UpstreamGone, UpstreamRefused, UpstreamTimeout
from dynamic_mcp.protocol.batch import MAX_BATCH
from dynamic_mcp.protocol.incoming import MAX_INCOMING, MAX_INCOMING_BYTES
from dynamic_mcp.protocol.jsonrpc import Message, Outgoing
from dynamic_mcp.protocol.junk import JUNK_WINDOW, MAX_JUNK_LINES
from dynamic_mcp.protocol.lines import LineSplitter
from dynamic_mcp.protocol.peer import Peer
from dynamic_mcp.protocol.pending import Options
from dynamic_mcp.protocol.pieces import LARGE, Large
from tests.dynamic_mcp.clocks import skip
from tests.dynamic_mcp.fakes import NamedCall

LONG = 60.0


class Wire:
    """A peer that records what it sends and the notifications that it passes on."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.notified: list[str | None] = []
        self.peer = Peer(self._send, self._notify)

    def _send(self, message: Outgoing) -> None:
        assert message.line.endswith(b"\n")
        self.sent.append(json.loads(message.line))

    def _notify(self, message: Message) -> None:
        self.notified.append(message.method)

    def start(self, method: str = "m", *, timeout: float = LONG) -> asyncio.Task[bytes]:
        return asyncio.create_task(self.peer.request(method, b"{}", Options(timeout)))

    async def started(self, method: str = "m", *, timeout: float = LONG) -> tuple[asyncio.Task[bytes], int]:
        """A call that was sent, and its id."""
        task = self.start(method, timeout=timeout)
        await asyncio.sleep(0)
        id = self.sent[-1]["id"]
        assert isinstance(id, int)
        return task, id

    def answer(self, id: int, result: str = "{}") -> None:
        self.peer.receive(f'{{"jsonrpc":"2.0","id":{id},"result":{result}}}'.encode())

    @property
    def cancelled(self) -> list[int]:
        """The ids in the notifications/cancelled that the peer sent."""
        return [m["params"]["requestId"] for m in self.sent if m.get("method") == "notifications/cancelled"]


Outcome = tuple[str, str]

# Lines that settle the request with this id, each with the outcome of the call. `n` is unique to the line.
SETTLING: dict[str, tuple[str, Callable[[int], Outcome]]] = {
    "result": ('{"jsonrpc":"2.0","id":%(id)s,"result":{"n":%(n)s}}', lambda n: ("result", f'{{"n":{n}}}')),
    "result, null error": (
        '{"error":null,"result":{"n":%(n)s},"id":%(id)s,"jsonrpc":"2.0"}',
        lambda n: ("result", f'{{"n":{n}}}'),
    ),
    "error": (
        '{"jsonrpc":"2.0","id":%(id)s,"error":{"code":%(n)s,"message":""}}',
        lambda n: ("refused", f'{{"code":{n},"message":""}}'),
    ),
    "text error": (
        '{"jsonrpc":"2.0","id":%(id)s,"error":"no %(n)s"}',
        lambda n: ("refused", f'{{"code":-32603,"message":"no {n}"}}'),
    ),
    "text id": ('{"jsonrpc":"2.0","id":"%(id)s","result":{"n":%(n)s}}', lambda n: ("result", f'{{"n":{n}}}')),
    "float id": (
        '{"jsonrpc":"2.0","id":%(id)s.0,"result":{"n":%(n)s}}',
        lambda n: ("result", f'{{"n":{n}}}'),
    ),
    "NaN": ('{"jsonrpc":"2.0","id":%(id)s,"result":{"n":NaN}}', lambda n: ("result", '{"n":null}')),
    "byte order mark": (
        '\ufeff{"jsonrpc":"2.0","id":%(id)s,"result":{"n":%(n)s}}',
        lambda n: ("result", f'{{"n":{n}}}'),
    ),
    "array": (
        ' [ {"jsonrpc":"2.0","id":%(id)s,"result":{"n":%(n)s}}]',
        lambda n: ("result", f'{{"n":{n}}}'),
    ),
    "array with others": (
        '[{"jsonrpc":"2.0","id":-1,"result":1},2,{"jsonrpc":"2.0","id":%(id)s,"result":{"n":%(n)s}}]',
        lambda n: ("result", f'{{"n":{n}}}'),
    ),
    "result that is no object": ('{"jsonrpc":"2.0","id":%(id)s,"result":[%(n)s]}', lambda n: ("failed", "")),
    "cut": ('{"jsonrpc":"2.0","id":%(id)s,"result":{"n":%(n)s', lambda n: ("failed", "")),
    "neither": ('{"jsonrpc":"2.0","id":%(id)s,"x":%(n)s}', lambda n: ("failed", "")),
    "no version": ('{"id":%(id)s,"result":%(n)s}', lambda n: ("failed", "")),
    "old version": ('{"jsonrpc":"1.0","id":%(id)s,"result":%(n)s}', lambda n: ("failed", "")),
    "version as a number": ('{"jsonrpc":2.0,"id":%(id)s,"result":%(n)s}', lambda n: ("failed", "")),
}
# Lines that must settle nothing.
NOISE = {
    "decimal id": '{"jsonrpc":"2.0","id":%(id)s.5,"result":{"n":%(n)s}}',
    "log line": '{"level":"info","id":%(id)s,"message":"call %(n)s"}',
    "log line with an error": '{"level":"info","id":%(id)s,"error":"call %(n)s"}',
    "negative id": '{"jsonrpc":"2.0","id":-%(id)s,"result":{"n":%(n)s}}',
    "long id": '{"jsonrpc":"2.0","id":%(id)s00000000000000000000000,"result":{"n":%(n)s}}',
    "null id": '{"jsonrpc":"2.0","id":null,"result":{"n":%(n)s}}',
    "null id error": '{"jsonrpc":"2.0","id":null,"error":{"code":%(n)s}}',
    "array of an array": '[[{"jsonrpc":"2.0","id":%(id)s,"result":{"n":%(n)s}}]]',
    "array without a message": '[{"a":%(n)s},%(id)s,"a"]',
    "log line in brackets": "[info] call %(id)s %(n)s",
    "empty array": "[]",
    "garbage": "listening on port %(id)s%(n)s",
    "blank": "  \r",
    "notification": '{"jsonrpc":"2.0","method":"n/%(n)s"}',
    "ping": '{"jsonrpc":"2.0","id":%(id)s,"method":"ping"}',
    "request": '{"jsonrpc":"2.0","id":%(id)s,"method":"roots/list"}',
    "malformed request": '{"id":%(id)s,"method":"ping"}',
}
events = st.lists(st.tuples(st.sampled_from([*SETTLING, *NOISE]), st.integers(1, 7)), max_size=25)


async def outcome_of(task: asyncio.Task[bytes]) -> Outcome:
    try:
        return "result", (await task).decode()
    except UpstreamRefused as error:
        return "refused", error.error.decode()
    except UpstreamGone:
        return "gone", ""
    except UpstreamFailed:
        return "failed", ""


@given(st.integers(1, 5), events, st.lists(st.integers(1, 40), min_size=1, max_size=8), st.booleans())
@settings(max_examples=200, deadline=None)
async def test_each_call_ends_with_its_own_answer(
    calls: int, events: list[tuple[str, int]], chunks: list[int], breathe: bool
) -> None:
    wire = Wire()
    tasks = dict([(await wire.started())[::-1] for _ in range(calls)])
    expected: dict[int, Outcome] = {}
    order = list(tasks)
    stream, answered, notified = "", [], []
    for n, (kind, number) in enumerate(events):
        # Numbers beyond the calls give ids that no request has.
        id = order[number - 1] if number <= calls else 1000 + number
        line, outcome = SETTLING.get(kind, (NOISE.get(kind, ""), None))
        stream += line % {"id": id, "n": n} + "\n"
        if outcome is not None and id in tasks:
            expected.setdefault(id, outcome(n))
        if kind in ("ping", "request"):
            answered.append((id, "result" if kind == "ping" else "error"))
        if kind == "notification":
            notified.append(f"n/{n}")

    splitter, data, turn = LineSplitter(), stream.encode(), 0
    while data:
        size = chunks[turn % len(chunks)]
        for line_bytes in splitter.feed(data[:size]):
            await wire.peer.receive_slowly(line_bytes)
        data, turn = data[size:], turn + 1
        if breathe:
            await asyncio.sleep(0)
    wire.peer.close(UpstreamGone("closed"))

    assert {id: await outcome_of(task) for id, task in tasks.items()} == {
        id: expected.get(id, ("gone", "")) for id in tasks
    }
    assert [(m["id"], "result" if "result" in m else "error") for m in wire.sent[calls:]] == answered
    assert wire.notified == notified


async def test_ids_are_unique() -> None:
    wire = Wire()
    for _ in range(3):
        task, id = await wire.started()
        wire.answer(id)
        await task
    assert len({message["id"] for message in wire.sent}) == 3


async def test_timeout_sends_cancelled_and_drops_the_late_answer() -> None:
    wire = Wire()
    slow, slow_id = await wire.started(timeout=0.01)
    with pytest.raises(UpstreamTimeout, match=r"no answer to m within 0\.01 s"):
        await slow
    assert wire.cancelled == [slow_id]

    other, other_id = await wire.started()
    wire.answer(slow_id, '{"a":"late"}')
    wire.answer(other_id, '{"a":"own"}')

    assert await other == b'{"a":"own"}'
    assert wire.cancelled == [slow_id]


@given(st.lists(st.sampled_from([0.005, 0.01, 0.02, LONG]), min_size=1, max_size=6), st.data())
@settings(max_examples=25, deadline=None)
async def test_each_call_has_its_own_timeout(timeouts: list[float], data: st.DataObject) -> None:
    wire = Wire()
    calls = [await wire.started(timeout=timeout) for timeout in timeouts]
    patient = [call for call, timeout in zip(calls, timeouts, strict=True) if timeout == LONG]
    drawn = data.draw(st.lists(st.sampled_from(calls), unique=True))
    # On a busy machine, the time of a call may be over before the last one has started.
    answered = [call for call in drawn if call[1] not in wire.cancelled]
    for _, id in answered:
        wire.answer(id)
    impatient = [call for call in calls if call not in patient and call not in answered]
    for task, _ in impatient:
        with pytest.raises(UpstreamTimeout):
            await asyncio.wait_for(task, 5)
    assert sorted(wire.cancelled) == [id for _, id in impatient]
    for call in patient:
        assert call in answered or not call[0].done()
        wire.answer(call[1])
        assert await call[0] == b"{}"


@pytest.mark.parametrize("left", [0.0, -1.0])
async def test_call_without_time_left_is_not_sent(left: float) -> None:
    wire = Wire()
    with pytest.raises(UpstreamTimeout, match=r"^no time is left for m$"):
        await wire.start(timeout=left)
    assert wire.sent == []


async def test_earliest_deadline_expires_first() -> None:
    wire = Wire()
    later, later_id = await wire.started(timeout=0.05)
    sooner, sooner_id = await wire.started(timeout=0.01)
    with pytest.raises(UpstreamTimeout):
        await sooner
    assert wire.cancelled == [sooner_id]
    with pytest.raises(UpstreamTimeout):
        await later
    assert wire.cancelled == [sooner_id, later_id]


@pytest.mark.parametrize("uvloop", [False, True], ids=["asyncio", "uvloop"])
def test_calls_that_are_due_at_once_time_out(uvloop: bool) -> None:
    async def check() -> list[str]:
        problems: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(str(context)))
        wire = Wire()
        calls = [wire.start(timeout=timeout) for timeout in (LONG, 0.0004, 0.0002, 0.0001, LONG)]
        first, *due, last = calls
        for call in due:
            with pytest.raises(UpstreamTimeout):
                await asyncio.wait_for(call, 5)
        wire.peer.close(UpstreamGone("it crashed"))
        for call in (first, last):
            with pytest.raises(UpstreamGone):
                await call
        del calls, due, first, last, call
        gc.collect()
        return problems

    if uvloop:
        pytest.importorskip("uvloop")
    assert anyio.run(check, backend_options={"use_uvloop": uvloop}) == []


@pytest.mark.parametrize("method", ["initialize", "server/discover"])
async def test_handshake_is_never_cancelled(method: str) -> None:
    wire = Wire()
    with pytest.raises(UpstreamTimeout):
        await wire.start(method, timeout=0.01)
    task, _ = await wire.started(method)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert wire.cancelled == []


async def test_cancelling_a_call_cancels_only_that_call_upstream() -> None:
    wire = Wire()
    first, first_id = await wire.started()
    second, second_id = await wire.started()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert wire.cancelled == [first_id]
    wire.answer(first_id, '{"a":"late"}')
    wire.answer(second_id, '{"a":"own"}')
    assert await second == b'{"a":"own"}'


async def test_cancel_after_the_answer_sends_nothing() -> None:
    wire = Wire()
    task, id = await wire.started()
    wire.answer(id)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert wire.cancelled == []


async def test_other_side_can_cancel_a_listen_request_and_no_other() -> None:
    """A server on stdio ends a subscription that way (MCP 2026-07-28, basic/patterns/cancellation)."""
    wire = Wire()
    listening, listening_id = await wire.started("subscriptions/listen")
    call, call_id = await wire.started("tools/call")
    for id in (listening_id, call_id, f'"{listening_id}"', "null", "99"):
        params = f'{{"requestId":{id}}}'
        wire.peer.receive(
            f'{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{params}}}'.encode()
        )
    with pytest.raises(UpstreamFailed, match="cancelled the request"):
        await listening
    wire.answer(call_id, '{"a":1}')
    assert await call == b'{"a":1}'
    assert wire.cancelled == []


async def test_close_fails_pending_and_later_calls_and_sends_nothing() -> None:
    wire = Wire()
    tasks = [(await wire.started())[0] for _ in range(3)]
    sent = len(wire.sent)
    wire.peer.close(UpstreamGone("it crashed"))
    wire.peer.close(UpstreamGone("a second reason"))
    for task in [*tasks, wire.start()]:
        with pytest.raises(UpstreamGone, match=r"^it crashed$"):
            await task
    wire.peer.notify("notifications/initialized")
    assert len(wire.sent) == sent


async def test_failed_send_leaves_nothing_pending() -> None:
    def broken(_message: Outgoing) -> None:
        raise OSError("no")

    peer = Peer(broken, lambda _notification: None)
    with pytest.raises(OSError, match="no"):
        await peer.request("m", b"", Options(LONG))
    peer.close(UpstreamFailed("closed"))


BATCH = b"""[{"jsonrpc":"2.0","method":"n"},
    {"jsonrpc":"2.0","id":%d,"result":{"a":1}},
    {"jsonrpc":"2.0","id":7,"method":"ping"},
    {"jsonrpc":"2.0","id":%d,"error":{"code":1,"message":"no"}}]"""


@pytest.mark.parametrize("is_large", [False, True])
async def test_every_message_of_a_batch_counts(is_large: bool) -> None:
    wire = Wire()
    (one, one_id), (other, other_id) = await wire.started(), await wire.started()
    batch = BATCH % (one_id, other_id)
    if is_large:
        await wire.peer.receive_slowly(Large([batch[:-1], b" " * LARGE, b"]"]))
    else:
        assert wire.peer.receive(batch)
        assert wire.notified == []
        await wire.peer.receive_slowly(batch)
    assert await one == b'{"a":1}'
    with pytest.raises(UpstreamRefused):
        await other
    assert wire.notified == ["n"]
    assert wire.sent[2:] == [{"jsonrpc": "2.0", "id": 7, "result": {}}]


async def test_batch_leaves_turns_to_others() -> None:
    wire = Wire()
    batch = (
        b"[" + b",".join([b'{"jsonrpc":"2.0","method":"n","params":"%b"}' % (b"x" * 400)] * MAX_BATCH) + b"]"
    )
    seen: list[int] = []

    async def look() -> None:
        while len(wire.notified) < MAX_BATCH:
            seen.append(len(wire.notified))
            await asyncio.sleep(0)

    looking = asyncio.create_task(look())
    with patch("dynamic_mcp.tasks._SLICE", 0.0):
        await wire.peer.receive_slowly(batch)
    await looking
    assert len(seen) > MAX_BATCH / 2


class Asked:
    """A peer whose other side asks and sends junk."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.faults: list[str] = []
        self.work = asyncio.Event()
        self.peer = Peer(
            lambda message: self.sent.append(json.loads(message.line)),
            lambda message: None,
            self._answer,
            on_junk=self.faults.append,
        )

    async def _answer(self, message: Message, callers: Sequence[object]) -> bytes:
        await self.work.wait()
        return b"{}"

    def ask(self, id: int, params: str = "{}") -> None:
        self.peer.receive(f'{{"jsonrpc":"2.0","id":{id},"method":"m","params":{params}}}'.encode())


async def test_requests_beyond_the_bound_are_refused_and_later_ones_answered() -> None:
    one = Asked()
    for id in range(MAX_INCOMING + 3):
        one.ask(id)
    assert [message["id"] for message in one.sent] == [MAX_INCOMING, MAX_INCOMING + 1, MAX_INCOMING + 2]
    assert all("too many requests" in message["error"]["message"] for message in one.sent)
    one.work.set()
    await asyncio.sleep(0.01)
    one.sent.clear()
    one.ask(1000)
    await asyncio.sleep(0.01)
    assert one.sent == [{"jsonrpc": "2.0", "id": 1000, "result": {}}]


async def test_one_large_request_is_served_and_the_next_is_refused() -> None:
    one = Asked()
    one.ask(1, '"' + "x" * MAX_INCOMING_BYTES + '"')
    assert not one.sent
    one.ask(2)
    assert [message["id"] for message in one.sent] == [2]
    one.work.set()
    await asyncio.sleep(0.01)
    one.ask(3)
    await asyncio.sleep(0.01)
    assert [message["id"] for message in one.sent if "result" in message] == [1, 3]


@pytest.mark.parametrize("junk", ["1", "log line", '{"jsonrpc":"2.0","id":"x","result":{}}', "[" * 100])
async def test_nothing_but_junk_is_reported(junk: str) -> None:
    one = Asked()
    for _ in range(MAX_JUNK_LINES):
        one.peer.receive(junk.encode())
    assert not one.faults
    one.peer.receive(junk.encode())
    assert "sends only data that is no message" in one.faults[0]


async def test_few_large_lines_of_junk_are_reported() -> None:
    one = Asked()
    for _ in range(17):
        one.peer.receive(b"x" * (1 << 20))
    assert one.faults


async def test_late_answers_to_calls_are_no_junk() -> None:
    one = Asked()
    calls = [
        asyncio.create_task(one.peer.request("tools/call", b"{}", Options(10.0, caller=NamedCall(number))))
        for number in range(17)
    ]
    await asyncio.sleep(0)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    for repeated in (False, True):
        for id in range(1, 18):
            one.peer.receive(b'{"jsonrpc":"2.0","id":%d,"result":"%b"}' % (id, b"x" * (1 << 20)))
        assert bool(one.faults) is repeated


async def test_junk_between_messages_is_harmless() -> None:
    one = Asked()
    for _ in range(3):
        for _ in range(MAX_JUNK_LINES):
            one.peer.receive(b"log line")
        one.peer.receive(b'{"jsonrpc":"2.0","method":"notifications/message"}')
    assert not one.faults


async def test_junk_of_the_last_minutes_does_not_add_up() -> None:
    one = Asked()
    for _ in range(3):
        for _ in range(MAX_JUNK_LINES):
            one.peer.receive(b"log line")
        await skip(JUNK_WINDOW + 1.0)
    assert not one.faults
