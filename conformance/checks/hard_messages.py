"""HARD: the largest message of an upstream.

The check reads the proxy's peak memory from /proc. Where there is no /proc, it does not judge the memory.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from conformance.checks import check
from conformance.checks.common import must_work_again
from conformance.workbench.memory import bounded_growth
from mock_servers.remote_actions import answer_as
from mock_servers.script import Script, on_call, payload, sleep, unending

if TYPE_CHECKING:
    from conformance.workbench.mocks import MockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

MIB = 1 << 20
BOUND = 1 * MIB
LARGE = 8 * MIB
ENDLESS = 64 * MIB
#: what passes without a setting; a program may have a smaller bound toward its client, because clients have one
PASSES = 7 * MIB
FIRST = {"number": "first"}
#: how much the memory may grow, for all upstreams together
MAX_GROWTH = 16 * BOUND


@check("HARD-009", timeout=60, serial=True, slow=True)
async def one_oversized_message_costs_one_call(workbench: Workbench) -> None:
    """Another call in flight on the same upstream gets its answer. Without a setting, a message of 7 MiB passes."""
    fields = workbench.sut.profile.configured(max_message_size="1MiB")
    first = {"arguments": FIRST}
    large = Script(on=[on_call("echo", payload(LARGE), params=first), on_call("add", sleep(1.0))])
    event = Script(on=[on_call("echo", answer_as("sse"), payload(LARGE), params=first)])
    endless = Script(on=[on_call("echo", unending(ENDLESS), params=first)])
    line = workbench.stdio("line", large, **fields)
    upstreams: list[MockUpstream] = [line, workbench.stdio("endless", endless, **fields)]
    if workbench.has("HTTP"):
        upstreams.append(await workbench.http("body", large, **fields))
        upstreams.append(await workbench.http("event", event, **fields))
    if workbench.has("SSE"):
        upstreams.append(await workbench.sse("stream", large, **fields))
    free = workbench.stdio("free", Script(on=[on_call("echo", payload(PASSES))]))
    async with workbench.serving(*upstreams, free) as proxy:
        with bounded_growth(workbench, proxy, MAX_GROWTH):
            await workbench.run_cases(
                *(partial(_must_cost_one_call, workbench, proxy, upstream) for upstream in upstreams),
                partial(_adds, workbench, proxy, line),
            )
        with workbench.case("without a setting"):
            answer = await proxy.call("free", "echo", within=30.0)
            whole = not answer.is_error and len(answer.raw) > PASSES
            workbench.expect(whole, f"a message of {PASSES // MIB} MiB passes", answer.raw[:1000])


async def _must_cost_one_call(workbench: Workbench, proxy: Proxy, upstream: MockUpstream) -> None:
    with workbench.case(upstream.name):
        answer = await proxy.call(upstream.name, "echo", FIRST, within=15.0)
        seen = answer.raw[:1000]
        workbench.expect(answer.is_error, "an error for the answer that is too large", seen)
        words = ("large", "size", "limit", "exceed", "too long", "bytes", "end")
        workbench.expect(any(word in answer.text.lower() for word in words), "an error that says so", seen)
        # An upstream that restarts may take a moment.
        await must_work_again(workbench, proxy, upstream)


async def _adds(workbench: Workbench, proxy: Proxy, upstream: MockUpstream) -> None:
    with workbench.case("another call in flight"):
        answer = await proxy.call(upstream.name, "add", {"a": 1, "b": 2})
        workbench.expect(answer.text == "3", "its answer", answer.raw[:1000])
