"""FRONT: calls reach their server as often as the client sent them, and no list is read for ever.

The journal of an upstream has the calls of all its processes and connections. No tool of these upstreams claims to be read-only or
idempotent.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from conformance.checks import check
from conformance.checks.common import must_be_callable
from conformance.errors import ImplementationCrashed, NotApplicable, Violation
from conformance.workbench.exposed import declared_methods
from conformance.workbench.listing_forms import LISTS
from mock_servers.remote_actions import close_streams, cut
from mock_servers.script import (
    Rule,
    Script,
    any_arguments,
    crash,
    error,
    on_call,
    reply,
    silence,
    sleep,
    tool,
)

if TYPE_CHECKING:
    from typing import Any

    from conformance.workbench.mocks import MockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

#: equal calls in flight at a time
TOGETHER = 3
#: equal calls, each of which begins after the result of the one before
IN_A_ROW = 3


@check("FRONT-164", timeout=60)
async def a_call_whose_server_broke_is_not_sent_again(workbench: Workbench) -> None:
    upstreams: list[MockUpstream] = []
    if workbench.has("STD"):
        upstreams.append(workbench.stdio("dies", Script(on=[on_call("echo", crash())])))
    if workbench.has("HTTP"):
        upstreams.append(await workbench.http("breaks", Script(on=[on_call("echo", cut())])))
    if workbench.has("SSE"):
        broken = on_call("echo", close_streams(), silence())
        upstreams.append(await workbench.sse("loses-its-stream", Script(on=[broken])))
    if not upstreams:
        raise NotApplicable("the program uses no kind of server that the check has")
    async with workbench.serving(*upstreams) as proxy:
        await workbench.run_cases(*(partial(_must_be_sent_once, workbench, proxy, one) for one in upstreams))


async def _must_be_sent_once(workbench: Workbench, proxy: Proxy, upstream: MockUpstream) -> None:
    try:
        await proxy.call(upstream.name, "echo", {"x": 100}, within=12.0)
    except ImplementationCrashed:
        raise
    except Violation as problem:  # whether the call ends is the matter of other requirements
        workbench.note(f"{upstream.name}: {problem.seen}")
    _must_have_reached(workbench, upstream, 1, "a call that its server broke off")


@check("FRONT-165", timeout=60)
async def each_of_several_equal_calls_reaches_its_server(workbench: Workbench) -> None:
    failed = {"content": [{"type": "text", "text": "try later"}], "isError": True}
    rules = {
        "three at once": on_call(None, sleep(0.4), reply()),
        "after a result": on_call(None, reply()),
        "after an error": on_call(None, error(-32050, "try later"), times=1),
        "after a result that is an error": on_call(None, reply(failed), times=1),
    }
    tools = [tool(f"tool{number}", properties=any_arguments("pay")) for number in range(len(rules))]
    on = [
        Rule(rule.method, rule.actions, tool=own["name"], times=rule.times)
        for own, rule in zip(tools, rules.values(), strict=True)
    ]
    upstream = workbench.stdio("a", Script(tools=tools, on=on))
    async with workbench.serving(upstream) as proxy:
        for own, what in zip(tools, rules, strict=True):
            call = partial(_must_be_answered, proxy, own["name"])
            if what == "three at once":
                sent = TOGETHER
                await workbench.run_cases(*[call] * sent)
            else:
                sent = IN_A_ROW if what == "after a result" else 2
                for _ in range(sent):
                    await call()
            _must_have_reached(workbench, upstream, sent, f"equal calls, {what}", own["name"])


async def _must_be_answered(proxy: Proxy, name: str) -> None:
    await proxy.call("a", name, {"pay": 100})


def _must_have_reached(
    workbench: Workbench, upstream: MockUpstream, sent: int, what: str, name: str = ""
) -> None:
    calls = upstream.requests("tools/call")
    arrived = [one for one in calls if not name or one.message["params"]["name"] == name]
    with workbench.case(f"{upstream.name}: {what}"):
        times = f"it reaches the server {'once' if sent == 1 else f'{sent} times, as it was sent'}"
        workbench.expect(len(arrived) == sent, times, [one.text for one in arrived])


#: the cursor of every page of `LOOP`
AGAIN = "the same page again"


def _for_ever(method: str, member: str, **item: Any) -> Rule:
    return Rule(method, [reply({member: [item], "nextCursor": AGAIN})])


LOOP = Script(
    tools=[tool("echo")],
    resources=[],
    templates=[],
    prompts=[],
    on=[
        _for_ever("tools/list", "tools", **tool("echo")),
        _for_ever("resources/list", "resources", uri="mock://loop", name="loop"),
        _for_ever("resources/templates/list", "resourceTemplates", uriTemplate="loop://{id}", name="loop"),
        _for_ever("prompts/list", "prompts", name="loop"),
    ],
)


@check("FRONT-166", timeout=40)
async def a_cursor_that_repeats_is_not_followed_for_ever(workbench: Workbench) -> None:
    upstream = workbench.stdio("loop", LOOP)
    async with workbench.proxy(upstream) as proxy:
        await proxy.handshake()
        with workbench.must("the proxy lists the tools of an upstream that repeats its cursor"):
            await proxy.ready(upstream, within=10.0)
        await must_be_callable(workbench, proxy, upstream)
        for method in declared_methods(proxy, LISTS):
            first = await proxy.request(method)
            if first.member("nextCursor") == AGAIN:
                continue  # it passes single pages on, so its client decides when to stop
            shown = await proxy.items(method, LISTS[method][0])
            workbench.expect(shown, f"{method} shows what the upstream repeats", shown)
