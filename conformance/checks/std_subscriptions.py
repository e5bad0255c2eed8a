"""STD-061: what a modern child is subscribed to after its restart."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from conformance.checks import check
from conformance.checks.common import must_be_callable, must_work_again
from conformance.checks.modern_servers import for_modern_servers
from conformance.errors import NotApplicable, Violation
from conformance.workbench.exposed import declares, exposed_uri
from mock_servers.script import Script

if TYPE_CHECKING:
    from conformance.workbench.mocks import StdioMockUpstream
    from conformance.workbench.workbench import Workbench

_URI = "x://one"
_CAPABILITIES = {"tools": {"listChanged": True}, "resources": {"listChanged": True, "subscribe": True}}


@check("STD-061", timeout=60, slow=True)
async def subscriptions_are_made_again_after_a_restart(workbench: Workbench) -> None:
    """A proxy that makes no subscription has nothing to check."""
    resources = [{"uri": _URI, "name": "one"}]
    upstream = workbench.stdio("a", Script(era="modern", resources=resources, capabilities=_CAPABILITIES))
    async with workbench.proxy(upstream) as proxy:
        with for_modern_servers(upstream):
            await proxy.handshake()
            await proxy.ready(upstream)
        await must_be_callable(workbench, proxy, upstream)
        subscribes = declares(proxy, "resources", "subscribe")
        if subscribes:
            uri = await exposed_uri(proxy, upstream.name, _URI)
            await proxy.request("resources/subscribe", {"uri": uri})
        old = upstream.starts[-1].pid
        try:
            what = "a subscription at the upstream"
            await workbench.eventually(
                lambda: _URI in _wanted(upstream, old) if subscribes else _wanted(upstream, old),
                within=5.0,
                what=what,
            )
        except Violation:
            if not _wanted(upstream, old):
                raise NotApplicable("it makes no subscription, which it need not do") from None
        os.kill(old, signal.SIGKILL)
        try:
            await must_work_again(workbench, proxy, upstream)
        except Violation:
            if len(upstream.starts) == 1:
                raise NotApplicable("it starts no server again, which it need not do") from None
            raise
        new = upstream.starts[-1].pid
        workbench.expect(new != old, "another process answers after the restart", new)
        await workbench.eventually(
            lambda: _wanted(upstream, old) <= _wanted(upstream, new),
            within=5.0,
            what=f"the new process gets the subscriptions of the old one: {sorted(_wanted(upstream, old))}",
        )


def _wanted(upstream: StdioMockUpstream, pid: int) -> set[str]:
    """What the requests to one process subscribe to: names of the notifications of lists, and URIs."""
    found: set[str] = set()
    for request in upstream.requests("subscriptions/listen"):
        if request.pid == pid:
            wanted = dict(request.param("notifications") or {})
            found.update(wanted.pop("resourceSubscriptions", []))
            found.update(name for name, is_wanted in wanted.items() if is_wanted)
    return found
