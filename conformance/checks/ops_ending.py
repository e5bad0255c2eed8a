"""OPS: the last requests of a client that closes its end of stdin."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from conformance.checks import check
from conformance.workbench.client import CLIENT_INFO, NEWEST_LEGACY
from mock_servers.script import Script, on_call, sleep

if TYPE_CHECKING:
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

ANSWERED = 8.0


@check("OPS-025", timeout=30, slow=True)
async def the_last_requests_before_the_end_of_input_get_their_answers(workbench: Workbench) -> None:
    upstream = workbench.stdio("a", Script(on=[on_call("echo", sleep(1.0))]))
    async with workbench.proxy(upstream) as proxy:
        hello = {"protocolVersion": NEWEST_LEGACY, "capabilities": {}, "clientInfo": CLIENT_INFO}
        await proxy.begin("initialize", hello, id=1)
        await proxy.notify("notifications/initialized")
        await proxy.begin("tools/call", proxy.call_params("a", "echo", {"x": 2}), id=2)
        await proxy.begin("tools/list", {}, id=3)
        await proxy.begin("tools/call", proxy.call_params("a", "echo", {"x": 4}), id=4)
        proxy.close_stdin()
        for id in (1, 2, 3, 4):
            what = f"an answer to request {id}"
            await workbench.eventually(partial(_answers, proxy, id), within=ANSWERED, what=what)
        for id in (2, 4):
            (answer,) = _answers(proxy, id)
            is_right = "result" in answer and not answer["result"].get("isError")
            workbench.expect(is_right, f"call {id} succeeds", answer)
        calls = upstream.requests("tools/call")
        workbench.expect(len(calls) == 2, "both calls reach the upstream", calls)
        code = await proxy.wait_exit(ANSWERED)
        workbench.expect(code == 0, "exit status 0", proxy.how_it_ended())


def _answers(proxy: Proxy, id: int) -> list[dict[str, Any]]:
    return [message for message in proxy.received if message.get("id") == id and "method" not in message]
