"""Sessions over HTTP: their life, their streams, and what one client cannot do to another."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from dynamic_mcp.extras.serving.limits import ServingLimits
from tests.dynamic_mcp.clocks import skip
from tests.dynamic_mcp.extras.serving.door import (
    SESSION,
    Events,
    Http,
    call,
    notification,
    request,
    serving,
)
from tests.dynamic_mcp.frontend.test_clients import server
from tests.dynamic_mcp.helpers import eventually

#: streams begin at once
IMPATIENT = ServingLimits(patience=0.01)


async def test_session_lives_from_initialize_to_delete() -> None:
    async with serving() as http:
        session = await http.session()
        pong = await http.post(request("ping"), session)
        ended = await http.client.delete(http.url, headers=session)
        late = await http.post(request("ping"), session)
        again = await http.client.delete(http.url, headers=session)
    assert pong.json() == {"jsonrpc": "2.0", "id": 1, "result": {}}
    assert pong.headers["content-type"] == "application/json"
    assert [ended.status_code, late.status_code, again.status_code] == [204, 404, 404]
    assert len(session[SESSION]) >= 32


@pytest.mark.parametrize(("method", "missing"), [("POST", 400), ("GET", 405), ("DELETE", 400)])
async def test_missing_session_is_refused_and_unknown_one_is_404(method: str, missing: int) -> None:
    async with serving() as http:
        statuses = [
            (await http.client.request(method, http.url, json=request("ping"), headers=headers)).status_code
            for headers in ({"Accept": "*/*"}, {"Accept": "*/*", SESSION: "made-up"})
        ]
    assert statuses == [missing, 404]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/json; charset=utf-8"}, 200),
        ({"Content-Encoding": "gzip"}, 415),
        ({"Accept": "text/html"}, 406),
        ({"Accept": "text/html, application/json;q=0"}, 406),
        ({"Accept": "*/*"}, 200),
        ({"Accept": "text/*, application/*;q=0.5"}, 200),
        ({"MCP-Protocol-Version": "1999-01-01"}, 400),
        ({"MCP-Protocol-Version": "2025-06-18"}, 200),
    ],
)
async def test_headers_of_a_post(headers: dict[str, str], status: int) -> None:
    async with serving() as http:
        session = await http.session()
        answer = await http.post(request("ping"), {**session, **headers})
    assert answer.status_code == status
    assert ("error" in answer.json()) == (status != 200)


@pytest.mark.parametrize(
    "accept", ["application/json", "text/event-stream", "text/event-stream, application/json;q=0"]
)
async def test_client_that_takes_one_form_gets_it(accept: str) -> None:
    expected = accept.partition(",")[0]
    async with serving() as http:
        params = {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "c", "version": "1"},
        }
        hello = await http.post(request("initialize", params), {"Accept": accept})
        session = {SESSION: hello.headers[SESSION], "Accept": accept}
        pong = await http.post(request("ping"), session)
    for answer in (hello, pong):
        assert (answer.status_code, answer.headers["content-type"]) == (200, expected)
        assert '"result":' in answer.text


@pytest.mark.slow
async def test_client_that_takes_json_gets_a_late_answer_alone() -> None:
    async with serving(limits=IMPATIENT) as http:
        session = await http.session()
        async with http.stream("GET", headers=session) as events:
            posting = asyncio.ensure_future(
                http.post(call(meta={"progressToken": "t"}), {**session, "Accept": "application/json"})
            )
            (sent,) = await http.proxy.calls(1)
            token = sent["params"]["_meta"]["progressToken"]
            (shared,) = http.proxy.servers
            shared.send(method="notifications/progress", params={"progressToken": token, "progress": 1})
            announced = await events.next()
            shared.answer(sent, {"content": []})
            answer = await posting
    assert announced["method"] == "notifications/progress"
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"jsonrpc": "2.0", "id": 1, "result": {"content": []}}


@pytest.mark.parametrize("method", ["PUT", "PATCH", "OPTIONS", "HEAD"])
async def test_other_methods_are_405(method: str) -> None:
    async with serving() as http:
        answer = await http.client.request(method, http.url)
    assert answer.status_code == 405
    assert "POST" in answer.headers["allow"]


@pytest.mark.parametrize(
    ("body", "code"), [(b"{", -32700), (b"7", -32600), (b"[]", -32600), (b'{"jsonrpc":"2.0"}', -32600)]
)
async def test_what_is_no_message_is_400(body: bytes, code: int) -> None:
    async with serving() as http:
        session = await http.session("2025-03-26")
        answers = [await http.post(body, headers) for headers in (session, {})]
    assert answers[0].json()["error"]["code"] == code
    assert answers[1].status_code == 400


async def test_large_body_is_413_with_and_without_a_length() -> None:
    async def pieces() -> Any:
        for _ in range(3):
            yield b" " * 1000

    async with serving(limits=ServingLimits(max_body=2000)) as http:
        session = await http.session()
        known = await http.post(b" " * 3000, session)
        headers = {**session, "Content-Type": "application/json", "Accept": "*/*"}
        unknown = await http.client.post(http.url, content=pieces(), headers=headers)
        good = await http.post(request("ping"), session)
    assert [known.status_code, unknown.status_code, good.status_code] == [413, 413, 200]


@pytest.mark.slow
async def test_slow_body_is_408() -> None:
    async def slow() -> Any:
        yield b"{"
        await asyncio.sleep(5)

    async with serving(limits=ServingLimits(body_time=0.1)) as http:
        session = await http.session()
        headers = {**session, "Content-Type": "application/json", "Accept": "*/*"}
        answer = await http.client.post(http.url, content=slow(), headers=headers)
    assert answer.status_code == 408


@pytest.mark.slow
async def test_progress_and_answer_come_on_the_stream_of_the_call() -> None:
    async with serving() as http:
        one, two = await http.session(), await http.session()
        async with http.stream("POST", call(meta={"progressToken": "t"}), one) as events:
            (sent,) = await http.proxy.calls(1)
            (shared,) = http.proxy.servers
            token = sent["params"]["_meta"]["progressToken"]
            shared.send(method="notifications/progress", params={"progressToken": token, "progress": 1})
            shared.answer(sent, {"content": []})
            progress, answer = await events.next(), await events.next()
            with pytest.raises(StopAsyncIteration):
                await events.next()
        other = await http.post(request("ping"), two)
    assert progress["params"]["progressToken"] == "t"
    assert answer["id"] == 1
    assert other.json()["result"] == {}


@pytest.mark.slow
async def test_question_during_a_call_comes_on_its_stream() -> None:
    async with serving() as http:
        session = await http.session(capabilities={"sampling": {}})
        async with http.stream("POST", call(), session) as events:
            (sent,) = await http.proxy.calls(1)
            (shared,) = http.proxy.servers
            asked = asyncio.ensure_future(shared.asks("q", "why"))
            question = await events.next()
            sample = {
                "role": "assistant",
                "model": "m",
                "content": {"type": "text", "text": "so"},
            }
            reply = {"jsonrpc": "2.0", "id": question["id"], "result": sample}
            accepted = await http.post(reply, session)
            answer = await asked
            shared.answer(sent, {"content": []})
            assert (await events.next())["id"] == 1
    assert question["method"] == "sampling/createMessage"
    assert (accepted.status_code, accepted.content) == (202, b"")
    assert answer["result"]["model"] == "m"


@pytest.mark.slow
async def test_announcement_comes_on_the_stream_of_get() -> None:
    async with serving() as http:
        session = await http.session()
        async with http.stream("GET", headers=session) as events:
            assert events.response.headers["content-type"] == "text/event-stream"
            async with http.stream("POST", call(), session) as answer:
                (sent,) = await http.proxy.calls(1)
                http.proxy.servers[0].send(
                    method="notifications/message", params={"level": "error", "data": "oh"}
                )
                assert (await events.next())["params"]["data"] == "oh"
                http.proxy.servers[0].answer(sent, {"content": []})
                assert (await answer.next())["id"] == 1


async def test_backlog_without_a_stream_is_bounded_and_comes_later() -> None:
    async with serving(limits=ServingLimits(max_backlog=3000)) as http:
        session = await http.session()
        await http.post(request("resources/list"), session)
        for number in range(40):
            http.proxy.servers[0].send(
                method="notifications/message", params={"level": "error", "data": f"{number:0200}"}
            )
        await asyncio.sleep(0.1)
        async with http.stream("GET", headers=session) as events:
            first = await events.next()
    assert 20 < int(first["params"]["data"]) < 40


@pytest.mark.parametrize("version", ["2025-06-18", "2025-11-25"])
async def test_broken_stream_is_resumed_after_the_last_event(version: str) -> None:
    async with serving(limits=IMPATIENT) as http:
        session = await http.session(version)
        async with http.stream("POST", call(meta={"progressToken": "t"}), session) as events:
            (sent,) = await http.proxy.calls(1)
            (shared,) = http.proxy.servers
            token = sent["params"]["_meta"]["progressToken"]
            shared.send(method="notifications/progress", params={"progressToken": token, "progress": 1})
            await events.next()
            last = events.last_id
        shared.answer(sent, {"content": []})
        headers = {**session, "Last-Event-ID": last}
        for _ in range(2):
            # A client whose second connection breaks too begins at the same event.
            async with http.stream("GET", headers=headers) as rest:
                assert (await rest.next())["id"] == 1
                with pytest.raises(StopAsyncIteration):
                    await rest.next()
        cancelled = shared.requests("notifications/cancelled")
    assert cancelled == []


async def test_request_in_flight_keeps_its_stream_however_many_others_end() -> None:
    """The one that ended first makes room for others, and not the one that began first."""
    async with serving(limits=ServingLimits(patience=0.01, max_kept=1)) as http:
        session = await http.session()

        async def begin(id: int, events: Events) -> dict[str, Any]:
            *_, sent = await http.proxy.calls(id)
            params = {"progressToken": sent["params"]["_meta"]["progressToken"], "progress": 1}
            http.proxy.servers[0].send(method="notifications/progress", params=params)
            await events.next()
            return sent

        async with http.stream("POST", call(id=1, meta={"progressToken": 1}), session) as events:
            long = await begin(1, events)
            lost = events.last_id
        for id in range(2, 6):
            async with http.stream("POST", call(id=id, meta={"progressToken": id}), session) as events:
                http.proxy.servers[0].answer(await begin(id, events), {"content": []})
                assert (await events.next())["id"] == id
                last = events.last_id
        kept = await resumed(http, session, last)
        http.proxy.servers[0].answer(long, {"content": []})
        async with http.stream("GET", headers={**session, "Last-Event-ID": lost}) as rest:
            assert (await rest.next())["id"] == 1
        replaced = await resumed(http, session, last)
    assert (kept, replaced) == (204, 400)


async def resumed(http: Http, session: dict[str, str], last_id: str) -> int:
    """The status of the reply to a client that resumes a stream."""
    headers = {**session, "Accept": "*/*", "Last-Event-ID": last_id}
    return (await http.client.get(http.url, headers=headers)).status_code


async def test_stream_begins_with_an_empty_event_and_a_time_to_come_back() -> None:
    async with serving(limits=IMPATIENT) as http:
        session = await http.session()
        posting = asyncio.ensure_future(http.post(call(), session))
        (sent,) = await http.proxy.calls(1)
        await asyncio.sleep(0.1)
        http.proxy.servers[0].answer(sent, {"content": []})
        begin, event, *_ = (await posting).text.split("\n\n")
    assert begin.splitlines() == ["id: 2-0", "retry: 1000", "data: "]
    assert event.startswith("event: message\nid: ")


@pytest.mark.parametrize("version", ["2025-03-26", "2025-06-18"])
async def test_stream_of_an_older_client_has_no_event_before_the_first_message(version: str) -> None:
    async with serving(limits=IMPATIENT) as http:
        session = await http.session(version)
        posting = asyncio.ensure_future(http.post(call(), session))
        (sent,) = await http.proxy.calls(1)
        await asyncio.sleep(0.1)
        http.proxy.servers[0].answer(sent, {"content": []})
        begin, event, *_ = (await posting).text.split("\n\n")
    assert begin == ": "
    assert event.startswith("event: message\nid: 2-1\ndata: {")


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
@pytest.mark.parametrize("shared", [True, False])
async def test_unknown_version_gets_the_revisions_that_it_can_use(method: str, shared: bool) -> None:
    async with serving(server("a", shared=shared)) as http:
        session = await http.session()
        headers = {**session, "Accept": "*/*", "MCP-Protocol-Version": "1999-01-01"}
        answer = await http.client.request(method, http.url, json=request("ping"), headers=headers)
        supported = answer.json()["error"]["data"]["supported"]
        good = [(await http.session(version)) for version in supported if version != "2026-07-28"]
    assert answer.status_code == 400
    assert ("2026-07-28" in supported) == shared
    assert len(good) == 4


async def test_event_of_another_session_means_nothing() -> None:
    async with serving(limits=IMPATIENT) as http:
        one, two = await http.session(), await http.session()
        posting = asyncio.ensure_future(http.post(call(), one))
        (sent,) = await http.proxy.calls(1)
        await asyncio.sleep(0.1)
        http.proxy.servers[0].answer(sent, {"content": [{"type": "text", "text": "secret"}]})
        found = (await posting).text
        id = next(line[4:] for line in found.splitlines() if line.startswith("id: "))
        stolen = await http.client.get(http.url, headers={**two, "Accept": "*/*", "Last-Event-ID": id})
    assert "secret" in found
    assert (stolen.status_code, "secret" in stolen.text) == (400, False)


@pytest.mark.parametrize(
    ("accept", "status"), [("application/json, text/event-stream", 200), ("application/json", 204)]
)
async def test_cancelled_request_gets_no_answer(accept: str, status: int) -> None:
    async with serving() as http:
        session = await http.session()
        posting = asyncio.ensure_future(http.post(call(), {**session, "Accept": accept}))
        await http.proxy.calls(1)
        other = await http.session()
        cancel = notification("notifications/cancelled", {"requestId": 1})
        assert (await http.post(cancel, other)).status_code == 202
        assert not posting.done()
        assert (await http.post(cancel, session)).status_code == 202
        answer = await posting
        (shared,) = http.proxy.servers
        await eventually(lambda: shared.requests("notifications/cancelled"), "a cancellation")
    assert answer.status_code == status
    assert "data:" not in answer.text
    assert ("content-type" in answer.headers) == (status == 200)


async def test_client_that_goes_cancels_nothing_in_a_session() -> None:
    async with serving() as http:
        session = await http.session()
        with pytest.raises(httpx.ReadTimeout):
            await http.post(call(), session, timeout=0.2)
        (sent,) = await http.proxy.calls(1)
        (shared,) = http.proxy.servers
        shared.answer(sent, {"content": []})
        pong = await http.post(request("ping"), session)
        assert shared.requests("notifications/cancelled") == []
    assert pong.status_code == 200


async def test_batch_of_2025_03_26_gets_one_answer() -> None:
    batch = [request("ping", id=1), notification("notifications/nothing"), request("tools/list", id=2)]
    async with serving() as http:
        old, new = await http.session("2025-03-26"), await http.session()
        answers = await http.post(batch, old)
        quiet = await http.post(batch[1:2], old)
        refused = await http.post(batch, new)
    assert [answer["id"] for answer in answers.json()] == [1, 2]
    assert quiet.status_code == 202
    assert refused.json()["error"]["code"] == -32600


@pytest.mark.slow
async def test_sessions_and_streams_are_bounded() -> None:
    async with serving(limits=ServingLimits(max_sessions=2, max_streams=1)) as http:
        session = await http.session()
        await http.session()
        third = await http.post(request("initialize", {"protocolVersion": "2025-11-25"}))
        posting = asyncio.ensure_future(http.post(call(), session))
        await http.proxy.calls(1)
        busy = await http.post(request("ping"), session)
        posting.cancel()
    assert (third.status_code, busy.status_code) == (503, 429)
    assert "retry-after" in third.headers


async def test_new_session_takes_the_place_of_an_unused_one() -> None:
    async with serving(limits=ServingLimits(max_sessions=2, idle_enough=0.05)) as http:
        old, used = await http.session(), await http.session()
        async with http.stream("GET", headers=used):
            await asyncio.sleep(0.2)
            await http.session()
            statuses = [(await http.post(request("ping"), one)).status_code for one in (old, used)]
    assert statuses == [404, 200]


async def test_idle_session_ends_but_not_one_with_a_stream() -> None:
    async with serving(limits=ServingLimits(idle=60.0)) as http:
        idle, used = await http.session(), await http.session()
        async with http.stream("GET", headers=used):
            await skip(61.0)
            await eventually(lambda: len(http.proxy.clients.open_clients) == 1, "the end of a session")
            statuses = [(await http.post(request("ping"), one)).status_code for one in (idle, used)]
    assert statuses == [404, 200]


async def test_server_for_one_client_starts_when_its_session_uses_it() -> None:
    async with serving(server("a", shared=False), server("b", shared=False), server("c")) as http:
        one, two = await http.session(), await http.session()
        assert (await http.post(request("tools/list"), one)).json()["result"]["tools"]
        await eventually(lambda: http.proxy.servers, "the shared server")
        calling = asyncio.ensure_future(http.post(call("b"), two))
        (sent,) = await http.proxy.calls(1)
        assert sorted(each.name for each in http.proxy.servers) == ["b", "c"]
        next(each for each in http.proxy.servers if each.name == "b").answer(sent, {"content": []})
        assert (await calling).json()["result"]
        await http.post(request("resources/list"), one)
        assert sorted(each.name for each in http.proxy.servers) == ["a", "b", "b", "c"]


async def test_server_for_one_client_ends_with_its_session() -> None:
    async with serving(server("a", shared=False)) as http:
        one, two = await http.session(), await http.session()
        for session in (one, two):
            await http.post(request("resources/list"), session)
        assert len(http.proxy.servers) == 2
        await http.client.delete(http.url, headers=one)
        await eventually(lambda: [each.closed for each in http.proxy.servers] == [True, False], "one end")
        assert (await http.post(request("ping"), two)).status_code == 200


@pytest.mark.slow
async def test_end_of_the_proxy_answers_what_is_in_flight() -> None:
    async with serving(limits=IMPATIENT) as http:
        session = await http.session()
        async with http.stream("POST", call(), session) as events:
            await http.proxy.calls(1)
            await http.door.close()
            answer = await events.next()
    assert answer["id"] == 1
    assert "error" in answer or answer["result"]["isError"]


async def test_status_names_the_clients() -> None:
    async with serving(token="t" * 20) as http:
        url = http.url.replace("/mcp", "/status")
        refused = await http.client.get(url)
        http.client.headers["Authorization"] = f"Bearer {'t' * 20}"
        await http.session()
        found = await http.client.get(url)
    assert refused.status_code == 401
    assert [client["name"] for client in found.json()["clients"]] == ["c"]
