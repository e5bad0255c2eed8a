"""Running proxies for the checks of what is left after their end.

A proxy can know the processes that it began with, and lose those that come after a crash, a failed start or a reload. It can also lose
those that it is ending. All of them stay until SIGKILL, and so do most of their grandchildren.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import anyio

from conformance.errors import NotApplicable, Untestable, Violation
from conformance.workbench.waking import woken
from mock_servers.script import Grandchild, Rule, Script, crash, error, on_call, silence

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from conformance.workbench.mocks import StdioMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

    #: a proxy and its servers
    Running = tuple[Proxy, list[StdioMockUpstream]]

STUBBORN = Script(ignore_eof=True, ignore_sigterm=True, grandchildren=[Grandchild(ignore_sigterm=True)])
#: seconds for a second start, or for the notice of a save. The check ends a proxy that needs more as it is.
SOON = 8.0
#: A child that ends at the era probe may start again at once (STD-022), so a failed start can be two of these.
_FAILS_TWICE = 'if [ -e "$0.2" ]; then exec "$@"; fi; if [ -e "$0" ]; then : > "$0.2"; fi; : > "$0"; exit 1'


def endings(
    workbench: Workbench, judge: Callable[[Proxy, list[StdioMockUpstream]], Awaitable[None]]
) -> list[Callable[[], Awaitable[None]]]:
    """Cases for `run_cases`. In each of them `judge` ends another proxy, and looks at what is left of its servers."""

    async def must_end(what: str, running: AbstractAsyncContextManager[Running]) -> None:
        async with running as (proxy, upstreams):
            with workbench.case(what):
                await judge(proxy, upstreams)

    states = {"a proxy whose servers have failed to start": _after_failed_starts}
    if not workbench.sut.profile.relay:
        states["a proxy whose server has started again"] = _after_a_crash_and_a_reload
    if workbench.reloads:
        states["a proxy that is ending servers"] = _while_old_processes_end
    return [partial(must_end, what, run(workbench)) for what, run in states.items()]


@asynccontextmanager
async def _after_failed_starts(workbench: Workbench) -> AsyncIterator[Running]:
    """One server has failed to start, one refuses the handshake, and one never answers.

    Such a proxy may answer nothing, and may end by itself.
    """
    late = workbench.stdio("late", STUBBORN)
    command = [late.entry["command"], *late.entry["args"]]
    mark = str(workbench.sandbox.tmp / "started")
    late = late.variant(command="/bin/sh", args=["-c", _FAILS_TWICE, mark, *command])
    refusal = Rule("initialize", [error(-32603, "not now")])
    refusing = workbench.stdio("refusing", replace(STUBBORN, on=[refusal]))
    silent = workbench.stdio("silent", replace(STUBBORN, on=[Rule("*", [silence()])]))
    async with workbench.proxy(late, refusing, silent) as proxy:
        proxy.may_end_by_itself()
        with suppress(Untestable, Violation):
            await proxy.handshake()
            for upstream in (refusing, silent):
                await proxy.wake(upstream.name)
            await woken(proxy, late.name, lambda: late.requests("tools/list"), within=SOON, what="a start")
        yield proxy, [late, refusing, silent]


@asynccontextmanager
async def _after_a_crash_and_a_reload(workbench: Workbench) -> AsyncIterator[Running]:
    """One server has crashed. If the proxy notices a save, another one has a new definition, and one is new."""
    # The grandchild ends at SIGTERM, because a proxy may end what a crash leaves before it starts the server again.
    script = replace(STUBBORN, on=[on_call("add", crash())], grandchildren=[Grandchild()])
    crashed = workbench.stdio("crashed", script)
    changed, added = workbench.stdio("changed", STUBBORN), workbench.stdio("added", STUBBORN)
    first = [crashed, changed] if workbench.reloads else [crashed]
    config = workbench.config(*first)
    async with workbench.serving(*first, config=config) as proxy:
        await crash_and_use(proxy, crashed)
        if workbench.reloads:
            workbench.save(config, crashed, changed.variant(args=[*changed.entry["args"], "again"]), added)
            with suppress(Untestable, Violation):
                await proxy.ready(added, within=SOON)
                await woken(proxy, changed.name, lambda: len(changed.starts) > 1, within=SOON, what="a start")
        yield proxy, [crashed, changed, added]


async def crash_and_use(proxy: Proxy, upstream: StdioMockUpstream) -> None:
    """Call until the server answers again. A proxy may start a server when it needs it, and may also leave it dead."""
    # A list without the tools of a dead server may not tell what to call.
    with suppress(NotApplicable, Violation), anyio.move_on_after(SOON):
        await proxy.call(upstream.name, "add", {"a": 1, "b": 2})
        while (await proxy.call(upstream.name, "echo", {"x": 1})).is_error:  # noqa: ASYNC110 - no event tells of it
            await anyio.sleep(0.2)


@asynccontextmanager
async def _while_old_processes_end(workbench: Workbench) -> AsyncIterator[Running]:
    """A save has removed a server, and has replaced another one by a server that ends at once. So the proxy itself can end early."""
    removed, old = workbench.stdio("removed", STUBBORN), workbench.stdio("replaced", STUBBORN)
    new = workbench.stdio("replaced")
    config = workbench.config(removed, old)
    async with workbench.serving(removed, old, config=config) as proxy:
        workbench.save(config, new)
        with suppress(Violation):
            await woken(proxy, new.name, lambda: new.requests("tools/list"), within=SOON, what="a start")
        yield proxy, [removed, old, new]
