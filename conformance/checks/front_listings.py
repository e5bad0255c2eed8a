"""FRONT: lists, templates and changes of a server that means harm, beside a server that works.

The bounds are generous, so that a slow machine does not decide: an honest proxy stays far below them.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import anyio

from conformance.checks import check
from conformance.errors import Violation
from conformance.workbench.exposed import needs
from conformance.workbench.listing_forms import listing_text
from conformance.workbench.memory import bounded_growth
from mock_servers.hostile import HOSTILE
from mock_servers.script import (
    Rule,
    Script,
    default_tools,
    list_changed,
    on_call,
    reply,
    set_tools,
    sleep,
    tool,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from conformance.workbench.mocks import StdioMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

MIB = 1 << 20
#: wrong names; a comparison of one of them with every tool takes about a second, so several show it on a fast machine too
SIMILAR = [f"generated-{number}1234x" for number in range(4)]
#: how much the peak of the memory may grow
MAX_GROWTH = 320 * MIB
#: seconds for a call to the other server while the attack goes on
MAX_DELAY = 1.5
#: calls at the same time, and the listings that they may cause
CALLS = 32
MAX_LISTINGS = 6


@check("FRONT-033", timeout=60, serial=True, slow=True)
async def a_listing_of_any_length_costs_bounded_memory_and_time(workbench: Workbench) -> None:
    """Without /proc, the check does not judge the memory."""
    cases: dict[str, Callable[[Proxy], Awaitable[object]]] = {
        "pages-without-end": partial(_after_the_attack, "pages-without-end", ["echo"]),
        "similar-names": partial(_after_the_attack, "similar-names", SIMILAR),
        "a-million-resources": lambda proxy: proxy.request("resources/list", {}, within=20.0),
    }
    for name, attack in cases.items():
        with workbench.case(name):
            upstream, other = workbench.stdio(name, HOSTILE[name].script()), workbench.stdio("other")
            async with workbench.serving(upstream, other, wire_types=False) as proxy:
                with bounded_growth(workbench, proxy, MAX_GROWTH):
                    await _must_stay_quick(workbench, proxy, attack)


async def _after_the_attack(group: str, names: Sequence[str], proxy: Proxy) -> None:
    """Begin the attack, then call tools at once, which need the new list; any answer is right."""
    await proxy.call(group, "attack")
    async with anyio.create_task_group() as calls:
        for name in names:
            calls.start_soon(partial(proxy.call, group, name, within=20.0))


async def _must_stay_quick(
    workbench: Workbench, proxy: Proxy, attack: Callable[[Proxy], Awaitable[object]]
) -> None:
    """Raise `Violation` unless calls to the other server stay quick until the attack ends, and work then too."""
    is_over = anyio.Event()

    async def run() -> None:
        try:
            await attack(proxy)
        finally:
            is_over.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        number = 0
        while not is_over.is_set() or not number:
            number += 1
            began = time.monotonic()
            answer = await proxy.call("other", "echo", {"number": number})
            took = time.monotonic() - began
            workbench.expect(not answer.is_error, "the call to the other server works", answer.raw[:1000])
            what = f"a call to the other server takes at most {MAX_DELAY:g} s"
            workbench.expect(took <= MAX_DELAY, what, f"{took:.1f} s")
            await anyio.sleep(0.02)


@check("FRONT-034", timeout=40, serial=True)
async def a_template_never_stops_the_proxy(workbench: Workbench) -> None:
    upstream = workbench.stdio("hostile", HOSTILE["ambiguous-templates"].script())
    other = workbench.stdio("other")
    async with workbench.serving(upstream, other) as proxy:
        needs(proxy, "resources")
        for uri in ("note:" + "a" * 60, "a" * 4000):
            with workbench.case(f"a URI of {len(uri)} characters"):
                read = partial(_must_be_unknown_uri, workbench, uri=uri)
                await _must_stay_quick(workbench, proxy, read)


async def _must_be_unknown_uri(workbench: Workbench, proxy: Proxy, uri: str) -> None:
    answer = await proxy.request("resources/read", {"uri": uri}, within=10.0)
    workbench.expect(answer.error is not None, "an error for a URI that no server has", answer.raw[:1000])


@check("FRONT-035", timeout=40, slow=True)
async def calls_at_the_same_time_share_one_listing(workbench: Workbench) -> None:
    """A proxy that does not list the tools before a call shares nothing, and passes."""
    new = [*default_tools(), tool("new")]
    change = on_call("echo", set_tools(new), list_changed(), reply(), params={"arguments": {"change": True}})
    upstream = workbench.stdio("a", Script(on=[change, Rule("tools/list", [sleep(0.3)])]))
    async with workbench.serving(upstream) as proxy:
        await proxy.call("a", "echo", {"change": True})
        before = len(upstream.requests("tools/list"))
        await proxy.begin("tools/call", proxy.call_params("a", "echo", {"number": 0}), id=1)
        steps = [partial(_must_be_answered, workbench, proxy, number) for number in range(1, CALLS)]
        await workbench.run_cases(partial(_cancel, proxy), *steps)
        listings = len(upstream.requests("tools/list")) - before
        what = f"at most {MAX_LISTINGS} listings for {CALLS} calls at the same time"
        workbench.expect(listings <= MAX_LISTINGS, what, f"{listings} listings")
        answer = await proxy.call("a", "new")
        workbench.expect(not answer.is_error, "the new tool works", answer.raw)
        await _must_see_the_last_change(workbench, proxy, upstream)


async def _cancel(proxy: Proxy) -> None:
    """Cancel the first of the calls while its list is on the way."""
    await anyio.sleep(0.1)
    await proxy.notify("notifications/cancelled", {"requestId": 1})


async def _must_be_answered(workbench: Workbench, proxy: Proxy, number: int) -> None:
    answer = await proxy.call("a", "echo", {"number": number})
    workbench.expect(not answer.is_error, f"call {number} works, although the first is cancelled", answer.raw)


async def _must_see_the_last_change(workbench: Workbench, proxy: Proxy, upstream: StdioMockUpstream) -> None:
    """Raise `Violation` for an old listing: the announcement of a change comes before the answer to the call."""
    await proxy.call("a", "echo", {"change": True})
    listed = len(upstream.requests("tools/list"))
    answer = await proxy.tools_of("a")
    workbench.expect('"new"' in listing_text(answer), "the listing shows the new tool", answer.raw)
    if len(upstream.requests("tools/list")) == listed:
        raise Violation("a new listing after the change", "an old one")
