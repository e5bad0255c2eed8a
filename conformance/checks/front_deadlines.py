"""FRONT: what the proxy waits for at its client, and how long."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from conformance.checks import check
from conformance.checks.common import must_be_echoed
from mock_servers.script import Script, on_call, reply, request, silence

if TYPE_CHECKING:
    from conformance.workbench.mocks import StdioMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

#: seconds for the end of a call under a timeout of 1 s: of a legacy upstream, and of a modern one
_LEGACY = 4.0
_MODERN = 15.0


@check("FRONT-050", timeout=50, slow=True)
async def a_client_that_never_answers_roots_list_stops_no_timeout(workbench: Workbench) -> None:
    """Another tool of each upstream answers at once, so a proxy that fails every call does not pass."""
    timeout = {"tools": "1s"}
    needs = {"resultType": "input_required", "inputRequests": {"r": {"method": "roots/list"}}}
    asks = {"legacy": [request("roots/list"), silence()], "modern": [reply(needs)]}
    limits = {"legacy": _LEGACY, "modern": _MODERN}
    upstreams = [
        workbench.stdio(era, Script(era=era, on=[on_call("add", *asks[era])]), timeout=timeout)
        for era in workbench.eras()
    ]
    async with workbench.proxy(*upstreams) as proxy:
        proxy.capabilities = {"roots": {"listChanged": True}}
        proxy.answers.stay_silent()
        await proxy.handshake()
        await proxy.ready(*upstreams)
        for one in upstreams:
            await must_be_echoed(workbench, proxy, one.name, {"x": 1})
        await workbench.run_cases(
            *(partial(_must_end, workbench, proxy, one, limits[one.name]) for one in upstreams)
        )
        if not any(message.get("method") == "roots/list" for message in proxy.received):
            workbench.note("the proxy passes no roots/list on")


async def _must_end(workbench: Workbench, proxy: Proxy, upstream: StdioMockUpstream, within: float) -> None:
    with workbench.case(f"a {upstream.name} upstream that asks for the roots"):
        began = time.monotonic()
        answer = await proxy.call(upstream.name, "add", {"a": 1, "b": 2}, within=within)
        took = time.monotonic() - began
        asked = [call.param("name") for call in upstream.requests("tools/call")]
        workbench.expect("add" in asked, "the call reaches the upstream", asked)
        workbench.expect(answer.is_error, "the call ends with an error", answer.raw)
        workbench.expect(took <= within, f"within {within:g} s", f"after {took:.1f} s")
