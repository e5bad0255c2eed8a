"""FRONT: storms of messages that upstreams begin.

A proxy need not relay what it does not declare. Each storm is a call whose answer follows the storm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conformance.checks import check
from conformance.checks.common import must_be_echoed
from conformance.checks.front_changes import must_follow_the_last_change
from conformance.errors import NotApplicable
from conformance.workbench.exposed import declares, exposed_prompt
from conformance.workbench.transcript import increase
from mock_servers.script import (
    Action,
    Script,
    default_tools,
    flood,
    list_changed,
    on_call,
    progress,
    reply,
    set_prompts,
    sleep,
    tool,
)

if TYPE_CHECKING:
    from conformance.workbench.inbox import Answer
    from conformance.workbench.mocks import MockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

STORM = 4000
#: how many messages of one storm may reach the client
MAX_RELAYED = STORM // 2
CHANGED = "notifications/prompts/list_changed"
LOGGED, PROGRESS, ASKED = "notifications/message", "notifications/progress", "elicitation/create"
_QUESTION = '{"message":"question $n","requestedSchema":{"type":"object","properties":{}}}'


def _storm(*actions: Action, **fields: Any) -> Script:
    return Script(tools=[*default_tools(), tool("storm")], on=[on_call("storm", *actions)], **fields)


def _message(method: str, params: str) -> str:
    return f'{{"jsonrpc":"2.0","method":"{method}","params":{params}}}\n'


@check("FRONT-032", timeout=60, slow=True)
async def storms_reach_the_client_thinned_out(workbench: Workbench) -> None:
    changes = workbench.stdio(
        "changes",
        _storm(
            # The second half comes when the client has long heard of the first, however fast the machine is.
            flood(_message(CHANGED, "{}"), count=STORM // 2),
            sleep(0.3),
            flood(_message(CHANGED, "{}"), count=STORM // 2),
            set_prompts([{"name": "last"}]),
            list_changed("prompts"),
            reply(),
            prompts=[{"name": "first"}],
            capabilities={"tools": {}, "prompts": {"listChanged": True}},
        ),
    )
    logs = workbench.stdio(
        "logs",
        _storm(
            flood(_message(LOGGED, '{"level":"error","data":"message $n"}'), count=STORM),
            reply(),
            capabilities={"tools": {}, "logging": {}},
        ),
    )
    reports = workbench.stdio("reports", _storm(*(progress(number + 1) for number in range(STORM))))
    question = _message(ASKED, _QUESTION).replace('"method"', '"id":"q$n","method"', 1)
    asks = workbench.stdio("asks", _storm(flood(question, count=STORM), reply()))
    async with workbench.proxy(changes, logs, reports, asks) as proxy:
        proxy.capabilities = {"elicitation": {}}
        await proxy.handshake()
        await proxy.ready(changes, logs, reports, asks)
        with workbench.case("changes"):
            await _changes(workbench, proxy, changes)
        for judged in (_logs, _reports, _asks):
            with workbench.case(judged.__name__.strip("_")):
                await judged(workbench, proxy)
        with workbench.case("the refusals"):
            await workbench.eventually(
                lambda: len(asks.events("answer")) >= STORM - MAX_RELAYED,
                within=5.0,
                what=f"at least {STORM - MAX_RELAYED} questions are refused",
                seen=lambda: len(asks.events("answer")),
            )
        for upstream in (changes, logs, reports, asks):
            with workbench.case(f"{upstream.name}, after the storm"):
                await must_be_echoed(workbench, proxy, upstream.name, {"x": 1})
        if not any(map(proxy.transcript.heard, (CHANGED, LOGGED, PROGRESS, ASKED))):
            raise NotApplicable("it relays none of these messages")


async def _changes(workbench: Workbench, proxy: Proxy, upstream: MockUpstream) -> None:
    if declares(proxy, "prompts"):
        with workbench.precondition("the client lists the prompts before the storm"):
            await proxy.items("prompts/list", "prompts")
    await _raise_storm(workbench, proxy, upstream.name)
    _must_be_thinned_out(workbench, proxy, CHANGED)
    if declares(proxy, "prompts", "listChanged"):
        # The storm ends with the change itself; the pause lies long before.
        await must_follow_the_last_change(workbench, proxy, upstream, within=2.0)
        await exposed_prompt(proxy, "changes", "last")


async def _logs(workbench: Workbench, proxy: Proxy) -> None:
    await _raise_storm(workbench, proxy, "logs")
    _must_be_thinned_out(workbench, proxy, LOGGED)


async def _reports(workbench: Workbench, proxy: Proxy) -> None:
    answer = await _raise_storm(workbench, proxy, "reports", _meta={"progressToken": "mine"})
    _must_be_thinned_out(workbench, proxy, PROGRESS)
    heard = proxy.transcript.heard(PROGRESS)
    if heard:
        values = [report.param("progress") for report in heard]
        workbench.expect(increase(heard), "increasing values", values[-10:])
        workbench.expect(values[-1] == STORM, f"the last value, {STORM}", values[-10:])
        workbench.expect(heard[-1].t <= answer.t, "no report after the answer", heard[-1])


async def _asks(workbench: Workbench, proxy: Proxy) -> None:
    """The client answers none of the questions, so those that it gets stay open."""
    await _raise_storm(workbench, proxy, "asks")
    _must_be_thinned_out(workbench, proxy, ASKED)


async def _raise_storm(workbench: Workbench, proxy: Proxy, group: str, **params: Any) -> Answer:
    answer = await proxy.request("tools/call", {**proxy.call_params(group, "storm"), **params}, within=20.0)
    workbench.expect(not answer.is_error, "the answer after the storm", answer.raw[:1000])
    return answer


def _must_be_thinned_out(workbench: Workbench, proxy: Proxy, method: str) -> None:
    count = len(proxy.transcript.heard(method))
    workbench.expect(count <= MAX_RELAYED, f"at most {MAX_RELAYED} of {STORM} {method}", count)
