"""Messages of the proxy that are no requests: the answer to a question of its server, and a cancellation."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from conformance.errors import Violation
from mock_servers.script import Rule, on_call, reply, request, sleep

if TYPE_CHECKING:
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.remotes import RemoteMockUpstream
    from conformance.workbench.workbench import Workbench
    from mock_servers.journal_views import Request

_ASKS: dict[str, Any] = {"x": "the server asks"}
_SLOW: dict[str, Any] = {"x": "takes long"}
#: seconds of the call that the client cancels
_TAKES = 2.0


def rules_of_asides() -> list[Rule]:
    """The rules of a server for `provoke_asides`."""
    return [
        on_call("echo", request("ping", wait=1.0), reply(), params={"arguments": _ASKS}),
        on_call("echo", sleep(_TAKES), reply(), params={"arguments": _SLOW}),
    ]


async def provoke_asides(workbench: Workbench, proxy: Proxy, upstream: RemoteMockUpstream) -> None:
    """Let the server ask during a call, and cancel another call. Whether the messages come is another matter (STD-020, FRONT-024)."""
    async with proxy.answering({}):
        await proxy.call(upstream.name, "echo", _ASKS)
    began, cancelled = len(_slow_calls(upstream)), len(upstream.requests("notifications/cancelled"))
    id = f"aside-{upstream.name}-{began}"
    await proxy.begin("tools/call", proxy.call_params(upstream.name, "echo", _SLOW), id=id)
    with workbench.precondition("the call that the client cancels reaches the upstream"):
        await workbench.eventually(lambda: len(_slow_calls(upstream)) > began, within=5.0, what="the call")
    await proxy.notify("notifications/cancelled", {"requestId": id})
    with suppress(Violation):
        await workbench.eventually(
            lambda: len(upstream.requests("notifications/cancelled")) > cancelled,
            within=1.0,
            what="a cancellation",
        )


def _slow_calls(upstream: RemoteMockUpstream) -> list[Request]:
    return [one for one in upstream.requests("tools/call") if one.param("arguments") == _SLOW]
