"""STD, SSE, OPS: servers that are dead or unreachable although their connection is open."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import anyio

from conformance.checks import check, common
from conformance.checks.common import must_be_echoed
from mock_servers.script import (
    Grandchild,
    Http,
    Script,
    close_stdin,
    crash,
    fall_silent,
    hand_over,
    on_call,
    read_again,
    reply,
    silence,
    sleep,
    stop_reading,
)

if TYPE_CHECKING:
    from conformance.workbench.mocks import MockUpstream, StdioMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

SHORT = {"tools": "1s"}
#: seconds for a group to work again
RECOVERY = 40.0
#: seconds for an answer that comes before the timeout of 30 s
SOON = 5.0


must_work_again = partial(common.must_work_again, within=RECOVERY)


def _must_run_on(workbench: Workbench, upstream: StdioMockUpstream) -> None:
    starts = len(upstream.starts)
    workbench.expect(starts == 1, f"{upstream.name}: it runs on", f"{starts} starts")


def _must_have_started_again(workbench: Workbench, upstream: StdioMockUpstream) -> None:
    starts = len(upstream.starts)
    workbench.expect(starts >= 2, f"{upstream.name}: a second start", f"{starts} starts")


@check("STD-035", timeout=110, slow=True)
async def a_server_that_answers_nothing_any_more_is_replaced(workbench: Workbench) -> None:
    ends = {"mute": fall_silent(), "deaf": stop_reading()}
    upstreams = [
        workbench.stdio(name, Script(on=[on_call("add", end, silence())]), timeout=SHORT)
        for name, end in ends.items()
    ]
    async with workbench.serving(*upstreams) as proxy:

        async def case(upstream: MockUpstream) -> None:
            with workbench.case(upstream.name):
                await _must_never_be_answered(workbench, proxy, upstream)
                await must_work_again(workbench, proxy, upstream)

        await workbench.run_cases(*(partial(case, upstream) for upstream in upstreams))
        for upstream in upstreams:
            _must_have_started_again(workbench, upstream)


async def _must_never_be_answered(workbench: Workbench, proxy: Proxy, upstream: MockUpstream) -> None:
    answer = await proxy.call(upstream.name, "add", {"a": 1, "b": 2})
    with workbench.precondition("the first call runs into its timeout"):
        workbench.expect(answer.is_error, "an error", answer.raw)


@check("STD-031", timeout=60, slow=True)
async def a_slow_call_alone_costs_no_connection(workbench: Workbench) -> None:
    slow = on_call("add", stop_reading(), sleep(4.0), read_again())
    busy = workbench.stdio("busy", Script(on=[slow]), timeout=SHORT)
    partly = workbench.stdio("partly", Script(on=[on_call("add", silence())]), timeout=SHORT)
    async with workbench.serving(busy, partly) as proxy:

        async def must_be_busy() -> None:
            with workbench.case("a server that is busy with one call"):
                await _must_never_be_answered(workbench, proxy, busy)
                for _ in range(4):
                    await proxy.begin_call("busy", "echo", {"n": 1})
                await must_work_again(workbench, proxy, busy)

        async def hangs_partly() -> None:
            with workbench.case("a server of which one tool hangs"):
                for _ in range(6):
                    await _must_never_be_answered(workbench, proxy, partly)
                await must_be_echoed(workbench, proxy, "partly", {"x": 1})

        await workbench.run_cases(must_be_busy, hangs_partly)
        # A proxy that gives up late has time for it.
        await anyio.sleep(2.0)
        for upstream in (busy, partly):
            await must_be_echoed(workbench, proxy, upstream.name, {"x": 2})
            _must_run_on(workbench, upstream)


@check("STD-032", timeout=90, slow=True)
async def a_child_that_died_is_noticed_although_a_helper_holds_its_pipes(workbench: Workbench) -> None:
    helpers = {
        "stdout": Grandchild(holds_stdout=True),
        "both": Grandchild(holds_stdout=True, closes_stdin=False),
    }
    upstreams = [
        workbench.stdio(name, Script(on=[on_call("add", crash(3))], grandchildren=[helper]))
        for name, helper in helpers.items()
    ]
    async with workbench.serving(*upstreams) as proxy:

        async def case(upstream: MockUpstream) -> None:
            with workbench.case(f"a helper that holds {upstream.name}"):
                answer = await proxy.call(upstream.name, "add", {"a": 1, "b": 2}, within=SOON)
                workbench.expect(answer.is_error and answer.text, "an error with a reason", answer.raw)
                await must_work_again(workbench, proxy, upstream, within_each=SOON)

        await workbench.run_cases(*(partial(case, upstream) for upstream in upstreams))
        for upstream in upstreams:
            _must_have_started_again(workbench, upstream)


@check("STD-033", timeout=60, slow=True)
async def a_launcher_may_exit_while_its_server_uses_the_pipes(workbench: Workbench) -> None:
    """The server of the second launcher is busy when the launcher exits, and so answers nothing at this moment."""
    slow = on_call("add", stop_reading(), sleep(3.0), read_again())
    early = workbench.stdio("early", Script(startup=[hand_over()]))
    late = workbench.stdio("late", Script(startup=[hand_over(after=1.0)], on=[slow]))
    async with workbench.serving(early, late) as proxy:
        answer = await proxy.call("late", "add", {"a": 1, "b": 2})
        workbench.expect(not answer.is_error, "the call during the exit of the launcher succeeds", answer.raw)
        for upstream in (early, late):
            with workbench.precondition(f"the launcher {upstream.name} has exited"):
                await workbench.eventually(
                    partial(upstream.events, "exit"), within=5.0, what="an exit in its journal"
                )
        await anyio.sleep(1.0)
        for upstream in (early, late):
            await must_be_echoed(workbench, proxy, upstream.name, {"x": 1})
            _must_run_on(workbench, upstream)


@check("STD-034", timeout=90, slow=True)
async def a_child_that_closes_its_stdin_is_replaced(workbench: Workbench) -> None:
    upstream = workbench.stdio("a", Script(on=[on_call("add", close_stdin(), sleep(0.5), reply())]))
    async with workbench.serving(upstream) as proxy:
        answer = await proxy.call("a", "add", {"a": 1, "b": 2})
        workbench.expect(not answer.is_error, "the answer on its way arrives", answer.raw)
        await must_work_again(workbench, proxy, upstream, within_each=SOON)
        _must_have_started_again(workbench, upstream)


@check("SSE-012", timeout=90, slow=True)
async def a_stream_that_went_silent_is_opened_anew(workbench: Workbench) -> None:
    upstream = await workbench.sse("a", Script(on=[on_call("add", fall_silent())]), timeout=SHORT)
    async with workbench.serving(upstream) as proxy:
        await _must_never_be_answered(workbench, proxy, upstream)
        await must_work_again(workbench, proxy, upstream)
        workbench.expect(len(upstream.streams) >= 2, "a second stream", upstream.streams)


@check("OPS-026", timeout=90, slow=True)
async def a_server_behind_a_url_that_answers_nothing_any_more_is_connected_anew(workbench: Workbench) -> None:
    script = Script(on=[on_call("add", fall_silent())], http=Http(sessions=True))
    upstream = await workbench.http("a", script, timeout=SHORT)
    async with workbench.serving(upstream) as proxy:
        await _must_never_be_answered(workbench, proxy, upstream)
        await must_work_again(workbench, proxy, upstream)
        begun = upstream.posts("initialize")
        workbench.expect(len(begun) >= 2, "a second handshake", begun)
