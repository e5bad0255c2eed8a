"""RLD: the effect of a changed definition of a server on a running proxy."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import anyio

from conformance.checks import check
from conformance.checks.later_processes import STUBBORN
from conformance.checks.rld import POLL
from conformance.checks.rld_processes import CRASHED, SILENT, must_end_old_processes
from conformance.workbench.exposed import requests_of_each_kind, script_of_each_kind
from mock_servers.script import silence

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.workbench.mocks import StdioMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench
    from mock_servers.journal_views import Start

#: seconds until a change has its effect
_WITHIN = 10.0
#: the member of `timeout` for each method
_TIMEOUTS = {"tools/call": "tools", "resources/read": "resources", "prompts/get": "prompts"}


@check("RLD-004", timeout=90, slow=True)
async def a_changed_definition_is_used_for_the_next_call(workbench: Workbench) -> None:
    await workbench.run_cases(
        partial(_must_take_effect, workbench),
        partial(must_end_old_processes, workbench, workbench.stdio(CRASHED), workbench.stdio(SILENT)),
    )


async def _must_take_effect(workbench: Workbench) -> None:
    """One save changes one member of each server, so that each effect has one cause."""
    mark = "mark-of-the-environment"
    arguments = workbench.stdio("arguments", STUBBORN, args=["before"])
    variables = workbench.stdio("variables", env={"WHICH": "before"})
    headers = await workbench.http("headers", headers={"X-Which": "before"})
    here, there = [await workbench.http("address") for _ in range(2)]
    slow = workbench.stdio(
        "slow", script_of_each_kind(silence()), timeout=dict.fromkeys(_TIMEOUTS.values(), "30s")
    )
    features = [workbench.stdio("features")] if workbench.can_set("features") else []
    without = [workbench.stdio("without", features={"tools": False})] if features else []
    old = (arguments, variables, headers, here, slow, *features)
    config = workbench.config(*old, *without)
    async with workbench.serving(*old, config=config, env={"MARK": mark}) as proxy:
        processes = set(arguments.alive)
        workbench.save(
            config,
            arguments.variant(args=[*arguments.entry["args"][:-1], "after-${MARK}"]),
            variables.variant(env={"WHICH": "${MARK}"}),
            headers.variant(headers={"X-Which": "after-${MARK}"}),
            there,
            slow.variant(timeout=dict.fromkeys(_TIMEOUTS.values(), 1)),
            *(one.variant(features={"tools": False}) for one in features),
            *(one.variant(features={"tools": True}) for one in without),
        )

        async def must_use(what: str, name: str, seen: Callable[[], object], new: object) -> None:
            deadline = time.monotonic() + _WITHIN
            while True:
                await proxy.call(name, "add", {"a": 1, "b": 2})
                if (last := seen()) == new:
                    return
                workbench.expect(
                    time.monotonic() < deadline, f"within {_WITHIN:g} s, a call uses {what}: {new}", last
                )
                await anyio.sleep(POLL)

        await must_use(
            "the new argument",
            arguments.name,
            lambda: [start.args for start in _reached(arguments)],
            [[f"after-{mark}"]],
        )
        await must_use(
            "the new variable",
            variables.name,
            lambda: [start.env.get("WHICH") for start in _reached(variables)],
            [mark],
        )
        await must_use(
            "the new header",
            headers.name,
            lambda: [post.header("X-Which") for post in headers.posts("tools/call")[-1:]],
            [f"after-{mark}"],
        )
        await must_use("the new URL", there.name, lambda: bool(there.posts("tools/call")), True)
        for one in features:
            await _must_lose_its_tools(workbench, proxy, one.name)
        for one in without:
            await must_use("the tools", one.name, lambda one=one: bool(one.requests("tools/call")), True)  # type: ignore[misc]
        await _must_end_after_a_second(workbench, proxy, slow)
        await workbench.eventually(
            lambda: not processes & set(arguments.alive),
            within=_WITHIN,
            what="the processes of the old definition end",
            seen=lambda: processes & set(arguments.alive),
        )


def _reached(upstream: StdioMockUpstream) -> list[Start]:
    """The start of the process that the last call reached; empty before the first call."""
    calls = upstream.requests("tools/call")
    return [start for start in upstream.starts if calls and start.pid == calls[-1].pid]


async def _must_lose_its_tools(workbench: Workbench, proxy: Proxy, group: str) -> None:
    """Raise `Violation` unless the group soon lists no tool, or a call of it is an error. CFG-015 judges both."""
    deadline = time.monotonic() + _WITHIN
    while await proxy.definitions_of(group, "add"):
        called = await proxy.call(group, "add", {"a": 1, "b": 2})
        if called.is_error:
            return
        what = f"within {_WITHIN:g} s, the tools of {group} are off"
        workbench.expect(time.monotonic() < deadline, what, called.raw)
        await anyio.sleep(POLL)


async def _must_end_after_a_second(workbench: Workbench, proxy: Proxy, slow: StdioMockUpstream) -> None:
    """Raise `Violation` unless a request of each kind ends at the new timeout of 1 s."""
    for method, params in (await requests_of_each_kind(proxy, slow.name)).items():
        began = time.monotonic()
        with workbench.case(f"the timeout of {_TIMEOUTS[method]} is 1 s now"):
            await proxy.request(method, params, within=10.0)
        took = time.monotonic() - began
        workbench.expect(0.9 <= took <= 3.5, f"{method} ends at its new timeout of 1 s", f"{took:.2f} s")
        workbench.expect(slow.requests(method), f"{method} reaches the upstream", slow.lines)
