"""OPS: the last requests of a client that closes its end of stdin."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from conformance.checks import check
from conformance.checks.common import must_be_echo, needs_names_of_tools
from conformance.model.registry import NEWEST_LEGACY
from conformance.workbench.client import CLIENT_INFO
from conformance.workbench.inbox import Answer
from mock_servers.script import Script, on_call, silence, sleep

if TYPE_CHECKING:
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

ANSWERED = 8.0
#: seconds that the official SDKs wait after they have closed stdin, before they send SIGTERM
BEFORE_SIGTERM = 2.0


@check("OPS-025", timeout=30, slow=True)
async def the_last_requests_before_the_end_of_input_get_their_answers(workbench: Workbench) -> None:
    upstream = workbench.stdio("a", Script(on=[on_call("echo", sleep(1.0))]))
    needs_names_of_tools(workbench)
    async with workbench.proxy(upstream) as proxy:
        hello = {"protocolVersion": NEWEST_LEGACY, "capabilities": {}, "clientInfo": CLIENT_INFO}
        await proxy.begin("initialize", hello, id=1)
        await proxy.notify("notifications/initialized")
        await proxy.begin("tools/call", proxy.call_params("a", "echo", {"x": 2}), id=2)
        await proxy.begin("tools/list", {}, id=3)
        await proxy.begin("tools/call", proxy.call_params("a", "echo", {"x": 4}), id=4)
        proxy.close_stdin()
        for id in (1, 2, 3, 4):
            what = f"an answer to request {id}"
            await workbench.eventually(partial(_answers, proxy, id), within=ANSWERED, what=what)
        for id in (2, 4):
            _must_be_echoed(workbench, proxy, id, {"x": id})
        calls = upstream.requests("tools/call")
        workbench.expect(len(calls) == 2, "both calls reach the upstream", calls)
        await _must_end(workbench, proxy, ANSWERED)


@check("OPS-046", timeout=40, slow=True)
async def a_call_in_flight_at_the_end_of_input_gets_an_answer(workbench: Workbench) -> None:
    upstream = workbench.stdio("a", Script(on=[on_call("echo", sleep(20.0))]))
    async with workbench.serving(upstream) as proxy:
        await proxy.begin("tools/call", proxy.call_params("a", "echo", {"x": 2}), id="last")
        with workbench.precondition("the call reaches the upstream"):
            await workbench.eventually(
                lambda: upstream.requests("tools/call"), within=5.0, what="the call reaches the upstream"
            )
        await anyio.sleep(1.0)
        proxy.close_stdin()
        what = f"an answer within {BEFORE_SIGTERM:g} s after the end of input"
        await workbench.eventually(lambda: _answers(proxy, "last"), within=BEFORE_SIGTERM, what=what)
        _must_be_an_error(workbench, proxy, "last")
        code = await proxy.wait_exit(10.0)
        workbench.expect(code is not None, "the end within 10 s", proxy.how_it_ended())


@check("OPS-047", timeout=40, slow=True)
async def piped_requests_get_answers_even_if_a_server_hangs(workbench: Workbench) -> None:
    good = workbench.stdio("good", Script(prompts=[], on=[on_call("echo", sleep(1.0))]))
    hung = workbench.stdio("hung", Script(on=[on_call("echo", silence())]))
    needs_names_of_tools(workbench)
    async with workbench.proxy(good, hung) as proxy:
        hello = {"protocolVersion": NEWEST_LEGACY, "capabilities": {}, "clientInfo": CLIENT_INFO}
        await proxy.begin("initialize", hello, id=1)
        await proxy.notify("notifications/initialized")
        await proxy.begin("tools/call", proxy.call_params("good", "echo", {"x": 2}), id=2)
        await proxy.begin("tools/call", proxy.call_params("hung", "echo", {"x": 3}), id=3)
        await proxy.begin("tools/list", {}, id=4)
        await proxy.begin("prompts/list", {}, id=5)
        proxy.close_stdin()
        await _must_end(workbench, proxy, 10.0)
        for id in range(1, 6):
            workbench.expect(_answers(proxy, id), f"an answer to request {id}", "none")
        _must_be_echoed(workbench, proxy, 2, {"x": 2})
        _must_be_an_error(workbench, proxy, 3)
        workbench.expect(good.requests("tools/call"), "the call reaches the good server", "none")
        workbench.expect(hung.requests("tools/call"), "the other call reaches the server that hangs", "none")


def _answers(proxy: Proxy, id: int | str) -> list[Answer]:
    found = [one for one in proxy.received if one.get("id") == id and "method" not in one]
    return [Answer(message, json.dumps(message), 0.0) for message in found]


def _must_be_echoed(workbench: Workbench, proxy: Proxy, id: int, arguments: dict[str, Any]) -> None:
    (answer,) = _answers(proxy, id)
    with workbench.case(f"call {id}"):
        must_be_echo(workbench, answer, arguments)


def _must_be_an_error(workbench: Workbench, proxy: Proxy, id: int | str) -> None:
    """Raise `Violation` for a success: the server has given no answer, so a success is an invention of the proxy."""
    (answer,) = _answers(proxy, id)
    workbench.expect(answer.is_error, f"the call {id!r}, which no server answers, is an error", answer.raw)


async def _must_end(workbench: Workbench, proxy: Proxy, within: float) -> None:
    code = await proxy.wait_exit(within)
    workbench.expect(code is not None, f"the end within {within:g} s", proxy.how_it_ended())
    if workbench.promises("status-0-at-the-end"):
        workbench.expect(code == 0, "exit status 0", proxy.how_it_ended())
