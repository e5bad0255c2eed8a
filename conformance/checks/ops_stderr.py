"""OPS: a stderr that takes nothing."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from conformance.checks import check

if TYPE_CHECKING:
    from conformance.workbench.mocks import StdioMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

#: servers that fail to start: the report of each takes some 100 bytes, and the pipe 4 KiB
FAILING = 60
CALLS = 5


def _failing(workbench: Workbench, names: str, number: int) -> list[StdioMockUpstream]:
    missing = str(workbench.sandbox.root / "no-such-program")
    return [workbench.stdio(f"{names}{n}").variant(command=missing) for n in range(number)]


async def _must_go_on(workbench: Workbench, proxy: Proxy, upstream: StdioMockUpstream) -> None:
    with workbench.must("the proxy answers initialize"):
        await proxy.handshake()
    with workbench.must("the tools of the working server are listed"):
        await proxy.ready(upstream, within=8.0)
    for number in range(CALLS):
        answer = await proxy.call(upstream.name, "add", {"a": number, "b": 2})
        workbench.expect(not answer.is_error, f"call {number + 1} works", answer.raw)


@check("OPS-041", timeout=60, slow=True)
async def a_stderr_that_the_client_does_not_read_stops_nothing(workbench: Workbench) -> None:
    upstream = workbench.stdio("works")
    failing = _failing(workbench, "fails", FAILING)
    async with workbench.proxy(*failing, upstream, env=workbench.sut.profile.log_switch) as proxy:
        proxy.ignore_stderr()
        await _must_go_on(workbench, proxy, upstream)
        for broken in failing[:3]:
            await proxy.call(broken.name, "echo", {})
        answer = await proxy.call(upstream.name, "add", {"a": 1, "b": 1})
        workbench.expect(not answer.is_error, "a later call works", answer.raw)
        await proxy.end()
        code = await proxy.wait_exit()
        workbench.expect(code is not None, "the proxy ends within 5 s after its stdin", proxy.how_it_ended())


@check("OPS-042", timeout=40)
async def a_closed_stderr_stops_nothing(workbench: Workbench) -> None:
    async def must_work(what: str, upstream: StdioMockUpstream, *, has_stderr: bool) -> None:
        failing = _failing(workbench, f"fails-{upstream.name}", 3)
        switch = workbench.sut.profile.log_switch
        with workbench.case(what):
            async with workbench.proxy(*failing, upstream, env=switch, has_stderr=has_stderr) as proxy:
                if has_stderr:
                    proxy.close_stderr()
                await _must_go_on(workbench, proxy, upstream)
                workbench.expect(not proxy.junk, "only messages on stdout", proxy.junk)

    await workbench.run_cases(
        partial(must_work, "the client closes stderr", workbench.stdio("piped"), has_stderr=True),
        partial(must_work, "there is no stderr", workbench.stdio("bare"), has_stderr=False),
    )
