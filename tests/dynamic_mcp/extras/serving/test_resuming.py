"""What a client gets that resumes a stream with ``Last-Event-ID``."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from dynamic_mcp.extras.serving.history import History, StoredEvent
from dynamic_mcp.extras.serving.limits import ServingLimits
from dynamic_mcp.extras.serving.stream import Stream
from tests.dynamic_mcp.extras.serving.door import Events, Http, call, notification, request, serving

#: streams begin at once, and a session keeps few sent events
FORGETFUL = ServingLimits(patience=0.01, max_replay=1000, max_backlog=1000)
LONG = "x" * 100


async def resume(http: Http, session: dict[str, str], last_id: str) -> httpx.Response:
    """The reply to a client that resumes a stream that has ended."""
    headers = {**session, "Accept": "text/event-stream", "Last-Event-ID": last_id}
    return await http.client.get(http.url, headers=headers)


async def report(http: Http, sent: dict[str, Any], events: Events, numbers: range) -> None:
    """Report the progress of a call."""
    token = sent["params"]["_meta"]["progressToken"]
    for progress in numbers:
        params = {"progressToken": token, "progress": progress, "message": LONG}
        http.proxy.servers[0].send(method="notifications/progress", params=params)
        await events.next()


async def say(http: Http, events: Events | None, count: int) -> None:
    """Send messages to all clients. The client of these events reads them."""
    for number in range(count):
        params = {"level": "error", "data": f"{number} {LONG}"}
        http.proxy.servers[0].send(method="notifications/message", params=params)
        if events is not None:
            await events.next()


async def test_lost_messages_cost_no_answer() -> None:
    async with serving(limits=FORGETFUL) as http:
        session = await http.session()
        async with http.stream("POST", call(meta={"progressToken": "t"}), session) as events:
            (sent,) = await http.proxy.calls(1)
            await report(http, sent, events, range(1))
            last_read = events.last_id
            await report(http, sent, events, range(1, 20))
        http.proxy.servers[0].answer(sent, {"content": []})
        async with http.stream("GET", headers={**session, "Last-Event-ID": last_read}) as rest:
            messages = [message async for message in rest]
    assert 1 < len(messages) < 20
    assert messages[-1] == {"jsonrpc": "2.0", "id": 1, "result": {"content": []}}


@pytest.mark.parametrize("size", [10, 2000])
async def test_answer_outlives_messages_and_larger_answers(size: int) -> None:
    async with serving(limits=FORGETFUL) as http:
        session = await http.session()
        async with http.stream("POST", call(), session) as events:
            (sent,) = await http.proxy.calls(1)
            http.proxy.servers[0].answer(sent, {"content": []})
            assert (await events.next())["id"] == 1
        async with http.stream("GET", headers=session) as general:
            await say(http, general, 20)
        async with http.stream("POST", call(id=2), session) as events:
            *_, sent = await http.proxy.calls(2)
            http.proxy.servers[0].answer(sent, {"content": [{"type": "text", "text": "x" * size}]})
            assert (await events.next())["id"] == 2
        again = await resume(http, session, "2-0")
        other = await resume(http, session, "3-0")
    assert '"id":1,"result"' in again.text
    assert other.status_code == (200 if size < 1000 else 400)
    assert ('"id":2,"result"' in other.text) == (size < 1000)


async def test_listening_goes_on_without_the_messages_that_are_gone() -> None:
    async with serving(limits=FORGETFUL) as http:
        session = await http.session()
        async with http.stream("GET", headers=session) as events:
            await http.post(request("resources/list"), session)
            await say(http, events, 1)
            first = events.last_id
            await say(http, events, 20)
        async with http.stream("GET", headers={**session, "Last-Event-ID": first}) as events:
            sent_before = await events.next()
        await say(http, None, 30)
        await asyncio.sleep(0.1)
        async with http.stream("GET", headers={**session, "Last-Event-ID": first}) as events:
            waiting = await events.next()
    numbers = [int(message["params"]["data"].split()[0]) for message in (sent_before, waiting)]
    assert first == "0-1"
    assert 10 < numbers[0] < 20
    assert 20 < numbers[1] < 30


async def test_client_hears_that_the_stream_of_a_cancelled_call_is_complete() -> None:
    async with serving(limits=FORGETFUL) as http:
        session = await http.session()
        async with http.stream("POST", call(), session) as events:
            await http.proxy.calls(1)
            await http.post(notification("notifications/cancelled", {"requestId": 1}), session)
            with pytest.raises(StopAsyncIteration):
                await events.next()
        replies = [await resume(http, session, "2-0") for _ in range(2)]
    assert events.last_id == "2-0"
    assert [(reply.status_code, reply.content) for reply in replies] == [(204, b"")] * 2


async def test_client_hears_that_an_answered_stream_is_complete() -> None:
    async with serving(limits=FORGETFUL) as http:
        session = await http.session()
        async with http.stream("POST", call(), session) as events:
            (sent,) = await http.proxy.calls(1)
            await asyncio.sleep(0.1)
            http.proxy.servers[0].send(id=sent["id"], error={"code": -32000, "message": "bad"})
            assert (await events.next())["error"]["code"] == -32000
        reply = await resume(http, session, events.last_id)
    assert (reply.status_code, reply.content) == (204, b"")


async def test_unknown_events_are_400() -> None:
    async with serving(limits=FORGETFUL) as http:
        session = await http.session()
        pong = await http.post(request("ping"), session)
        ids = ("99-1", "nonsense", "0-", "0-1", "0-99", "1-0", "2-0", "2-1")
        statuses = {id: (await resume(http, session, id)).status_code for id in ids}
    assert pong.status_code == 200
    assert statuses == dict.fromkeys(ids, 400)


async def test_event_that_the_client_has_read_is_sent_even_if_its_connection_broke() -> None:
    unread: list[int] = []
    stream = Stream("1", History(1000), unread.append)
    for line in (b"one", b"two", b"three"):
        stream.put(line)
    assert await anext(stream.events(2, 15.0)) == StoredEvent(3, b"three")
    assert (stream.sent, sum(unread)) == (2, 5)


async def test_dropped_stream_leaves_its_room_to_others() -> None:
    history = History(10)
    streams = one, two, three = [Stream(name, history) for name in "123"]
    for stream in streams:
        stream.put(b"large")
        stream.end()
    for stream in (one, two):
        assert await numbers(stream, None) == [1]
    one.clear()
    assert await numbers(three, None) == [1]
    assert [await numbers(stream, 0) for stream in streams] == [[], [1], [1]]


async def numbers(stream: Stream, after: int | None) -> list[int]:
    """The numbers of the events of a stream that has ended."""
    return [event.number async for event in stream.events(after, 15.0) if event is not None]
