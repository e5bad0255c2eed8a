"""``--share`` with real processes: one set of servers, and any process may die at any time."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from functools import partial
from typing import Any

import pytest

from dynamic_mcp.extras.sharing.memory import LOST
from mock_servers.script import Rule, Script, on_call, reply, request, silence
from tests.dynamic_mcp.extras.sharing.sessions import Session, sharing
from tests.dynamic_mcp.fakes import REQUEST_META
from tests.dynamic_mcp.helpers import eventually, is_alive

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no unix sockets for this"),
]

HOLDS = Script(on=[on_call("echo", silence())])
RESOURCES = Script(
    resources=[{"uri": "x://1", "name": "one"}],
    capabilities={"resources": {"subscribe": True}, "tools": {}},
    on=[Rule("resources/subscribe", [reply(result={})])],
)


async def test_sessions_that_start_at_the_same_moment_share_one_process_and_one_server() -> None:
    async with sharing() as shared:
        upstream = shared.bench.stdio("a")
        config = shared.bench.config(upstream)
        sessions = await asyncio.gather(*(shared.session(config) for _ in range(5)))
        await asyncio.gather(*(session.handshake() for session in sessions))
        answers = await asyncio.gather(
            *(session.call(1, "a", text=str(n)) for n, session in enumerate(sessions))
        )
        for number, answer in enumerate(answers):
            assert answer["result"]["structuredContent"] == {"arguments": {"text": str(number)}}
        assert len(await shared.serving()) == 1
        assert len(upstream.pids) == 1
        assert [await session.end() for session in sessions] == [0] * 5
        await shared.wait_until_over()


async def test_next_session_within_the_time_meets_the_same_server() -> None:
    async with sharing() as shared:
        upstream = shared.bench.stdio("a")
        config = shared.bench.config(upstream)
        first = await (await shared.session(config, linger="60s")).handshake()
        await first.call(1, "a")
        await first.end()
        second = await (await shared.session(config)).handshake()
        await second.call(1, "a")
        assert len(upstream.pids) == 1


async def test_death_of_one_client_hurts_no_other_one() -> None:
    async with sharing() as shared:
        upstream = shared.bench.stdio("a", HOLDS)
        config = shared.bench.config(upstream)
        one, two = [await (await shared.session(config)).handshake() for _ in range(2)]
        one.begin_call("lost", "a")
        two.begin_call("kept", "a")
        await eventually(lambda: len(upstream.requests("tools/call")) == 2, "both calls")
        one.process.kill()
        await eventually(lambda: upstream.requests("notifications/cancelled"), "the cancellation")
        assert len(upstream.requests("notifications/cancelled")) == 1
        assert (await two.request("p", "ping"))["result"] == {}
        assert [report["clients"][0]["in_flight"] for report in (await shared.status())[1]] == [1]
        two.process.kill()
        await shared.wait_until_over()


async def test_kill_of_the_serving_process_starts_one_other_for_all() -> None:
    async with sharing() as shared:
        upstream = shared.bench.stdio("a", HOLDS)
        other = shared.bench.stdio("b")
        config = shared.bench.config(upstream, other)
        sessions = [await (await shared.session(config)).handshake() for _ in range(3)]
        for session in sessions:
            session.begin_call("lost", "a")
        await eventually(lambda: len(upstream.requests("tools/call")) == 3, "the calls")
        (killed,) = await shared.serving()
        os.kill(killed, signal.SIGKILL)
        for session in sessions:
            assert (await session.answer("lost"))["error"]["message"] == LOST
            # The session goes on without a second handshake of the client.
            assert "result" in await session.call("again", "b", text="x")
            assert len([message for message in session.got if message.get("id") == "hello"]) == 1
        (serving,) = await shared.serving()
        assert serving != killed
        await eventually(lambda: sum(map(is_alive, upstream.pids)) == 1, "the first server ends")
        assert [await session.end() for session in sessions] == [0] * 3
        await shared.wait_until_over()


async def test_after_a_kill_clients_hear_what_may_have_changed_meanwhile() -> None:
    async with sharing() as shared:
        config = shared.bench.config(shared.bench.stdio("a", RESOURCES))
        session = await (await shared.session(config)).handshake()
        await session.request("l", "resources/list")
        await session.request("s", "resources/subscribe", uri="x://1")
        listening = await shared.session(config)
        await listening.request("l", "resources/list", _meta=REQUEST_META)
        wanted = {"resourcesListChanged": True, "resourceSubscriptions": ["x://1"]}
        listening.send(
            id="s", method="subscriptions/listen", params={"notifications": wanted, "_meta": REQUEST_META}
        )
        await eventually(lambda: _of(listening, "notifications/subscriptions/acknowledged"), "it listens")
        (serving,) = await shared.serving()
        os.kill(serving, signal.SIGKILL)
        for one, meta in ((session, None), (listening, {"io.modelcontextprotocol/subscriptionId": "s"})):
            for method in ("notifications/resources/list_changed", "notifications/resources/updated"):
                (told,) = await eventually(partial(_of, one, method), method)
                assert told.get("params", {}).get("_meta") == meta
            await one.end()
        assert len(_of(listening, "notifications/subscriptions/acknowledged")) == 1
        await shared.wait_until_over()


async def test_end_of_the_serving_process_by_a_signal_answers_the_calls() -> None:
    async with sharing() as shared:
        upstream = shared.bench.stdio("a", HOLDS)
        config = shared.bench.config(upstream)
        session = await (await shared.session(config)).handshake()
        session.begin_call("held", "a")
        await eventually(lambda: upstream.requests("tools/call"), "the call")
        (serving,) = await shared.serving()
        os.kill(serving, signal.SIGTERM)
        assert "before the proxy had to end" in json.dumps(await session.answer("held"))
        assert (await session.request("p", "ping"))["result"] == {}
        assert (await shared.serving()) != [serving]
        await session.end()
        await shared.wait_until_over()


async def test_list_that_was_on_its_way_comes_from_the_next_process() -> None:
    async with sharing() as shared:
        session = await (await shared.session(shared.bench.config(shared.bench.stdio("a")))).handshake()
        (serving,) = await shared.serving()
        os.kill(serving, signal.SIGSTOP)
        session.send(id="list", method="tools/list")
        session.begin_call("call", "a")
        os.kill(serving, signal.SIGKILL)
        assert "may have been carried out" in json.dumps(await session.answer("call"))
        assert (await session.answer("list"))["result"]["tools"]
        await session.end()
        await shared.wait_until_over()


async def test_nothing_is_left_after_everything_was_killed() -> None:
    async with sharing() as shared:
        config = shared.bench.config(shared.bench.stdio("a"), shared.bench.stdio("own").variant(shared=False))
        sessions = [await (await shared.session(config)).handshake() for _ in range(2)]
        for session in sessions:
            await session.call(1, "a")
            await session.call(2, "own")
        pids = [*(await shared.serving()), *(session.process.pid for session in sessions)]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        await shared.wait_until_over()


async def test_starter_that_is_killed_takes_nothing_with_it() -> None:
    async with sharing() as shared:
        config = shared.bench.config(shared.bench.stdio("a"))
        one, two = [await (await shared.session(config)).handshake() for _ in range(2)]
        one.process.kill()
        assert "result" in await two.call(1, "a")
        await two.end()
        await shared.wait_until_over()


async def test_state_of_one_client_needs_a_process_of_its_own() -> None:
    async with sharing() as shared:
        upstream = shared.bench.stdio("own").variant(shared=False)
        config = shared.bench.config(upstream)
        one, two = [await (await shared.session(config)).handshake() for _ in range(2)]
        await one.call(1, "own")
        await two.call(1, "own")
        assert len(upstream.pids) == 2
        await one.end()
        await eventually(lambda: sum(map(is_alive, upstream.pids)) == 1, "its server ends at once")
        assert "result" in await two.call(2, "own")
        await two.end()
        await shared.wait_until_over()


async def test_other_environment_gets_another_process() -> None:
    async with sharing() as shared:
        upstream = shared.bench.stdio("a").variant(env={"KEY": "${KEY_OF_THE_TEST}"})
        config = shared.bench.config(upstream)
        one = await (await shared.session(config, KEY_OF_THE_TEST="1")).handshake()
        two = await (await shared.session(config, KEY_OF_THE_TEST="2")).handshake()
        three = await (await shared.session(config, KEY_OF_THE_TEST="2", UNUSED="1")).handshake()
        for session in (one, two, three):
            await session.call(1, "a")
        assert len(await shared.serving()) == len(upstream.pids) == 2
        for session in (one, two, three):
            await session.end()
        await shared.wait_until_over()


async def test_question_of_a_killed_process_is_withdrawn_and_its_late_answer_dropped() -> None:
    asks = request("sampling/createMessage", QUESTION, id="q", wait=30.0)
    async with sharing() as shared:
        upstream = shared.bench.stdio("a", Script(on=[on_call("echo", asks, reply())]))
        config = shared.bench.config(upstream)
        session = await (await shared.session(config)).handshake(sampling={})
        session.begin_call("c", "a")
        (question,) = await eventually(lambda: _of(session, "sampling/createMessage"), "a question")
        (serving,) = await shared.serving()
        os.kill(serving, signal.SIGKILL)
        (withdrawn,) = await eventually(lambda: _of(session, "notifications/cancelled"), "its withdrawal")
        assert withdrawn["params"]["requestId"] == question["id"]
        assert (await session.answer("c"))["error"]["message"] == LOST
        session.send(id=question["id"], result={"late": True})
        session.begin_call("d", "a")
        await eventually(lambda: len(_of(session, "sampling/createMessage")) == 2, "another question")
        second = _of(session, "sampling/createMessage")[1]
        assert second["id"] != question["id"]
        session.send(id=second["id"], result=SAMPLE)
        assert "result" in await session.answer("d")
        await session.end()
        await shared.wait_until_over()


SAMPLE = {"role": "assistant", "content": {"type": "text", "text": "x"}, "model": "m"}
QUESTION = {"messages": [{"role": "user", "content": {"type": "text", "text": "x"}}], "maxTokens": 1}


async def test_mistakes_are_told_on_the_stderr_of_the_client() -> None:
    async with sharing() as shared:
        config = shared.bench.sandbox.cwd / "config.json"
        config.write_text('{"mcpServers": 1}')
        session = await shared.session(config)
        assert await session.ended() == 2
        assert b"mcpServers" in session.stderr
        assert await shared.serving() == []
        assert shared.processes() == []


async def test_large_messages_pass_in_both_directions() -> None:
    async with sharing() as shared:
        config = shared.bench.config(shared.bench.stdio("a"))
        session = await (await shared.session(config)).handshake()
        text = "x" * (3 << 20)
        assert (await session.call(1, "a", text=text))["result"]["structuredContent"]["arguments"] == {
            "text": text
        }
        await session.end()


async def test_client_that_does_not_read_stops_no_other_one() -> None:
    large = reply({"content": [{"type": "text", "text": "x" * (4 << 20)}]})
    async with sharing() as shared:
        upstream = shared.bench.stdio("a", Script(on=[on_call("echo", large)]))
        config = shared.bench.config(upstream)
        one, two = [await (await shared.session(config)).handshake() for _ in range(2)]
        one.process.send_signal(signal.SIGSTOP)
        for number in range(12):
            one.begin_call(number, "a")
        one.process.send_signal(signal.SIGCONT)
        one.stop_reading()
        await eventually(lambda: len(upstream.requests("tools/call")) == 12, "the calls")
        assert "result" in await two.call(1, "a")
        await two.end()
        one.process.kill()
        await shared.wait_until_over()


async def test_status_tells_who_is_attached_and_which_groups_run() -> None:
    async with sharing() as shared:
        assert await shared.status() == (1, [])
        upstream = shared.bench.stdio("a")
        config = shared.bench.config(upstream)
        session = await (await shared.session(config)).handshake()
        await session.call(1, "a")
        status, (report,) = await shared.status(str(config))
        assert status == 0
        (client,), (group,) = report["clients"], report["groups"]
        assert (client["name"], client["calls"], client["in_flight"], client["reads"]) == (
            "a-test",
            1,
            0,
            True,
        )
        assert client["origin"] == f"pid {session.process.pid}"
        assert (group["name"], group["client"], group["connected"], group["requests"]) == ("a", None, True, 1)
        assert group["pid"] in upstream.pids
        assert report["memory"] > 1 << 20
        assert group["memory"] > 1 << 20
        assert await shared.status("another.json") == (1, [])
        shown = await shared.run("status")
        assert "a-test 1 (pid" in shown
        assert "group a: since" in shown
        await session.end()


def _of(session: Session, method: str) -> list[dict[str, Any]]:
    return [message for message in session.got if message.get("method") == method]
