"""STD: the timeouts of calls while a stdio upstream asks the user something."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import anyio

from conformance.checks import check
from conformance.errors import Violation
from mock_servers.hostile import HOSTILE
from mock_servers.script import Script, on_call, request

if TYPE_CHECKING:
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

ELICIT = "elicitation/create"
#: seconds for the answer of a call that the upstream never answers, under a timeout of 1 s
MAX_WAIT = 4.0
#: seconds that the user takes, under the same timeout
THINKING = 2.0


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
