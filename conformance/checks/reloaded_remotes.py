"""HTTP and SSE: a reload removes one server behind a URL and changes another, and the proxy ends what it had open with them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from conformance.checks.common import SESSION, SESSIONS
from conformance.checks.front_session import APPLIES_A_CHANGED_FILE
from mock_servers.script import Script

if TYPE_CHECKING:
    from pathlib import Path

    from conformance.workbench.proxy import Proxy
    from conformance.workbench.remotes import RemoteMockUpstream
    from conformance.workbench.workbench import Workbench
    from mock_servers.journal_views import HttpRequest

#: seconds from the moment at which the proxy uses the new configuration
_WITHIN = 10.0
#: the header that tells the new definition of the changed server from the old one
_HEADER, _AFTER = "X-Which", "after"


async def must_end_sessions_at_a_reload(workbench: Workbench) -> None:
    """Raise `Violation` unless each session of a removed and of a changed server gets a DELETE."""
    upstreams = [await workbench.http(name, Script(http=SESSIONS)) for name in ("removed", "changed")]
    added = await workbench.http("added")
    config = workbench.config(*upstreams)
    async with workbench.serving(*upstreams, config=config) as proxy:
        opened = [set(upstream.sessions) for upstream in upstreams]
        await _reload(workbench, proxy, config, upstreams[1], added)
        for upstream, sessions in zip(upstreams, opened, strict=True):
            await workbench.eventually(
                lambda upstream=upstream, sessions=sessions: sessions <= _ended(upstream),  # type: ignore[misc]
                within=_WITHIN,
                what=f"a DELETE for each session of the {upstream.name} server: {sessions}",
                seen=partial(_ended, upstream),
            )


def _ended(upstream: RemoteMockUpstream) -> set[str | None]:
    return {request.header(SESSION) for request in upstream.http if request.method == "DELETE"}


async def must_close_streams_at_a_reload(workbench: Workbench) -> None:
    """Raise `Violation` unless the proxy closes each stream of a removed and of a changed server."""
    upstreams = [await workbench.sse(name) for name in ("removed", "changed")]
    added = await workbench.sse("added")
    config = workbench.config(*upstreams)
    async with workbench.serving(*upstreams, config=config) as proxy:
        await _reload(workbench, proxy, config, upstreams[1], added)
        for upstream in upstreams:
            await workbench.eventually(
                lambda upstream=upstream: not _old_streams(upstream),  # type: ignore[misc]
                within=_WITHIN,
                what=f"the proxy closes its streams of the {upstream.name} server",
                seen=partial(_old_streams, upstream),
            )


def _old_streams(upstream: RemoteMockUpstream) -> list[HttpRequest]:
    """The open streams that the proxy opened by the old definition."""
    return [one for one in upstream.streams if one.ended is None and one.header(_HEADER) != _AFTER]


async def _reload(
    workbench: Workbench, proxy: Proxy, config: Path, changed: RemoteMockUpstream, added: RemoteMockUpstream
) -> None:
    """Save a configuration with `added` and with other headers of `changed`, and use the new one of both."""
    workbench.save(config, changed.variant(headers={_HEADER: _AFTER}), added)
    with workbench.precondition(APPLIES_A_CHANGED_FILE):
        await proxy.ready(added)
    await proxy.wake(changed.name)
