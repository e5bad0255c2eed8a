"""STD: progress of a call, and its timeout."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from conformance.checks import check
from mock_servers.script import Action, Script, on_call, progress, reply, silence, sleep

if TYPE_CHECKING:
    from conformance.workbench.inbox import Answer
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

_STEP = 0.4


def _works(seconds: float) -> list[Action]:
    """Report progress again and again."""
    return [one for number in range(int(seconds / _STEP)) for one in (progress(number + 1), sleep(_STEP))]


async def _call(proxy: Proxy, group: str, tool: str, within: float) -> Answer:
    """Call a tool, and ask for its progress."""
    params = {**proxy.call_params(group, tool), "_meta": {"progressToken": f"{group}-{tool}"}}
    return await proxy.request("tools/call", params, within=within)


@check("STD-050", timeout=40, slow=True)
async def progress_keeps_a_call_alive(workbench: Workbench) -> None:
    rule = on_call("echo", *_works(3.2), reply())
    eras = workbench.eras()
    upstreams = [
        workbench.stdio(era, Script(era=era, on=[rule]), timeout={"tools": "1500ms"}) for era in eras
    ]

    async def must_be_answered(group: str) -> None:
        answer = await _call(proxy, group, "echo", 12.0)
        workbench.expect(not answer.is_error, "a call that reports progress has its result", answer.raw)

    async with workbench.serving(*upstreams) as proxy:
        await workbench.run_cases(*(partial(must_be_answered, era) for era in eras))


#: seconds after which a call under a timeout of 0.5 s must have ended, with any progress
_CEILING = 20.0


@check("STD-051", timeout=50, slow=True)
async def progress_does_not_keep_a_call_alive_for_ever(workbench: Workbench) -> None:
    upstream = workbench.stdio(
        "a", Script(on=[on_call("echo", *_works(60.0), reply())]), timeout={"tools": "500ms"}
    )
    async with workbench.serving(upstream) as proxy:
        answer = await _call(proxy, "a", "echo", _CEILING)
        workbench.expect(answer.is_error, "the call ends with an error", answer.raw)
        workbench.expect(upstream.requests("tools/call"), "the call reached the upstream", upstream.lines)


@check("STD-052", timeout=40, slow=True)
async def progress_counts_for_its_own_call_only(workbench: Workbench) -> None:
    script = Script(on=[on_call("add", silence()), on_call("echo", *_works(3.2), reply())])
    upstream = workbench.stdio("a", script, timeout={"tools": "1s"})
    async with workbench.serving(upstream) as proxy:
        began = time.monotonic()
        await proxy.begin("tools/call", _with_token(proxy, "echo"), id="busy")
        params = {**proxy.call_params("a", "add", {"a": 1, "b": 2}), "_meta": {"progressToken": "silent"}}
        answer = await proxy.request("tools/call", params, within=10.0)
        took = time.monotonic() - began
        workbench.expect(answer.is_error, "the silent call ends with an error", answer.raw)
        what = "within 2.5 s, although another call reports progress"
        workbench.expect(took <= 2.5, what, f"{took:.1f} s", timed=True)
        workbench.expect(
            len(upstream.requests("tools/call")) == 2, "both calls reach the upstream", upstream.lines
        )


def _with_token(proxy: Proxy, tool: str) -> dict[str, object]:
    return {**proxy.call_params("a", tool), "_meta": {"progressToken": "busy"}}
