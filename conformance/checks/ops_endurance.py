"""OPS: a connection that serves many calls."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import anyio

from conformance.checks import check
from conformance.checks.std_messages import is_echo
from mock_servers.script import Rule, Script, hold, release, reply

if TYPE_CHECKING:
    from conformance.workbench.mocks import MockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench
    from mock_servers.actions import Action

#: calls to each upstream, beside the one that waits meanwhile
CALLS = 200
#: the number of the call that ends the wait; the rest would only bring the waiting call nearer to its timeout
HELD_UNTIL = 100
#: calls at a time, a few at each upstream
_AT_ONCE = 6


@check("OPS-016", timeout=60)
async def a_connection_serves_hundreds_of_calls(workbench: Workbench) -> None:
    enough = "enough calls are answered"
    script = Script(on=[_on_number(0, hold(enough)), _on_number(HELD_UNTIL, reply(), release(enough))])
    upstreams: list[MockUpstream] = [workbench.stdio("stdio", script)]
    # A transport that the profile declares absent proves nothing about the others.
    if workbench.has("HTTP"):
        upstreams.append(await workbench.http("http", script))
    if workbench.has("SSE"):
        upstreams.append(await workbench.sse("sse", script))
    todo = iter([(upstream.name, number) for number in range(1, CALLS) for upstream in upstreams])

    async def call_one_after_the_other() -> None:
        for group, number in todo:
            await _returns_its_number(workbench, proxy, group, number)

    held: list[str] = []

    async def wait_for_enough(group: str) -> None:
        await _returns_its_number(workbench, proxy, group, 0, within=60.0)
        held.append(group)

    async with workbench.serving(*upstreams) as proxy, anyio.create_task_group() as waiting:
        for upstream in upstreams:
            waiting.start_soon(wait_for_enough, upstream.name)
            with workbench.precondition("the first call reaches the upstream"):
                what = f"a call of {upstream.name} in its journal"
                await workbench.eventually(partial(upstream.requests, "tools/call"), within=5.0, what=what)
        await workbench.run_cases(*[call_one_after_the_other] * _AT_ONCE)
        for upstream in upstreams:
            await _returns_its_number(workbench, proxy, upstream.name, CALLS)
        what = "the calls that waited return too"
        await workbench.eventually(
            lambda: len(held) == len(upstreams), within=10.0, what=what, seen=lambda: held
        )
    for upstream in upstreams:
        calls = upstream.requests("tools/call")
        workbench.expect(len(calls) == CALLS + 1, f"{CALLS + 1} calls reach {upstream.name}", len(calls))


async def _returns_its_number(
    workbench: Workbench, proxy: Proxy, group: str, number: int, within: float = 10.0
) -> None:
    # Not `Proxy.call`: a look into the journal after each call takes time that grows with the square of their number.
    arguments = {"group": group, "number": number}
    answer = await proxy.request("tools/call", proxy.call_params(group, "echo", arguments), within=within)
    workbench.expect(is_echo(answer, arguments), f"the answer to the call with {arguments}", answer.raw)


def _on_number(number: int, *actions: Action) -> Rule:
    return Rule("tools/call", [*actions], tool="echo", params={"arguments": {"number": number}})
