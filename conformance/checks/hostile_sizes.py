"""SEC, HTTP, STD, OPS: messages that cost many times their size, and a healthy group beside them.

The checks read the proxy's peak memory from /proc. Where there is no /proc, they do not judge the memory.
"""

from __future__ import annotations

import itertools
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from conformance.checks import check
from conformance.checks.common import must_work_again
from conformance.errors import NotApplicable, Untestable
from conformance.workbench.memory import NOT_JUDGED, memory_of
from mock_servers.hostile import HOSTILE
from mock_servers.oauth_script import CLIENT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from conformance.workbench.mocks import MockUpstream, StdioMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.remotes import RemoteMockUpstream
    from conformance.workbench.workbench import Workbench

MIB = 1 << 20
#: seconds between two calls of the healthy group
PAUSE = 0.05
#: what the proxy may have above its current size, if it is to run out of memory
ROOM = 96 * MIB
#: the largest size of a proxy that never held the metadata as a whole
MAX_PEAK = 512 * MIB

LINES = ("backslashes", "half-emoji", "endless-members", "not-utf8", "deep")
BODIES = ("answer-compressed-twice", "array-of-objects", "short-data-lines")
METADATA = ("compressed-metadata", "metadata-compressed-twice")


async def healthy_beside(
    workbench: Workbench,
    proxy: Proxy,
    healthy: MockUpstream,
    attack: Callable[[], Awaitable[None]],
    *,
    within: float,
    growth: int | None,
) -> None:
    """While the attack lasts, each call of the healthy group gets its answer, and the memory grows by at most `growth` bytes."""
    before = memory_of(proxy)
    first_ended = anyio.Event()

    async def call() -> None:
        for number in itertools.count():
            answer = await proxy.call(healthy.name, "echo", {"call": number}, within=within)
            workbench.expect(not answer.is_error, "an answer of the healthy group", answer.raw[:1000])
            first_ended.set()
            await anyio.sleep(PAUSE)

    async with anyio.create_task_group() as beside:
        beside.start_soon(call)
        await attack()
        await first_ended.wait()  # a short attack may end before the first call beside it
        beside.cancel_scope.cancel()
    after = memory_of(proxy)
    if before is None or after is None:
        workbench.note(NOT_JUDGED)
    elif growth is not None:
        grown = f"{(after - before) / MIB:.1f} MiB"
        workbench.expect(after - before < growth, f"less than {growth // MIB} MiB more memory", grown)


async def must_end_calls(workbench: Workbench, proxy: Proxy, upstreams: Sequence[MockUpstream]) -> None:
    """Raise `Violation` unless a call of the tool that begins the attack ends, in any way, and the upstream works again.

    The attacks follow one another; the next one begins while an earlier upstream restarts.
    """
    async with anyio.create_task_group() as restarts:
        for upstream in upstreams:
            with workbench.case(upstream.name):
                await proxy.call(upstream.name, "attack", within=20.0)
            restarts.start_soon(_must_recover, workbench, proxy, upstream)


async def _must_recover(workbench: Workbench, proxy: Proxy, upstream: MockUpstream) -> None:
    with workbench.case(upstream.name):
        await must_work_again(workbench, proxy, upstream)


@check("SEC-013", timeout=60, serial=True, slow=True)
async def compressed_metadata_do_not_fill_the_memory(workbench: Workbench) -> None:
    if not workbench.has("OAUTH"):
        raise NotApplicable("it signs in nowhere, so it requests no metadata")
    healthy = workbench.stdio("healthy")
    upstreams = [await _asking_for_a_sign_in(workbench, name, name) for name in METADATA]
    workbench.browser()
    async with workbench.proxy(healthy, *upstreams) as proxy:
        await proxy.handshake()
        await proxy.ready(healthy)

        async def attack() -> None:
            for upstream in upstreams:
                await must_request_metadata(workbench, proxy, upstream)
                answer = await proxy.call(upstream.name, "echo", within=20.0)
                workbench.expect(answer.is_error, f"a call to {upstream.name} fails", answer.raw[:1000])

        await healthy_beside(workbench, proxy, healthy, attack, within=5.0, growth=None)
        # The attack can begin with the start of the proxy, so there is no quiet state to compare with.
        peak = memory_of(proxy)
        if peak is None:
            workbench.note(NOT_JUDGED)
        else:
            workbench.expect(peak < MAX_PEAK, f"at most {MAX_PEAK // MIB} MiB", f"{peak / MIB:.1f} MiB")


async def _asking_for_a_sign_in(workbench: Workbench, name: str, hostile: str) -> RemoteMockUpstream:
    """A hostile server whose entry has a client id, because some proxies begin no sign-in without one."""
    fields: dict[str, Any] = {} if workbench.sut.profile.registers else {"oauth_client_id": CLIENT}
    return await workbench.http(name, HOSTILE[hostile].script(), **fields)


async def must_request_metadata(workbench: Workbench, proxy: Proxy, upstream: RemoteMockUpstream) -> None:
    """Raise `Untestable` unless the proxy has requested the metadata of the upstream, and the upstream has sent a response."""
    await proxy.wake(upstream.name)
    with workbench.precondition(f"the proxy requests metadata of {upstream.name}"):
        await workbench.eventually(
            lambda: [request for request in upstream.http if request.method == "GET" and request.ended],
            within=15.0,
            what="a request",
        )


@check("HTTP-024", timeout=90, serial=True, slow=True)
async def an_answer_costs_little_more_than_its_size(workbench: Workbench) -> None:
    healthy = workbench.stdio("healthy")
    upstreams = [await workbench.http(name, HOSTILE[name].script()) for name in BODIES]
    async with workbench.serving(healthy, *upstreams, wire_types=False) as proxy:
        attack = partial(must_end_calls, workbench, proxy, upstreams)
        await healthy_beside(workbench, proxy, healthy, attack, within=3.0, growth=128 * MIB)


@check("STD-023", timeout=90, serial=True, slow=True)
async def an_invalid_line_costs_little_more_than_its_size(workbench: Workbench) -> None:
    healthy = workbench.stdio("healthy")
    upstreams = [workbench.stdio(name, HOSTILE[name].script()) for name in LINES]
    async with workbench.serving(healthy, *upstreams) as proxy:
        attack = partial(must_end_calls, workbench, proxy, upstreams)
        await healthy_beside(workbench, proxy, healthy, attack, within=3.0, growth=192 * MIB)


@check("OPS-011", timeout=60, serial=True, slow=True)
async def a_lack_of_memory_ends_at_most_one_connection(workbench: Workbench) -> None:
    if sys.platform != "linux":
        raise Untestable("a limit for the memory of a running program, which only Linux has")
    import resource

    healthy = workbench.stdio("healthy")
    large: StdioMockUpstream = workbench.stdio("large-line", HOSTILE["large-line"].script())
    signed_in = []
    if workbench.has("OAUTH"):
        signed_in = [await _asking_for_a_sign_in(workbench, "metadata", "metadata-compressed-twice")]
        workbench.browser()
    async with workbench.proxy(healthy, large, *signed_in) as proxy:
        await proxy.handshake()
        await proxy.ready(healthy, large)
        for metadata in signed_in:
            await must_request_metadata(workbench, proxy, metadata)
        limit = (memory_of(proxy, "VmSize") or 0) + ROOM
        resource.prlimit(proxy.pid, resource.RLIMIT_AS, (limit, limit))
        attack = partial(must_end_calls, workbench, proxy, [large])
        await healthy_beside(workbench, proxy, healthy, attack, within=5.0, growth=None)
        proxy.must_still_serve()
