"""HTTP: upstreams that leave the POSTs with the proxy's answers hanging."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import anyio

from conformance.checks import check
from conformance.checks.common import must_be_echoed
from conformance.checks.ops_floods import descriptors, must_answer_pings
from mock_servers.hostile import HOSTILE
from mock_servers.script import Script, on_call, reply, request

if TYPE_CHECKING:
    from conformance.workbench.mocks import MockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

#: descriptors that the two hostile upstreams may cost together; each leaves 400 POSTs hanging
MAX_DESCRIPTORS = 100
HONEST_PINGS = 100


@check("HTTP-025", timeout=60, slow=True)
async def hanging_posts_have_a_bound(workbench: Workbench) -> None:
    hostile: list[MockUpstream] = [
        await workbench.http("stream", HOSTILE["leaves-answers-hanging"].script()),
    ]
    if workbench.has("SSE"):
        script = HOSTILE["leaves-answers-hanging-on-a-stream"].script()
        hostile.append(await workbench.sse("events", script))
    pings = [request("ping", id=f"q{number}") for number in range(HONEST_PINGS)]
    honest = await workbench.http("honest", Script(on=[on_call("echo", *pings, reply())]))
    async with workbench.serving(honest, *hostile) as proxy:
        before = descriptors(proxy)
        await workbench.run_cases(*(partial(_attacks, workbench, proxy, upstream) for upstream in hostile))
        await anyio.sleep(0.5)  # leaves time for further POSTs
        after = descriptors(proxy)
        if before is None or after is None:
            workbench.note("there is no /proc, so the check does not count the descriptors")
        else:
            expected = f"at most {MAX_DESCRIPTORS} more descriptors than {before}"
            workbench.expect(after - before <= MAX_DESCRIPTORS, expected, after)
        with workbench.case("an upstream that responds"):
            await must_be_echoed(workbench, proxy, "honest", {"x": 1})
            await must_answer_pings(workbench, honest, HONEST_PINGS, within=5.0)


async def _attacks(workbench: Workbench, proxy: Proxy, upstream: MockUpstream) -> None:
    with workbench.case(upstream.name):
        answer = await proxy.call(upstream.name, "attack", within=10.0)
        workbench.expect(not answer.is_error, "the answer after the questions", answer.raw[:1000])
        answers = await workbench.eventually(
            lambda: upstream.events("answer"), within=5.0, what="the proxy answers the first pings"
        )
        workbench.note(f"{upstream.name}: {len(answers)} answers")
