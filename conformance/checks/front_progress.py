"""FRONT: the progress of a call that needs input of a modern client."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from conformance.checks import check
from conformance.checks.front_modern import modern
from conformance.checks.front_translation import CAN_BE_ASKED, ELICIT, FORM, GIVEN
from conformance.errors import NotApplicable
from mock_servers.script import Script, hold, on_call, progress, release, reply, request, sleep

if TYPE_CHECKING:
    from conformance.workbench.workbench import Workbench

PROGRESS = "notifications/progress"


@check("FRONT-125", timeout=40, slow=True)
async def progress_has_the_token_of_the_request_that_waits(workbench: Workbench) -> None:
    work = [
        progress(1),
        request(ELICIT, FORM, id="question"),
        sleep(0.5),
        progress(2),
        hold("the second request"),
        progress(3),
        reply(),
    ]
    go_on = on_call("add", release("the second request"), reply())
    upstream = workbench.stdio("old", Script(on=[on_call("echo", *work), go_on]))
    async with modern(workbench, upstream, capabilities=CAN_BE_ASKED) as proxy:
        params = {**proxy.call_params("old", "echo"), "_meta": {"progressToken": "first"}}
        answer = await proxy.request("tools/call", params, within=10.0)
        if answer.member("resultType") != "input_required":
            raise NotApplicable("it passes no question on")
        await anyio.sleep(1.0)
        needed, state = answer.member("inputRequests"), answer.member("requestState")
        workbench.expect(isinstance(needed, dict) and needed, "a question", answer.raw)
        params |= {"inputResponses": dict.fromkeys(needed, GIVEN), "requestState": state}

        async def lets_the_upstream_go_on() -> None:
            await workbench.eventually(
                lambda: upstream.events("answer"),
                within=10.0,
                what="the upstream gets the answer to its question",
            )
            await proxy.call("old", "add", {"a": 1, "b": 2})

        async with anyio.create_task_group() as beside:
            beside.start_soon(lets_the_upstream_go_on)
            retried = await proxy.request(
                "tools/call", {**params, "_meta": {"progressToken": "second"}}, within=20.0
            )
        workbench.expect(not retried.is_error, "the second request completes", retried.raw)
        calls = [call for call in upstream.requests("tools/call") if call.param("name") == "echo"]
        workbench.expect(len(calls) == 1, "one call reaches the upstream", calls)
        heard = [
            (one.param("progressToken"), one.param("progress")) for one in proxy.transcript.heard(PROGRESS)
        ]
        if not heard:
            raise NotApplicable("it relays no progress")
        right = [("first", 1), ("second", 3)]
        workbench.expect(all(one in right for one in heard), f"only {right}", heard)
        if ("second", 3) not in heard:
            workbench.note("the proxy relays no progress of the second request")
