"""OPS: what a proxy keeps of servers behind a URL, and of their sign-ins."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import anyio
import psutil

from conformance.checks.common import SESSIONS, must_sign_in
from conformance.workbench.waking import woken
from mock_servers.script import Script

if TYPE_CHECKING:
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.remotes import RemoteMockUpstream
    from conformance.workbench.workbench import Workbench

#: how often the server behind a URL changes
_CHANGES = 12
#: seconds after which common HTTP libraries have closed an idle connection
_IDLE = 20.0


async def must_be_clean_behind_urls(workbench: Workbench) -> None:
    """Raise `Violation` if a socket listens after a sign-in, or connections of changed servers stay."""
    signed = [await workbench.oauth("signed")] if workbench.has("OAUTH") else []
    changing = await workbench.http("changing", Script(http=SESSIONS))
    workbench.browser()
    config = workbench.config(*signed, changing)
    async with workbench.proxy(*signed, changing, config=config) as proxy:
        await proxy.handshake()
        with workbench.precondition("the servers are usable"):
            await must_sign_in(workbench, proxy, *signed)
            await proxy.ready(changing)
        before = psutil.Process(proxy.pid).num_fds()
        await must_keep_nothing(workbench, proxy, before, "after a sign-in")
        if workbench.has("RLD"):
            for number in range(_CHANGES):
                workbench.save(config, *signed, changing.variant(headers={"X-Number": str(number)}))
                with workbench.precondition(f"the proxy applies reload number {number + 1}"):
                    await woken(
                        proxy,
                        changing.name,
                        partial(_has_header, changing, str(number)),
                        within=5.0,
                        what="a request with the new header",
                    )
            await must_keep_nothing(workbench, proxy, before, "of what has changed", within=_IDLE)


def _has_header(upstream: RemoteMockUpstream, value: str) -> bool:
    return any(post.header("X-Number") == value for post in upstream.posts())


async def must_keep_nothing(
    workbench: Workbench, proxy: Proxy, before: int, what: str, within: float = 5.0
) -> None:
    """Raise `Violation` if a zombie, a listening socket, or more descriptors than `before` stay for so many seconds."""
    with anyio.move_on_after(within):
        while _kept(proxy, before):  # noqa: ASYNC110 - no event announces another process's descriptors
            await anyio.sleep(0.1)
    kept = _kept(proxy, before)
    workbench.expect(
        not kept, f"within {within:g} s the proxy keeps nothing {what}, and no socket listens", kept
    )


def _kept(proxy: Proxy, descriptors: int) -> list[str]:
    """What the proxy must not have: zombies, more descriptors than before, listening sockets but its own."""
    process = psutil.Process(proxy.pid)
    zombies = [child.pid for child in process.children() if child.status() == psutil.STATUS_ZOMBIE]
    connections = process.net_connections(kind="inet")
    places = [socket.laddr for socket in connections if socket.status == psutil.CONN_LISTEN]
    kept = [f"zombie {pid}" for pid in zombies]
    kept += [f"listens on {place}" for place in places if place.port != proxy.port]
    # A few may be the proxy's own (an event loop, a file). A leak would add one for each crash.
    if (now := process.num_fds()) > descriptors + 5:
        kept.append(f"{now} descriptors, {descriptors} before")
    return kept
