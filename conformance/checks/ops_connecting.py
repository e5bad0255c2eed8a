"""OPS-004 to OPS-007, OPS-045: connections to upstreams that are slow, silent, or down.

The upstream's journal gives the times that the upstream can see. The backoff counts from the failure of an
attempt, so the attempt itself may take any time.
"""

from __future__ import annotations

import itertools
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import anyio

from conformance.checks import check
from conformance.checks.common import needs_names_of_tools
from conformance.errors import Violation
from conformance.workbench.remotes import RemoteMockUpstream
from mock_servers.remote_actions import cut
from mock_servers.script import Rule, Script, crash, silence, sleep

if TYPE_CHECKING:
    from conformance.workbench.mocks import MockUpstream, StdioMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench


@check("OPS-004", timeout=30, serial=True, slow=True)
async def slow_upstreams_delay_neither_the_client_nor_each_other(workbench: Workbench) -> None:
    hanging = workbench.stdio("hanging", Script(on=[Rule("*", [silence()])]))
    slow = [
        workbench.stdio(f"slow{number}", Script(on=[Rule("initialize", [sleep(2.0)])])) for number in range(3)
    ]

    async def must_become_ready(proxy: Proxy, upstream: StdioMockUpstream) -> None:
        await proxy.ready(upstream)
        seconds = time.monotonic() - min(started.t for one in slow for started in one.starts[:1])
        what = f"{upstream.name} is ready 5 s after the first start of a server"
        workbench.expect(seconds <= 5.0, what, f"{seconds:.1f} s")

    async with workbench.proxy(hanging, *slow) as proxy:
        with workbench.must("the proxy answers initialize while upstreams are slow"):
            # How long the program itself takes is its own matter: the hanging upstream would delay the answer for ever.
            greeting = await proxy.handshake()
        took = (await proxy.request("tools/list", {})).t - greeting.t
        # A flat face waits for the lists of its servers, and at most 2 s for those that are late.
        limit = 2.0 if workbench.sut.profile.face == "dynamic" else 4.0
        workbench.expect(took <= limit, f"the answer to tools/list comes within {limit:g} s", f"{took:.1f} s")
        for upstream in slow:
            if workbench.promises("eager-start"):
                await upstream.started()
            else:
                await proxy.wake(upstream.name)
        with workbench.must("three upstreams that need 2 s each become ready"):
            await workbench.run_cases(*(partial(must_become_ready, proxy, upstream) for upstream in slow))


@check("OPS-005", timeout=40, slow=True)
async def a_client_waits_about_ten_seconds_for_a_silent_upstream(workbench: Workbench) -> None:
    mute, listless = Rule("*", [silence()]), Rule("tools/list", [silence()])
    upstreams: list[MockUpstream] = [
        workbench.stdio("mute", Script(on=[mute])),
        workbench.stdio("listless", Script(on=[listless])),
    ]
    if workbench.has("HTTP"):
        upstreams.append(await workbench.http("mute-server", Script(on=[mute])))
        upstreams.append(await workbench.http("listless-server", Script(on=[listless])))
    # Each upstream has its own proxy, so that only the limit decides about a proxy that connects to one
    # server at a time.
    await workbench.run_cases(
        *(partial(_must_be_not_available, workbench, upstream) for upstream in upstreams)
    )


async def _must_be_not_available(workbench: Workbench, upstream: MockUpstream) -> None:
    async with workbench.proxy(upstream) as proxy:
        await proxy.handshake()
        began = time.monotonic()
        with workbench.must(f"the client gets an answer about {upstream.name}"):
            asked = await proxy.tools_of(upstream.name, within=20.0)  # wakes a lazy proxy
        with workbench.case(upstream.name):
            waited = asked.t - began
            workbench.expect(waited <= 16.0, "the client gets an answer within 16 s", f"{waited:.1f} s")
            # A client that starts the proxy may have waited for a moment already.
            workbench.expect(waited >= 5.0 - 0.5, "the upstream has at least 5 s", f"{waited:.1f} s")
            workbench.expect(asked.is_error, "the client learns that the group is not available", asked.raw)


@dataclass(frozen=True)
class _Attempt:
    """One attempt to connect to an upstream that dies or resets: the times of its beginning and of its
    failure.
    """

    began: float
    failed: float


_SAME_ATTEMPT = 1.5
#: A child that dies at the era probe starts once more at once, without the probe (STD-022).
_STARTS = 2
#: A server may get a probe, a handshake, and a request of the older transport.
_REQUESTS = 3


def _attempts(upstream: StdioMockUpstream | RemoteMockUpstream) -> list[_Attempt]:
    """The finished attempts in order. A few starts, or requests, in quick succession are one attempt."""
    lives, most = (
        (_exchanges(upstream), _REQUESTS)
        if isinstance(upstream, RemoteMockUpstream)
        else (_lives(upstream), _STARTS)
    )
    attempts: list[_Attempt] = []
    parts = most
    for began, ended in lives:
        if parts < most and began - attempts[-1].failed <= _SAME_ATTEMPT:
            attempts[-1] = _Attempt(attempts[-1].began, ended)
            parts += 1
        else:
            attempts.append(_Attempt(began, ended))
            parts = 1
    return attempts


def _lives(upstream: StdioMockUpstream) -> list[tuple[float, float]]:
    exits = {entry.pid: entry.t for entry in upstream.entries if entry.event == "exit"}
    return [(start.t, exits[start.pid]) for start in upstream.starts if start.pid in exits]


def _exchanges(upstream: RemoteMockUpstream) -> list[tuple[float, float]]:
    return [(request.t, request.ended) for request in upstream.http if request.ended is not None]


def _pauses(upstream: StdioMockUpstream | RemoteMockUpstream) -> list[float]:
    """Seconds from each failure to the next attempt, so that the attempt's own time does not count."""
    attempts = _attempts(upstream)
    return [round(later.began - earlier.failed, 2) for earlier, later in itertools.pairwise(attempts)]


@check("OPS-006", timeout=50, slow=True)
async def a_failed_connection_is_retried_three_times_with_growing_pauses(workbench: Workbench) -> None:
    good, dying = workbench.stdio("good"), workbench.stdio("dying", Script(startup=[crash()]))
    resets = [Rule(what, [cut(reset=True)]) for what in ("*", "GET")]
    failing: list[StdioMockUpstream | RemoteMockUpstream] = [dying]
    if workbench.has("HTTP"):
        failing.append(await workbench.http("resetting", Script(on=resets)))
    async with workbench.proxy(good, *failing) as proxy:
        await proxy.handshake()
        await proxy.ready(good)
        await workbench.run_cases(
            *(partial(_must_be_tried_again, workbench, proxy, upstream) for upstream in failing)
        )


async def _must_be_tried_again(
    workbench: Workbench, proxy: Proxy, upstream: StdioMockUpstream | RemoteMockUpstream
) -> None:
    await proxy.tools_of(upstream.name)  # wakes a lazy proxy
    with workbench.case(upstream.name):
        for number, pause in enumerate((2.0, 4.0, 8.0)):
            what = f"attempt {number + 2} comes {pause:g} s after the failure before it"
            pauses = await workbench.eventually(
                partial(_more_than, number, upstream), within=pause + 5.0, what=what
            )
            right = pause - 0.2 <= pauses[number] <= pause + 3.0
            workbench.expect(right, f"{what}, -0.2 s to +3 s", f"pauses of {pauses} s")
        count = len(_attempts(upstream))

        def must_not_retry() -> None:
            seen = f"{_pauses(upstream)} s"
            workbench.expect(len(_attempts(upstream)) == count, "no more than three retries", seen)

        await workbench.holds_for(4.0, must_not_retry)


def _more_than(number: int, upstream: StdioMockUpstream | RemoteMockUpstream) -> list[float]:
    pauses = _pauses(upstream)
    return pauses if len(pauses) > number else []


@check("OPS-007", timeout=110, slow=True)
async def failed_groups_are_retried_every_half_minute(workbench: Workbench) -> None:
    upstream = workbench.stdio("late", Script(startup=[crash()]))
    async with workbench.proxy(upstream) as proxy:
        await proxy.handshake()
        await proxy.tools_of("late")  # wakes a lazy proxy
        began = (await upstream.started()).t

        def must_keep_trying() -> None:
            idle = time.monotonic() - upstream.starts[-1].t
            workbench.expect(idle <= 43.0, "an attempt at least every 40 s", f"none for {idle:.0f} s")
            # The first three pauses are those of OPS-006, and the request above can make another attempt.
            pauses = _pauses(upstream)
            short = [pause for pause in pauses if pause < 20.0]
            what = "at least 20 s between the later attempts"
            workbench.expect(len(short) <= 4 and pauses[: len(short)] == short, what, f"pauses of {pauses} s")

        await workbench.holds_for(began + 40.0 - time.monotonic(), must_keep_trying)
        before = len(upstream.starts)
        _comes_up(upstream)
        while len(upstream.starts) == before:
            must_keep_trying()
            await anyio.sleep(0.1)
        with workbench.must("the group is usable once the upstream is up"):
            await proxy.ready(upstream)
        answer = await proxy.call("late", "add", {"a": 1, "b": 2})
        workbench.expect(not answer.is_error, "a call works", answer.raw)
        seconds = time.monotonic() - began
        workbench.expect(seconds <= 80.0, "usable by 80 s", f"after {seconds:.0f} s")


@check("OPS-045", timeout=40, slow=True)
async def a_call_to_a_failed_server_tries_it_at_once(workbench: Workbench) -> None:
    """A proxy with a backoff would wait for 4 s after the second failure."""
    upstream = workbench.stdio("down", Script(startup=[crash()]))
    needs_names_of_tools(workbench)
    async with workbench.proxy(upstream) as proxy:
        await proxy.handshake()
        failure = await proxy.failure_of("down")
        with workbench.precondition("a start that fails"):
            workbench.expect(failure and upstream.starts, "an error after a start", failure)
        with suppress(Violation):
            # A proxy that starts a server only on demand makes no second attempt by itself.
            what = "a second start"
            await workbench.eventually(lambda: len(upstream.starts) > 1, within=4.0, what=what)
        await anyio.sleep(max(0.0, upstream.starts[-1].t + 1.3 - time.monotonic()))
        _comes_up(upstream)
        answer = await proxy.call("down", "add", {"a": 1, "b": 2}, within=8.0)
        workbench.expect(not answer.is_error, "the call succeeds", answer.raw, timed=True)


def _comes_up(upstream: StdioMockUpstream) -> None:
    """From now on a start succeeds. The rename makes sure that no start reads half a script."""
    Script().save(upstream.folder / "next.json")
    os.replace(upstream.folder / "next.json", upstream.folder / "script.json")
