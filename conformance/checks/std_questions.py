"""STD: the requests of stdio upstreams, and the timeouts of calls while an upstream asks the user something."""

from __future__ import annotations

import time
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from conformance.checks import check
from conformance.checks.common import SESSIONS, is_echo
from conformance.errors import Violation
from mock_servers.hostile import HOSTILE
from mock_servers.script import Script, on_call, reply, request, send, sleep

if TYPE_CHECKING:
    from conformance.workbench.mocks import MockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

ELICIT = "elicitation/create"
#: seconds for the answer of a call that the upstream never answers, under a timeout of 1 s
MAX_WAIT = 4.0
#: seconds that the user takes, under the same timeout
THINKING = 2.0


SAMPLING = "sampling/createMessage"
TO_SAMPLE = {"messages": [{"role": "user", "content": {"type": "text", "text": "hi"}}], "maxTokens": 5}


@check("STD-020", timeout=60, slow=True)
async def requests_from_the_upstream_are_answered(workbench: Workbench) -> None:
    cases = [partial(_answers_a_child, workbench)]
    if workbench.has("HTTP") and not workbench.sut.profile.relay:
        cases.append(partial(_answers_a_server_behind_a_url, workbench))
    await workbench.run_cases(*cases)


async def _answers_a_child(workbench: Workbench) -> None:
    """One ping has the id of the pending call. The proxy must not take it for the response. Another one has the id 0.

    The last ping comes while no call is pending.
    """
    asks = [
        send({"jsonrpc": "2.0", "id": "$id", "method": "ping"}),
        request(SAMPLING, TO_SAMPLE, id="sampling", wait=5.0),
        request("example/unknown", id="unknown", wait=5.0),
        request("ping", id=0, wait=5.0),
    ]
    rules = [on_call("echo", *asks, reply()), on_call("add", reply(), sleep(0.5), request("ping", id="idle"))]
    upstream = workbench.stdio("a", Script(on=rules))
    # The client of a relay answers, and refuses what it did not declare.
    async with (
        workbench.serving(upstream) as proxy,
        proxy.answering({}) if workbench.sut.profile.relay else nullcontext(),
    ):
        result = await proxy.call("a", "echo", {"x": 1}, within=20.0)
        workbench.expect(is_echo(result, {"x": 1}), "the call completes", result.raw)
        call = upstream.first_call
        for id_ in (0, call.id):
            await _must_get_an_empty_result(workbench, upstream, id_)
        for id_ in ("sampling", "unknown"):
            answer = await _answer_to(workbench, upstream, id_)
            what = f"an error for the request {id_!r}, which the proxy did not declare"
            workbench.expect(isinstance(answer.get("error"), dict), what, answer)
        # A second answer to a request would come before this call, because the connection keeps its order.
        await proxy.call("a", "add", {"a": 1, "b": 2})
        ids = [entry.data["id"] for entry in upstream.events("answer") if entry.data["id"] != "idle"]
        workbench.expect(len(ids) == 4, "one answer to each of the four requests", ids)
        await anyio.sleep(1.0)
        # A proxy may end the process of each call.
        if upstream.requests("tools/call")[-1].pid in upstream.alive:
            await _must_get_an_empty_result(workbench, upstream, "idle")


async def _answers_a_server_behind_a_url(workbench: Workbench) -> None:
    asks = [request(SAMPLING, TO_SAMPLE, id="sampling", wait=5.0), request("ping", id="ping", wait=5.0)]
    upstream = await workbench.http("remote", Script(http=SESSIONS, on=[on_call("echo", *asks, reply())]))
    async with workbench.serving(upstream) as proxy:
        result = await proxy.call("remote", "echo", {"x": 1}, within=15.0)
        workbench.expect(is_echo(result, {"x": 1}), "the call completes", result.raw)
        await _must_get_an_empty_result(workbench, upstream, "ping")
        answer = await _answer_to(workbench, upstream, "sampling")
        what = "an error for sampling, which the proxy did not declare"
        workbench.expect(isinstance(answer.get("error"), dict), what, answer)


async def _must_get_an_empty_result(workbench: Workbench, upstream: MockUpstream, id_: Any) -> None:
    answer = await _answer_to(workbench, upstream, id_)
    given = answer.get("result")
    is_empty = isinstance(given, dict) and not given.keys() - {"_meta"}
    workbench.expect(is_empty, f"an empty result for the ping {id_!r}", answer)


async def _answer_to(workbench: Workbench, upstream: MockUpstream, id_: Any) -> dict[str, Any]:
    def answers() -> list[dict[str, Any]]:
        return [entry.message or {} for entry in upstream.events("answer") if entry.data["id"] == id_]

    return (await workbench.eventually(answers, within=5.0, what=f"an answer to the request {id_!r}"))[0]


@check("STD-025", timeout=40, slow=True)
async def a_question_stops_the_clock_of_its_own_call_only(workbench: Workbench) -> None:
    """A proxy that never passes a question on has no clock to stop."""
    timeout = {"tools": "1s"}
    question = request(
        ELICIT, {"message": "Well?", "requestedSchema": {"type": "object", "properties": {}}}, wait=9.0
    )
    honest = workbench.stdio("honest", Script(on=[on_call("echo", question)]), timeout=timeout)
    hostile = workbench.stdio("hostile", HOSTILE["asks-for-ever"].script(), timeout=timeout)
    async with workbench.proxy(honest, hostile) as proxy:
        proxy.capabilities = {"elicitation": {}}
        await proxy.handshake()
        await proxy.ready(honest, hostile)
        with workbench.case("a call during which the user takes two seconds"):
            await _must_wait_for_the_user(workbench, proxy)
        with workbench.case("other calls of a server that asks for ever"):
            await _must_time_out_other_calls(workbench, proxy)


async def _must_wait_for_the_user(workbench: Workbench, proxy: Proxy) -> None:
    await proxy.begin("tools/call", proxy.call_params("honest", "echo", {"a": 1}), id=1)
    asked = await _question(workbench, proxy, 1)
    if asked is None:
        workbench.note("the proxy passes no question on, so the check does not judge the call that asks")
        return
    await anyio.sleep(THINKING)
    await proxy.send({"id": asked["id"], "result": {"action": "accept", "content": {}}})
    (answer,) = await workbench.eventually(
        lambda: [message for message in proxy.received if message.get("id") == 1 and "method" not in message],
        within=5.0,
        what="an answer to the call",
    )
    is_right = "result" in answer and not answer["result"].get("isError")
    workbench.expect(is_right, "the call succeeds, although the answer took longer than the timeout", answer)


async def _must_time_out_other_calls(workbench: Workbench, proxy: Proxy) -> None:
    before = len(_questions(proxy))
    await proxy.begin("tools/call", proxy.call_params("hostile", "silent"), id=2)
    began = time.monotonic()
    await anyio.sleep(0.2)
    await proxy.begin("tools/call", proxy.call_params("hostile", "attack"), id=3)
    await _question(workbench, proxy, before + 1)
    await workbench.eventually(
        lambda: any(message.get("id") == 2 and "method" not in message for message in proxy.received),
        within=MAX_WAIT,
        what="the call before the question ends with its timeout",
    )
    workbench.expect(time.monotonic() - began <= MAX_WAIT, "it ends in time", "later")
    await proxy.call("hostile", "silent", within=MAX_WAIT)


def _questions(proxy: Proxy) -> list[dict[str, Any]]:
    return [message for message in proxy.received if message.get("method") == ELICIT]


async def _question(workbench: Workbench, proxy: Proxy, number: int) -> dict[str, Any] | None:
    """The question with this number; None if it does not come."""
    try:
        found = await workbench.eventually(
            lambda: _questions(proxy)[number - 1 :], within=1.0, what="a question to the user"
        )
    except Violation:
        return None
    return found[0]
