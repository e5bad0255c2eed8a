"""Mistakes with the lifetime of a connection: it serves one request, and a new one begins for the next."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from conformance.mutants import mutant, replace
from dynamic_mcp.groups.group import Group
from dynamic_mcp.groups.listing import TOOLS
from dynamic_mcp.upstream.http.connector import HttpConnector
from dynamic_mcp.upstream.stdio_connector import StdioConnector

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynamic_mcp.groups.listing import Kind
    from dynamic_mcp.protocol.pending import Options
    from dynamic_mcp.upstream.base import Connector, Events, Upstream

#: seconds for the handshake of a further connection
_OPEN = 10.0


_UNREAD = "a connection of its own has not read the schemas, so it mirrors no arguments"
#: what a connection of its own for each call to a server behind a URL breaks besides
_ANEW_OVER_HTTP = {
    "HTTP-021": "a change is announced to the connection of the call, which has ended by then",
    "HTTP-060": _UNREAD,
    "HTTP-061": _UNREAD,
    "HTTP-062": _UNREAD,
    "OPS-050": "the server behind a URL gets a connection for each call too",
}


@mutant(
    "STD-060",
    also={
        "STD-008": "the child of each call ends too",
        "OPS-050": "each of the children gets one call",
    },
)
def starts_a_child_for_each_call() -> None:
    """FastMCP 2 does so for a proxy with a client that is not connected."""
    connect_anew(StdioConnector, lambda group: True)


@mutant("STD-060")
def starts_a_child_for_each_further_call_at_a_time() -> None:
    """Calls one after the other share a child."""
    running: dict[str, int] = {}
    connect_anew(StdioConnector, lambda group: running.get(group.name, 0) > 1)
    right = Group.request

    async def counted(self: Group, method: str, params: bytes, options: Options, kind: Kind = TOOLS) -> bytes:
        running[self.name] = running.get(self.name, 0) + 1
        try:
            return await right(self, method, params, options, kind)
        finally:
            running[self.name] -= 1

    replace(right, counted)


@mutant(
    "HTTP-070",
    also={**_ANEW_OVER_HTTP, "SSE-014": "a server with HTTP+SSE gets a connection for each call too"},
)
def begins_a_session_for_each_call() -> None:
    """ContextForge did so before it kept a pool of sessions."""
    connect_anew(HttpConnector, lambda group: True)


@mutant("SSE-014", also={**_ANEW_OVER_HTTP, "HTTP-070": "a server with sessions gets one for each call too"})
def opens_a_stream_for_each_call() -> None:
    connect_anew(HttpConnector, lambda group: True)


@mutant("OPS-050")
def calls_another_server_over_a_new_connection() -> None:
    """Only calls to the same server as the last one share its connection."""
    last: list[str] = []

    def is_another(group: Group) -> bool:
        before, last[:] = list(last), [group.name]
        return before not in ([], last)

    connect_anew(StdioConnector, is_another)


def connect_anew(kind: type[StdioConnector | HttpConnector], when: Callable[[Group], bool]) -> None:
    """Make a tool call over a connection of its own, which ends with the call, when `when` says so."""
    connections: dict[Events, Callable[[], Upstream]] = {}
    connect: Callable[[Connector, Events], Upstream] = getattr(kind, "connect")  # noqa: B009 - of either class
    request = Group.request

    def remembered(self: Connector, events: Events) -> Upstream:
        connections[events] = partial(connect, self, events)
        return connect(self, events)

    async def wrong(self: Group, method: str, params: bytes, options: Options, kind: Kind = TOOLS) -> bytes:
        if method != "tools/call" or self not in connections or not when(self):
            return await request(self, method, params, options, kind)
        upstream = connections[self]()
        try:
            await upstream.open(_OPEN)
            return await upstream.request(method, params, options)
        finally:
            await upstream.close()

    replace(connect, remembered)
    replace(request, wrong)
