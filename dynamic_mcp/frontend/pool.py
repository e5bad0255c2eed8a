"""A pool: one set of running servers, and the clients that use them.

The shared servers of clients that offer the same are one pool. The servers with ``"shared": false`` are a pool for each client. So what a
server was told at its handshake holds for every client of its pool.

A request of a server goes to the client whose call it belongs to. On stdio that is known if one client alone has calls in flight at the
server; otherwise the pool refuses the request. A call that ended without an answer counts too, even if its client is gone (``callers``):
its questions may be private. What a server announces goes to every client of the pool.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol
from weakref import WeakKeyDictionary

import anyio

from dynamic_mcp.config.diff import diff
from dynamic_mcp.config.model import Config, Server, StdioTransport
from dynamic_mcp.frontend.call import Call, ClientRelay
from dynamic_mcp.frontend.relay import Relay, send_level
from dynamic_mcp.frontend.session import LOG_LEVELS, ClientSession
from dynamic_mcp.groups.group import Group
from dynamic_mcp.groups.listener import GroupListener
from dynamic_mcp.groups.supervisor import Supervisor
from dynamic_mcp.protocol.jsonrpc import INTERNAL_ERROR, Message, Refusal
from dynamic_mcp.protocol.pending import ClientCall
from dynamic_mcp.sign_in_page import SignInPage
from dynamic_mcp.tasks import TaskSet

_LATE = (
    "a call of another client has no answer, because it was cancelled or waits for its user, "
    "and the server may still work on it"
)

#: Makes the group of a server.
MakeGroup = Callable[[Server, GroupListener[Group]], Group]


class Member(Protocol):
    """A client, as its pools see it."""

    session: ClientSession
    relay: Relay

    def groups_changed(self) -> None:
        """Note that a pool has other groups now."""
        ...


class Pool:
    """The ``GroupListener`` of its groups."""

    def __init__(
        self,
        config: Config,
        make: MakeGroup,
        offer: bytes,
        client_info: bytes,
        *,
        starts_when_used: bool = False,
    ) -> None:
        """``offer`` has the capabilities of the clients for the handshakes with the servers, and ``client_info`` the name.

        With ``starts_when_used``, no process starts before a client uses its group.
        """
        self.members: list[Member] = []
        self.groups: dict[str, Group] = {}
        #: when each group was connected last, in seconds of the epoch
        self.since: WeakKeyDictionary[Group, float] = WeakKeyDictionary()
        self._make = make
        self._offer = offer
        self._client_info = client_info
        self._starts_when_used = starts_when_used
        self._level: str | None = None
        self._tasks = TaskSet()
        self._scope = anyio.CancelScope()
        self._is_running = False
        self._build(config)

    def _build(self, config: Config) -> None:
        self._config = config
        self.groups.clear()
        self._supervisor = Supervisor(config, self.groups, self._group_of, self._changing)

    def _group_of(self, server: Server) -> Group:
        group = self._make(server, self)
        if self._starts_when_used and isinstance(server.transport, StdioTransport):
            group.start_when_used()
        return group

    # Life

    async def run(self) -> None:
        """Run the groups until ``end``. Afterwards every upstream is closed."""
        with self._scope:
            self._is_running = True
            await self._supervisor.run()

    def end(self) -> None:
        """End every group, in the background."""
        self._tasks.cancel()
        self._scope.cancel()

    def apply(self, config: Config) -> None:
        """Use another configuration."""
        old, self._config = self._config, config
        if self._is_running:
            self._supervisor.apply(config, diff(old, config))
        else:
            # The groups of a pool that has not begun can just be others.
            self._build(config)
            self._groups_changed()

    @contextmanager
    def _changing(self) -> Iterator[None]:
        yield
        self._groups_changed()

    def _groups_changed(self) -> None:
        for member in self.members:
            member.groups_changed()

    # The clients

    def join(self, member: Member) -> None:
        """Let a client use the groups."""
        self.members.append(member)
        self.update_paused()
        self.update_level()

    def leave(self, member: Member) -> None:
        """Let a client use the groups no longer."""
        self.members.remove(member)
        for group in self.groups.values():
            group.subscriptions.release(member.session)
        self.update_paused()
        self.update_level()

    def update_paused(self) -> None:
        """Read from the upstreams, unless no client of the pool reads."""
        stalled = [member.session.is_stalled for member in self.members]
        self._supervisor.set_paused(bool(stalled) and all(stalled))

    def update_level(self) -> None:
        """Pass the least severe level that a client wants to the upstreams, once a client has set one."""
        set_levels = [member.session.level for member in self.members]
        wanted = [level or "info" for level in set_levels]
        level = min(wanted, key=LOG_LEVELS.index) if any(set_levels) or (self._level and wanted) else None
        if level is not None and level != self._level:
            self._level = level
            for group in self.groups.values():
                self._tasks.start(send_level(group, level))

    # From the groups (``groups.listener.GroupListener``)

    def client_capabilities(self) -> bytes:
        return self._offer

    def client_info(self) -> bytes:
        return self._client_info

    def on_ready(self, group: Group) -> None:
        self.since[group] = time.time()
        if self._level is not None:
            self._tasks.start(send_level(group, self._level))
        self.suspect_lists(group)

    def suspect_lists(self, group: Group) -> None:
        for relay in self._relays():
            relay.suspect_lists(group)

    def on_notification(self, group: Group, message: Message) -> None:
        for relay in self._relays():
            relay.on_notification(group, message)

    async def on_request(self, group: Group, message: Message, callers: Sequence[ClientCall]) -> bytes:
        calls = [caller for caller in callers if isinstance(caller, Call)]
        relays: set[ClientRelay] = {call.relay for call in calls} or set(self._relays())
        if len(relays) != 1:
            raise Refusal(INTERNAL_ERROR, _no_client(calls, len(self.members)))
        (relay,) = relays
        return await relay.on_request(group, message, calls)

    def can_show_pages(self, group: Group) -> bool:
        return self._relay_for_page(group) is not None

    async def show_page(self, group: Group, page: SignInPage) -> bool:
        relay = self._relay_for_page(group)
        return relay is not None and await relay.show_page(group, page)

    def _relays(self) -> Iterable[Relay]:
        return [member.relay for member in self.members]

    def _relay_for_page(self, group: Group) -> Relay | None:
        """The client that waits for the group, or the only one, if it can show a page to its user."""
        relays = [relay for relay in self._relays() if relay.awaits(group)] or list(self._relays())
        if len(relays) > 1 and not relays[0].awaits(group):
            return None
        return next((relay for relay in relays if relay.can_show_pages(group)), None)


def _no_client(calls: Sequence[Call], clients: int) -> str:
    """Why no client gets a request that can belong to these calls."""
    if calls:
        several = len({call.relay for call in calls if not call.is_over}) > 1
        reason = "several have calls in flight here" if several else _LATE
        return f"the proxy cannot know which client the request is for, because {reason}"
    if not clients:
        return "no client is connected"
    return (
        f"the request belongs to no call, so the proxy cannot know which of its {clients} clients it is for"
    )
