"""HARD: calls that the proxy does not make, because they are beyond a limit.

The upstream's journal has the calls that the proxy makes. For the others the proxy returns a result with
`isError`, so that the model can react.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from conformance.checks import check
from conformance.checks.common import must_be_echoed, must_work_again, until
from mock_servers.script import Script, any_arguments, crash, on_call, sleep, tool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conformance.workbench.inbox import Answer
    from conformance.workbench.mocks import StdioMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

CALLS, PER = 5, 2.0
AT_ONCE = 2
TOOLS = ("echo", "other")
#: calls of a server that crashes after the first of them
FEW = 3
#: a time as people write it, and words for what to do until then; the period of the limit is a time too
_TIME = re.compile(r"\d\s?(?:ms|s\b|sec)|\d\d:\d\d")
_LATER = re.compile(r"again|retr|wait|after|until|reset|next|available", re.IGNORECASE)


@check("HARD-004", timeout=40, slow=True)
async def calls_per_server_can_be_limited(workbench: Workbench) -> None:
    configured = workbench.sut.profile.configured
    rate = configured(rate_limit={"calls": CALLS, "per": "2s"})
    few = configured(max_concurrent_calls=AT_ONCE)
    slow = Script(on=[on_call("echo", sleep(0.5))])
    two = Script(tools=[tool(name, properties=any_arguments("x", "number")) for name in TOOLS])
    often, beside = workbench.stdio("often", two, **rate), workbench.stdio("beside", **rate)
    crowded, empty = workbench.stdio("crowded", slow, **few), workbench.stdio("empty", **few)
    crashes = Script(on=[on_call("add", crash())])
    later = workbench.stdio("later", crashes, **configured(rate_limit={"calls": FEW, "per": "60s"}))
    config = workbench.config(often, beside, crowded, empty)
    async with workbench.serving(often, beside, crowded, empty, config=config) as proxy:
        cases = [
            partial(_must_keep_the_rate, workbench, proxy, often, beside),
            partial(_must_keep_the_places, workbench, proxy, crowded, empty),
        ]
        if workbench.reloads:
            workbench.save(config, often, beside, crowded, empty, later)
            cases.append(partial(_must_keep_the_count, workbench, proxy, later))
        await workbench.run_cases(*cases)


async def _must_keep_the_rate(
    workbench: Workbench, proxy: Proxy, often: StdioMockUpstream, beside: StdioMockUpstream
) -> None:
    answers = await _calls(workbench, proxy, often, 8, TOOLS)
    for answer in answers:
        if answer.is_error:
            _must_name_the_limit(workbench, answer, CALLS)
            said = _TIME.search(answer.text) and _LATER.search(answer.text)
            workbench.expect(said, "an error that says when to try again", answer.raw)
    arrived = often.requests("tools/call")
    # On a busy machine the calls can take longer than the period.
    what = f"{CALLS} of 8 calls reach the upstream"
    workbench.expect(len(arrived) == CALLS, what, len(arrived), timed=True)
    refused = sum(answer.is_error for answer in answers)
    workbench.expect(refused == 8 - CALLS, f"{8 - CALLS} of 8 calls get an error", refused, timed=True)
    with workbench.case("another server"):
        await must_be_echoed(workbench, proxy, beside.name, {"x": 1})
    await until(workbench, max(call.t for call in arrived) + PER + 0.2)
    with workbench.case(f"{PER:g} s later"):
        await must_be_echoed(workbench, proxy, often.name, {"x": 1})


async def _must_keep_the_count(workbench: Workbench, proxy: Proxy, later: StdioMockUpstream) -> None:
    """Raise `Violation` unless the rate holds for a server that a save added, and counts the calls from before a crash."""
    with workbench.precondition("an added server works, and works again after a crash"):
        await proxy.ready(later)
        await proxy.call(later.name, "add", {"a": 1, "b": 2})
        await workbench.eventually(lambda: len(later.starts) > 1, within=10.0, what="a second start")
        await must_work_again(workbench, proxy, later)
    answers = await _calls(workbench, proxy, later, FEW)
    arrived = [call.text for call in later.requests("tools/call")]
    what = f"at most {FEW} calls in 60 s reach the upstream, before and after a crash together"
    workbench.expect(len(arrived) <= FEW, what, arrived, timed=False)
    for answer in workbench.some(
        [one for one in answers if one.is_error], "a call beyond the rate gets an error"
    ):
        _must_name_the_limit(workbench, answer, FEW)


async def _must_keep_the_places(
    workbench: Workbench, proxy: Proxy, crowded: StdioMockUpstream, empty: StdioMockUpstream
) -> None:
    answers: list[Answer] = []

    async def crowd() -> None:
        answers.extend(await _calls(workbench, proxy, crowded, 6))

    async def beside() -> None:
        await workbench.eventually(
            lambda: crowded.requests("tools/call"), within=5.0, what="a call reaches the upstream"
        )
        with workbench.case("another server, meanwhile"):
            await must_be_echoed(workbench, proxy, empty.name, {"x": 1})
            done = [entry for entry in crowded.events("sent") if '"content"' in entry.text]
            workbench.expect(len(done) < 6, "an answer before all of the crowd have theirs", done, timed=True)

    await workbench.run_cases(crowd, beside)
    for answer in answers:
        if answer.is_error:
            _must_name_the_limit(workbench, answer, AT_ONCE)
    served = sum(not answer.is_error for answer in answers)
    workbench.expect(
        served >= AT_ONCE, f"at least {AT_ONCE} calls succeed", [answer.raw for answer in answers]
    )
    most = _most_in_flight(crowded)
    workbench.expect(most <= AT_ONCE, f"never more than {AT_ONCE} calls in flight", most)


def _must_name_the_limit(workbench: Workbench, answer: Answer, limit: int) -> None:
    workbench.expect("error" not in answer.message, "an error in the result", answer.raw)
    workbench.expect(
        re.search(rf"\b{limit}\b", answer.text), f"an error that names the limit, {limit}", answer.raw
    )


def _most_in_flight(upstream: StdioMockUpstream) -> int:
    """The largest number of calls that the upstream had at once."""
    ids = {call.id for call in upstream.requests("tools/call")}
    most, open_ = 0, set()
    for entry in upstream.entries:
        message = entry.message or {}
        if entry.event == "line" and message.get("method") == "tools/call":
            open_.add(message["id"])
        elif entry.event == "sent" and message.get("id") in ids and "method" not in message:
            open_.discard(message["id"])
        most = max(most, len(open_))
    return most


async def _calls(
    workbench: Workbench,
    proxy: Proxy,
    upstream: StdioMockUpstream,
    count: int,
    tools: Sequence[str] = ("echo",),
) -> list[Answer]:
    """Make so many calls at once, of these tools in turn. Returns their answers."""
    answers: list[Answer] = []

    async def one(number: int) -> None:
        answers.append(await proxy.call(upstream.name, tools[number % len(tools)], {"number": number}))

    await workbench.run_cases(*(partial(one, number) for number in range(count)))
    return answers
