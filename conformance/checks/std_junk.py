"""STD: upstreams that send nothing but junk, and honest ones that print some."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from conformance.checks import check
from conformance.checks.std_messages import is_echoed
from mock_servers.hostile import HOSTILE
from mock_servers.script import Script, flood, on_call, reply

if TYPE_CHECKING:
    from conformance.workbench.mocks import MockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

LOG_LINES = 2000
CHILDREN = ("prints-digits", "prints-blank-lines", "answers-no-request")


@check("STD-024", timeout=60, slow=True)
async def nothing_but_junk_ends_the_connection(workbench: Workbench) -> None:
    """Each server would answer the call at the end of its junk, so an error means that the connection ended before."""
    chatty = workbench.stdio(
        "chatty", Script(on=[on_call("echo", flood("started\n", count=LOG_LINES), reply())])
    )
    upstreams: list[MockUpstream] = [
        *(workbench.stdio(name, HOSTILE[name].script()) for name in CHILDREN),
        await workbench.http("stream", HOSTILE["streams-digits"].script()),
    ]
    if workbench.has("SSE"):
        upstreams.append(await workbench.sse("events", HOSTILE["streams-digits-to-all"].script()))
    async with workbench.serving(chatty, *upstreams) as proxy:
        await workbench.run_cases(
            *(partial(_loses_its_connection, workbench, proxy, upstream) for upstream in upstreams)
        )
        with workbench.case("a child that logs to stdout"):
            await is_echoed(workbench, proxy, "chatty", {"x": 1})
            workbench.expect(len(chatty.starts) == 1, "it runs on", f"{len(chatty.starts)} starts")


async def _loses_its_connection(workbench: Workbench, proxy: Proxy, upstream: MockUpstream) -> None:
    with workbench.case(upstream.name):
        answer = await proxy.call(upstream.name, "attack", within=20.0)
        workbench.expect(answer.is_error and answer.text, "an error with a reason", answer.raw[:1000])
