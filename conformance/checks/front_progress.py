"""FRONT: the progress of a call that needs input of a modern client."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from conformance.checks import check
from conformance.checks.front_modern import modern
from conformance.checks.front_translation import CAN_BE_ASKED, ELICIT, FORM, retry
from conformance.errors import NotApplicable
from mock_servers.script import Script, on_call, progress, request, sleep, wait_for_answer

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
        wait_for_answer("question", within=15.0),
        progress(3),
    ]
    upstream = workbench.stdio("old", Script(on=[on_call("echo", *work)]))
    async with modern(workbench, upstream, capabilities=CAN_BE_ASKED) as proxy:
        params = {**proxy.call_params("old", "echo"), "_meta": {"progressToken": "first"}}
        answer = await proxy.request("tools/call", params, within=10.0)
        if answer.member("resultType") != "input_required":
            raise NotApplicable("it passes no question on")
        await anyio.sleep(1.0)
        workbench.expect(answer.member("inputRequests"), "a question", answer.raw)
        retried = await retry(proxy, "old", answer, within=20.0, _meta={"progressToken": "second"})
        given = upstream.events("answer")
        workbench.expect(given, "the upstream gets the answer to its question", "none")
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
