"""FRONT: the answers of a program that listens for its client over Streamable HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.checks import check
from conformance.workbench.endpoint import needs_streamable_http
from mock_servers.script import Script, on_call, reply, request

if TYPE_CHECKING:
    from conformance.workbench.workbench import Workbench


@check("FRONT-160", timeout=30)
async def messages_are_answered_as_streamable_http_demands(workbench: Workbench) -> None:
    needs_streamable_http(workbench)
    upstream = workbench.stdio("a", Script(on=[on_call("echo", request("roots/list", wait=5.0), reply())]))
    async with workbench.proxy(upstream) as proxy:
        proxy.capabilities = {"roots": {}}
        await proxy.handshake()
        await proxy.ready(upstream)
        result = await proxy.call("a", "echo", {"x": 1}, within=10.0)
        with workbench.precondition("a call in the session"):
            workbench.expect(not result.is_error, "it succeeds", result.raw)
        if not any(message.get("method") == "roots/list" for message in proxy.received):
            workbench.note("no question comes to the client, so it sends no answer")
        for deviation in proxy.deviations:
            raise deviation
