"""STD: what a stdio upstream sends besides its answers: messages in between, some noise, or nothing but junk."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from conformance.checks import check
from conformance.checks.common import must_be_echoed
from mock_servers.hostile import HOSTILE
from mock_servers.script import (
    Script,
    flood,
    notify,
    on_call,
    raw,
    reply,
    reply_in_chunks,
    wrong_id_reply,
)

if TYPE_CHECKING:
    from conformance.workbench.mocks import MockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

LOG_LINES = 2000
CHILDREN = ("prints-digits", "prints-blank-lines", "answers-no-request")


#: what an upstream sends between a call and its answer
NOTIFICATION = notify("notifications/message", {"level": "info", "data": "hello"})
ANSWERS_TO_NOTHING = [wrong_id_reply(), wrong_id_reply(987654)]
NOISE = [raw("plain text, as a debugging print leaves it\n"), raw("\n")]


@check("STD-013")
async def messages_in_pieces_and_notifications_in_between_are_read(workbench: Workbench) -> None:
    await _must_answer_after(workbench, NOTIFICATION)


@check("STD-046")
async def answers_to_no_request_are_ignored(workbench: Workbench) -> None:
    await _must_answer_after(workbench, *ANSWERS_TO_NOTHING)


@check("STD-030")
async def a_noisy_stdout_does_not_break_the_connection(workbench: Workbench) -> None:
    await _must_answer_after(workbench, *NOISE)


async def _must_answer_after(workbench: Workbench, *before: dict[str, Any]) -> None:
    """Raise `Violation` unless two calls succeed.

    The upstream writes other things before each answer, and the answer in pieces.
    """
    # The two cuts are one byte apart. Each character has three bytes, so at least one cut is inside a
    # character.
    text = "設定" * 200
    answer = reply_in_chunks([200, 1], pause=0.05, result={"content": [{"type": "text", "text": text}]})
    upstream = workbench.stdio("a", Script(on=[on_call("echo", *before, answer)]))
    async with workbench.serving(upstream) as proxy:
        for number in (1, 2):
            result = await proxy.call("a", "echo", {"number": number}, within=5.0)
            workbench.expect(
                not result.is_error and result.text == text, f"call {number} succeeds", result.raw
            )


@check("STD-024", timeout=60, slow=True)
async def nothing_but_junk_ends_the_connection(workbench: Workbench) -> None:
    """Each server would answer the call at the end of its junk, so an error means that the connection ended before."""
    chatty = workbench.stdio(
        "chatty", Script(on=[on_call("echo", flood("started\n", count=LOG_LINES), reply())])
    )
    upstreams: list[MockUpstream] = [
        *(workbench.stdio(name, HOSTILE[name].script()) for name in CHILDREN),
        await workbench.http("stream", HOSTILE["streams-digits"].script()),
    ]
    if workbench.has("SSE"):
        upstreams.append(await workbench.sse("events", HOSTILE["streams-digits-to-all"].script()))
    async with workbench.serving(chatty, *upstreams) as proxy:
        await workbench.run_cases(
            *(partial(_must_lose_its_connection, workbench, proxy, upstream) for upstream in upstreams)
        )
        with workbench.case("a child that logs to stdout"):
            await must_be_echoed(workbench, proxy, "chatty", {"x": 1})
            workbench.expect(len(chatty.starts) == 1, "it runs on", f"{len(chatty.starts)} starts")


async def _must_lose_its_connection(workbench: Workbench, proxy: Proxy, upstream: MockUpstream) -> None:
    with workbench.case(upstream.name):
        answer = await proxy.call(upstream.name, "attack", within=20.0)
        workbench.expect(answer.is_error and answer.text, "an error with a reason", answer.raw[:1000])
