"""OPS: a connection that serves many calls."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from conformance.checks import check
from conformance.checks.common import must_be_echo
from mock_servers.script import Rule, Script, hold, release, reply

if TYPE_CHECKING:
    from conformance.workbench.mocks import MockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench
    from mock_servers.actions import Action

#: calls to each upstream, beside the one that waits meanwhile
CALLS = 200
#: the number of the first call that ends the wait; the rest would only bring the waiting call nearer to its timeout
HELD_UNTIL = 100
#: seconds after which the waiting call has its answer anyway, if it is in another process than all calls that end the wait
MOST_HELD = 15.0
#: calls at a time, a few at each upstream
_AT_ONCE = 6
#: the numbers of two further calls, of which the second ends the wait of the first
SLOW, QUICK = -1, -2


@check("OPS-016", timeout=150)
async def a_connection_serves_hundreds_of_calls(workbench: Workbench) -> None:
    enough, quick = "enough calls are answered", "the quick call is answered"
    rules = [
        _on_number(SLOW, hold(quick, most=3.0), reply()),
        _on_number(QUICK, reply(), release(quick)),
        _on_number(0, hold(enough, most=MOST_HELD)),
        *(_on_number(number, reply(), release(enough)) for number in range(HELD_UNTIL, CALLS)),
    ]
    script = Script(on=rules)
    upstreams: list[MockUpstream] = [workbench.stdio("stdio", script)]
    # A transport that the profile declares absent proves nothing about the others.
    if workbench.has("HTTP"):
        upstreams.append(await workbench.http("http", script))
    if workbench.has("SSE"):
        upstreams.append(await workbench.sse("sse", script))
    todo = iter([(upstream.name, number) for number in range(1, CALLS) for upstream in upstreams])

    async def call_one_after_the_other() -> None:
        for group, number in todo:
            await _must_return_its_number(workbench, proxy, group, number)

    held: list[str] = []
    at_once: list[MockUpstream] = []

    async def look(upstream: MockUpstream) -> None:
        if await _overtakes(workbench, proxy, upstream):
            at_once.append(upstream)
        else:
            workbench.note(f"{upstream.name}: one call after the other (HTTP-018), so none waits meanwhile")

    async def wait_for_enough(group: str) -> None:
        await _must_return_its_number(workbench, proxy, group, 0, within=60.0)
        held.append(group)

    async with workbench.serving(*upstreams) as proxy, anyio.create_task_group() as waiting:
        await workbench.run_cases(*(partial(look, upstream) for upstream in upstreams))
        for upstream in at_once:
            waiting.start_soon(wait_for_enough, upstream.name)
            with workbench.precondition("the first call reaches the upstream"):
                what = f"a call of {upstream.name} in its journal"
                await workbench.eventually(partial(_numbers, upstream, 0), within=5.0, what=what)
        await workbench.run_cases(*[call_one_after_the_other] * _AT_ONCE)
        for upstream in upstreams:
            await _must_return_its_number(workbench, proxy, upstream.name, CALLS)
        names = [upstream.name for upstream in at_once]
        await workbench.eventually(
            lambda: len(held) == len(at_once),
            within=30.0 + MOST_HELD,
            what="the calls that waited return too",
            seen=lambda: f"no answer to the call of {', '.join(sorted({*names} - {*held}))}",
        )
    for upstream in upstreams:
        calls, wanted = len(_numbers(upstream, *range(CALLS + 1))), CALLS + (upstream in at_once)
        workbench.expect(calls == wanted, f"{wanted} calls reach {upstream.name}", calls)


async def _overtakes(workbench: Workbench, proxy: Proxy, upstream: MockUpstream) -> bool:
    """Whether a quick call returns before a slow one that began earlier. No source demands it: HTTP-018 is a SHOULD."""
    order: list[int] = []

    async def call(number: int) -> None:
        await _must_return_its_number(workbench, proxy, upstream.name, number)
        order.append(number)

    async with anyio.create_task_group() as calls:
        calls.start_soon(call, SLOW)
        with workbench.precondition("the slow call reaches the upstream"):
            what = f"a call of {upstream.name} in its journal"
            await workbench.eventually(partial(_numbers, upstream, SLOW), within=5.0, what=what)
        calls.start_soon(call, QUICK)
    return order[0] == QUICK


def _numbers(upstream: MockUpstream, *numbers: int) -> list[Any]:
    """The calls with one of these numbers that reached the upstream."""
    calls = upstream.requests("tools/call")
    return [one for one in calls if one.message["params"]["arguments"].get("number") in numbers]


async def _must_return_its_number(
    workbench: Workbench, proxy: Proxy, group: str, number: int, within: float = 30.0
) -> None:
    # Not `Proxy.call`: a look into the journal after each call takes time that grows with the square of their number.
    arguments = {"group": group, "number": number}
    answer = await proxy.request("tools/call", proxy.call_params(group, "echo", arguments), within=within)
    must_be_echo(workbench, answer, arguments)


def _on_number(number: int, *actions: Action) -> Rule:
    return Rule("tools/call", [*actions], tool="echo", params={"arguments": {"number": number}})
