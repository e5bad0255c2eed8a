"""OPS: upstreams that flood the proxy, or do not read its answers, beside a healthy one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from conformance.checks import check
from conformance.checks.common import must_be_echoed
from conformance.workbench.memory import bounded_growth, memory_of
from mock_servers.hostile import HOSTILE
from mock_servers.script import Script, flood, on_call, read_again, reply, stop_reading

if TYPE_CHECKING:
    from conformance.workbench.mocks import MockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

MIB = 1 << 20
#: seconds of a flood, and the seconds that a healthy call beside it may take on a busy machine
FLOODED = 1.5
PROMPT = 2.0
#: seconds without growth after which a proxy has taken what it takes
STILL = 2.0
#: calls beside a flood, also on a machine where each takes long
MIN_CALLS = 12
#: how much the memory of the proxy may grow, when a child sends 600 MiB
MAX_GROWTH = 192 * MIB
#: pings that an honest child sends before it reads; they and their answers are larger than any pipe
HONEST_PINGS = 1500
CHILDREN = (
    "asks-often-without-reading",
    "prints-digits",
    "prints-blank-lines",
    "answers-no-request",
    "changes-all-the-time",
    "logs-all-the-time",
)


@check("OPS-012", timeout=60, slow=True, serial=True)
async def a_flood_takes_no_time_from_the_others(workbench: Workbench) -> None:
    """The children flood in one proxy and the servers behind a URL in another, so that no other process competes."""
    with workbench.case("children"):
        await _must_stay_prompt(
            workbench, *(workbench.stdio(name, HOSTILE[name].script()) for name in CHILDREN)
        )
    with workbench.case("servers behind a URL"):
        remote = [await workbench.http("stream", HOSTILE["streams-digits"].script())]
        if workbench.has("SSE"):
            remote.append(await workbench.sse("events", HOSTILE["streams-digits-to-all"].script()))
        await _must_stay_prompt(workbench, *remote)


async def _must_stay_prompt(workbench: Workbench, *attackers: MockUpstream) -> None:
    healthy = workbench.stdio("healthy")
    async with workbench.serving(healthy, *attackers) as proxy:
        with workbench.precondition("the healthy upstream works before the flood"):
            await must_be_echoed(workbench, proxy, "healthy", {"x": 0})
        for attacker in attackers:
            await proxy.begin_call(attacker.name, "attack")
        end, calls = time.monotonic() + FLOODED, 0
        while time.monotonic() < end or calls < MIN_CALLS:
            calls += 1
            for method, params in (
                ("tools/call", proxy.call_params("healthy", "add", {"a": 1, "b": 2})),
                ("ping", None),
            ):
                answer = await proxy.request(method, params, within=PROMPT)
                workbench.expect(not answer.is_error, f"an answer to {method}", answer.raw)
            await anyio.sleep(0.02)


@check("OPS-013", timeout=60, slow=True)
async def answers_that_a_child_does_not_read_have_a_bound(workbench: Workbench) -> None:
    hostile = workbench.stdio("hostile", HOSTILE["asks-without-reading"].script())
    healthy = workbench.stdio("healthy")
    async with workbench.serving(hostile, healthy) as proxy:
        with bounded_growth(workbench, proxy, MAX_GROWTH):
            await proxy.begin_call("hostile", "attack")
            await _stops_growing(proxy)
            with workbench.case("the other group"):
                await must_be_echoed(workbench, proxy, "healthy", {"x": 1})
    await _must_answer_honest_child(workbench)


async def _stops_growing(proxy: Proxy) -> None:
    """Wait until the peak memory has not grown for `STILL` seconds, or has grown too much.

    On a busy machine, the child needs long for its requests.
    """
    first = peak = memory_of(proxy) or 0
    since = time.monotonic()
    while time.monotonic() - since < STILL and peak - first <= MAX_GROWTH:
        await anyio.sleep(0.1)
        if (now := memory_of(proxy) or 0) != peak:
            peak, since = now, time.monotonic()


async def _must_answer_honest_child(workbench: Workbench) -> None:
    question = '{"jsonrpc":"2.0","id":"$n' + "x" * 1024 + '","method":"ping"}\n'
    writes_first = on_call("echo", stop_reading(), flood(question, count=HONEST_PINGS), read_again(), reply())
    honest = workbench.stdio("honest", Script(on=[writes_first]))
    with workbench.case("a child that writes much before it reads"):
        async with workbench.serving(honest) as proxy:
            await must_be_echoed(workbench, proxy, "honest", {"x": 2})
            await must_answer_pings(workbench, honest, HONEST_PINGS, within=10.0)


async def must_answer_pings(
    workbench: Workbench, upstream: MockUpstream, number: int, *, within: float
) -> None:
    """Raise `Violation` unless the upstream gets the answers to its pings within so many seconds."""
    await workbench.eventually(
        lambda: len(upstream.events("answer")) == number,
        within=within,
        what=f"{number} answers",
        seen=lambda: len(upstream.events("answer")),
    )


def descriptors(proxy: Proxy) -> int | None:
    """The open descriptors of the proxy; None without /proc."""
    folder = Path(f"/proc/{proxy.pid}/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else None
