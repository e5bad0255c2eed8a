"""OPS-030 to OPS-037: starts that are slow, many, short of descriptors, or disturbed by the era probe."""

from __future__ import annotations

import os
import resource
import time
from functools import partial
from typing import TYPE_CHECKING

from conformance.checks import check
from conformance.checks.common import must_be_echoed
from mock_servers.remote_actions import cut, respond
from mock_servers.script import Rule, Script, compute, silence, sleep, stderr

if TYPE_CHECKING:
    from conformance.workbench.mocks import StdioMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.remotes import RemoteMockUpstream
    from conformance.workbench.workbench import Workbench

PROBE = "server/discover"
#: processors that the proxy can use, too
PROCESSORS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
#: the soft limit of open files, and a number of stdio servers that needs more
OPEN_FILES, MANY = 64, 24


@check("OPS-030", timeout=60, slow=True)
async def a_start_that_takes_longer_than_ten_seconds_goes_on(workbench: Workbench) -> None:
    upstream = workbench.stdio("slow", Script(startup=[sleep(12.0)]))
    async with workbench.proxy(upstream) as proxy:
        await proxy.handshake()
        began = time.monotonic()
        with workbench.must("the client gets an answer while the server starts"):
            asked = await proxy.tools_of("slow", within=20.0)
        waited = asked.t - began
        workbench.expect(waited <= 16.0, "the client gets an answer within 16 s", f"{waited:.1f} s")
        with workbench.must("the group becomes usable"):
            await proxy.ready(upstream, within=30.0)
        await must_be_echoed(workbench, proxy, "slow", {"x": 1})
    starts = len(upstream.starts)
    workbench.expect(starts == 1, "the first child becomes usable: one start", f"{starts} starts")


@check("OPS-031", timeout=40, slow=True)
async def the_error_during_a_slow_start_repeats_what_the_server_says(workbench: Workbench) -> None:
    said = "Downloading package 14 of 30"
    upstream = workbench.stdio("slow", Script(startup=[stderr(f"{said}\n"), sleep(20.0)]))
    async with workbench.proxy(upstream, exit_within=8.0) as proxy:
        await proxy.handshake()
        with workbench.must("the client gets an answer while the server starts"):
            asked = await proxy.tools_of("slow", within=16.0)
    workbench.expect(asked.is_error, "an error while the server starts", asked.raw)
    workbench.expect(said in str(asked.raw), f"the error contains {said!r}", asked.raw)


@check("OPS-032", timeout=40, slow=True)
async def a_setting_limits_the_duration_of_a_start(workbench: Workbench) -> None:
    script = Script(on=[Rule("*", [silence()])])
    limited = workbench.stdio("limited", script, timeout={"start": "3s"})
    patient = workbench.stdio("patient", script)
    async with workbench.proxy(limited, patient) as proxy:
        await proxy.handshake()
        await proxy.wake("patient")
        with workbench.must("the client gets an answer about the limited server"):
            asked = await proxy.tools_of("limited", within=16.0)
        workbench.expect(asked.is_error, "the limited server has failed", asked.raw)
        workbench.expect("timeout.start" in str(asked.raw), "the error names timeout.start", asked.raw)
        ends = await workbench.eventually(lambda: _told_to_go(limited), within=8.0, what="the child ends")
        took = ends[0] - limited.starts[0].t
        workbench.expect(1.5 <= took <= 8.0, "told to end 1.5 s to 8 s after the start", f"{took:.1f} s")
        what = "the limited server starts again"
        await workbench.eventually(lambda: len(limited.starts) > 1, within=8.0, what=what)
        workbench.expect(not _told_to_go(patient), "the other child goes on", patient.lines)


def _told_to_go(upstream: StdioMockUpstream) -> list[float]:
    return [entry.t for entry in upstream.entries if entry.event in ("eof", "signal")]


def _busy(workbench: Workbench, more: int) -> list[StdioMockUpstream]:
    """So many upstreams more than processors; each needs processor time before it reads."""
    script = Script(startup=[compute(0.3)])
    return [workbench.stdio(f"busy{number}", script) for number in range(PROCESSORS + more)]


@check("OPS-033", timeout=60, slow=True)
async def children_that_need_the_processor_start_a_few_at_a_time(workbench: Workbench) -> None:
    upstreams = _busy(workbench, 10)
    async with workbench.proxy(*upstreams) as proxy:
        await proxy.handshake()
        for upstream in upstreams:
            await proxy.wake(upstream.name)
        with workbench.must("all servers become usable"):
            await proxy.ready(*upstreams, within=30.0)
    spans = [(upstream.starts[0].t, upstream.events("line")[0].t) for upstream in upstreams]
    most = max(sum(began <= moment < ended for began, ended in spans) for moment, _ in spans)
    allowed = PROCESSORS + 6
    workbench.expect(most <= allowed, f"at most {allowed} starts at a time", f"{most} of {len(spans)}")


@check("OPS-034", timeout=40, slow=True)
async def children_that_wait_for_something_else_delay_no_other_start(workbench: Workbench) -> None:
    hang = Script(on=[Rule("*", [silence()])])
    hanging = [workbench.stdio(f"hanging{number}", hang) for number in range(PROCESSORS + 6)]
    good = workbench.stdio("good")
    async with workbench.proxy(*hanging, good) as proxy:
        await proxy.handshake()
        began = time.monotonic()
        with workbench.must("the last server becomes usable"):
            await proxy.ready(good)
        seconds = time.monotonic() - began
        workbench.expect(seconds <= 5.0, "the last server is usable within 5 s", f"{seconds:.1f} s")
        await must_be_echoed(workbench, proxy, good.name, {"x": 1})


@check("OPS-035", timeout=60, slow=True)
async def a_server_that_a_client_waits_for_starts_before_the_others(workbench: Workbench) -> None:
    *others, wanted = _busy(workbench, 14)
    async with workbench.proxy(*others, wanted) as proxy:
        await proxy.handshake()
        with workbench.must("the server that the client asks for becomes usable"):
            await proxy.ready(wanted)
        asked = sum(bool(upstream.requests("tools/list")) for upstream in others)
        most = len(others) // 2
        what = f"at most {most} others were asked for their tools before"
        # On a busy machine most of them may have started before the client asks.
        workbench.expect(asked <= most, what, asked, timed=True)
        await must_be_echoed(workbench, proxy, wanted.name, {"x": 1})


@check("OPS-036", timeout=60, slow=True)
async def a_low_limit_of_open_files_is_enough_for_many_servers(workbench: Workbench) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with workbench.must("the hard limit of open files is at least 256"):
        workbench.expect(hard == resource.RLIM_INFINITY or hard >= 256, "256", hard)
    upstreams = [workbench.stdio(f"server{number}") for number in range(MANY)]
    async with workbench.proxy(*upstreams, open_files=OPEN_FILES) as proxy:
        await proxy.handshake()
        with workbench.must(f"{MANY} servers become usable under a soft limit of {OPEN_FILES} open files"):
            await proxy.ready(*upstreams, within=30.0)
        for upstream in upstreams:
            await must_be_echoed(workbench, proxy, upstream.name, {"x": 1})
    for upstream in upstreams:
        soft = upstream.starts[0].limits["nofile"][0]
        what = f"{upstream.name} has the soft limit that the proxy got, {OPEN_FILES}"
        workbench.expect(soft == OPEN_FILES, what, soft)


@check("OPS-037", slow=True)
async def a_server_that_cannot_answer_the_era_probe_gets_initialize(workbench: Workbench) -> None:
    html = {"Content-Type": "text/html"}
    reactions = {
        "status-500": respond(500, "Internal Server Error"),
        "status-502": respond(502, "<html>bad gateway</html>", headers=html),
        "status-403": respond(403),
        "status-422": respond(422, '{"detail":"no session"}', headers={"Content-Type": "application/json"}),
        "text": respond(200, "hello", headers=html),
        "no-result": respond(200, '{"jsonrpc":"2.0","id":1}', headers={"Content-Type": "application/json"}),
        "reset": cut(reset=True),
    }
    servers = [
        await workbench.http(name, Script(on=[Rule(PROBE, [reaction])]))
        for name, reaction in reactions.items()
    ]
    async with workbench.proxy(*servers) as proxy:
        await proxy.handshake()
        await workbench.run_cases(
            *(partial(_must_become_usable, workbench, proxy, server) for server in servers)
        )


async def _must_become_usable(workbench: Workbench, proxy: Proxy, server: RemoteMockUpstream) -> None:
    with workbench.must(f"{server.name} becomes usable"):
        await proxy.ready(server)
    await must_be_echoed(workbench, proxy, server.name, {"x": 1})
