"""Several clients of one proxy. A proxy with one client does not need this module.

Each client has its own session, calls, questions, subscriptions, log level and lists (``session``, ``relay``, ``server``). So an id or a
progress token of one client means nothing to another. Only clients without a session have their calls that wait for a second request in
common (``Exchanges``). The clients share the servers (``pool``), except for those with ``"shared": false``.

A transport opens a client, passes each line to ``Client.router``, and calls ``finish`` and ``close`` at the end.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import msgspec
from anyio.abc import TaskGroup, TaskStatus

from dynamic_mcp.config.diff import Diff
from dynamic_mcp.config.model import Config, Server, StdioTransport
from dynamic_mcp.frontend.backlog import Backlog, Outlet
from dynamic_mcp.frontend.exchange import Exchanges
from dynamic_mcp.frontend.pool import MakeGroup, Pool
from dynamic_mcp.frontend.relay import Relay
from dynamic_mcp.frontend.server import Frontend
from dynamic_mcp.frontend.session import ClientSession
from dynamic_mcp.groups.group import Group
from dynamic_mcp.hooks import Hooks
from dynamic_mcp.log import log

#: Clients at once.
MAX_CLIENTS = 256
#: Pools of shared servers at once. Clients with further combinations of capabilities share servers that see no capabilities.
MAX_POOLS = 8

#: What no handshake with a shared server contains, because the answers of two clients differ.
_NEVER_SHARED = "roots"


class TooManyClients(Exception):
    """The proxy has ``MAX_CLIENTS`` clients."""


class _PooledRelay(Relay):
    """The relay of one of several clients."""

    def __init__(self, client: Client, exchanges: Exchanges | None) -> None:
        super().__init__(client.session, client.groups, exchanges)
        self._client = client

    def set_level(self) -> None:
        for pool in self._client.pools:
            pool.update_level()

    def roots_changed(self) -> None:
        self._notify_roots(self._client.own_groups())


class Client:
    """One client, from the opening of its connection to the end."""

    def __init__(
        self,
        clients: Clients,
        send: Callable[[bytes], None],
        outlet: Outlet | None,
        folder: Path | None,
        exchanges: Exchanges | None,
        max_message: int | None,
    ) -> None:
        self.number = next(clients.numbers)
        self.folder = folder
        #: where it comes from, for a report
        self.origin = ""
        self.began = time.time()
        #: the way to it; None if nothing ever waits there
        self.outlet = outlet
        #: the groups that this client sees, in the order of the configuration; empty before ``session.ready``
        self.groups: dict[str, Group] = {}
        #: the shared pool and the own one, as far as there are any
        self.shared: Pool | None = None
        self.own: Pool | None = None
        self.session = ClientSession(send, is_one_of_many=True, max_message=max_message)
        self.session.on_ready = self._place
        self.relay: Relay = _PooledRelay(self, exchanges)
        self.frontend = Frontend(self.groups, self.session, self.relay, send, clients.hooks)
        #: takes the lines of the client
        self.router = self.frontend.router
        self._clients = clients
        self._is_closed = False

    @property
    def pools(self) -> list[Pool]:
        """The pools that this client uses."""
        return [pool for pool in (self.shared, self.own) if pool is not None]

    def own_groups(self) -> list[Group]:
        """The groups that no other client uses."""
        return [] if self.own is None else list(self.own.groups.values())

    def set_paused(self, paused: bool) -> None:
        """Note that the client does not read at the moment; with False, that it reads again."""
        self.session.is_stalled = paused
        for pool in self.pools:
            pool.update_paused()

    def note_waiting(self) -> None:
        """Note that more waits for this client, which does not read at the moment. ``backlog`` may then end a connection."""
        self._clients.backlog.grew()

    async def finish(self, gone: Coroutine[Any, Any, None]) -> None:
        """Answer the requests in flight, because no further one comes; see ``Frontend.finish``."""
        await self.frontend.finish(gone)

    async def close(self) -> None:
        """Leave the servers, and cancel the calls in flight. No further line may come. A second call does nothing."""
        if not self._is_closed:
            self._is_closed = True
            self.session.input_closed()
            for pool in self.pools:
                pool.leave(self)
            await self.frontend.close()
            self._clients.forget(self)

    def groups_changed(self) -> None:
        """Note that a pool has other groups now."""
        with self.frontend.changing():
            self._see_groups()

    def _place(self) -> None:
        self._clients.place(self)
        self._see_groups()

    def _see_groups(self) -> None:
        found = {name: group for pool in self.pools for name, group in pool.groups.items()}
        self.groups.clear()
        self.groups.update(
            (server.name, found[server.name])
            for server in self._clients.config.servers
            if server.name in found
        )


class Clients:
    """The clients of this process, and the pools of their servers."""

    def __init__(self, config: Config, make: MakeGroup, hooks: Hooks, linger: float) -> None:
        """``linger`` is in seconds; infinity keeps the servers."""
        self.config = config
        self.hooks = hooks
        self.numbers = count(1)
        self.open_clients: dict[int, Client] = {}
        self.backlog = Backlog(
            lambda: [client.outlet for client in self.open_clients.values() if client.outlet is not None]
        )
        #: shared pools by what they offer to servers
        self.pools: dict[bytes, Pool] = {}
        #: the calls of clients without sessions
        self.exchanges = Exchanges()
        #: set while there is neither a client nor a shared pool
        self.idle = asyncio.Event()
        self.idle.set()
        self._make = make
        self._linger = linger
        self._ends: dict[bytes, asyncio.TimerHandle] = {}
        self._tasks: TaskGroup | None = None

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Run the servers until cancelled. Afterwards every upstream is closed."""
        try:
            async with anyio.create_task_group() as self._tasks:
                task_status.started()
                await anyio.sleep_forever()
        finally:
            self.backlog.close()
            for timer in self._ends.values():
                timer.cancel()

    def open(
        self,
        send: Callable[[bytes], None],
        *,
        outlet: Outlet | None = None,
        folder: Path | None = None,
        has_session: bool = True,
        max_message: int | None = None,
    ) -> Client:
        """Add a client. Raises TooManyClients. Only valid while ``run`` runs.

        ``send`` writes one line to it, and ``outlet`` tells what waits for it. ``folder`` is its working directory. A client
        without a session can continue the call of another one by its unguessable state. ``max_message`` is the size of a message to it,
        unless the configuration has another one.
        """
        if len(self.open_clients) >= MAX_CLIENTS:
            raise TooManyClients(f"the proxy serves {MAX_CLIENTS} clients already")
        exchanges = None if has_session else self.exchanges
        client = Client(self, send, outlet, folder, exchanges, max_message)
        self.open_clients[client.number] = client
        self.idle.clear()
        return client

    def apply(self, config: Config, changes: Diff) -> None:
        """Use another configuration (``groups.reload``)."""
        self.config = config
        for pool in self.pools.values():
            pool.apply(self._shared_part())
        for client in self.open_clients.values():
            own = self._own_part(client)
            if client.own is not None:
                client.own.apply(own)
            elif own.servers and client.session.ready.is_set():
                self._begin_own(client)
            if client.session.ready.is_set():
                client.groups_changed()

    async def close(self) -> None:
        """End every client."""
        for client in list(self.open_clients.values()):
            await client.close()

    # For ``Client``

    def place(self, client: Client) -> None:
        """Give a client the servers that fit to what it offers."""
        offer = _shared_offer(client.session.client_capabilities())
        if offer not in self.pools and len(self.pools) >= MAX_POOLS:
            log.warning("client %d shares servers that do not know what it offers", client.number)
            offer = b"{}"
        if (timer := self._ends.pop(offer, None)) is not None:
            timer.cancel()
        if (pool := self.pools.get(offer)) is None:
            pool = self.pools[offer] = self._begin(self._shared_part(), offer, b"")
        client.shared = pool
        pool.join(client)
        if self._own_part(client).servers:
            self._begin_own(client)

    def forget(self, client: Client) -> None:
        """Take a client out. Its servers end now, shared ones later."""
        del self.open_clients[client.number]
        if client.own is not None:
            client.own.end()
        for offer, pool in self.pools.items():
            if not pool.members and offer not in self._ends and self._linger < float("inf"):
                self._end_later(offer)
        self._note_idle()

    def _begin_own(self, client: Client) -> None:
        session = client.session
        offer, config = session.client_capabilities(), self._own_part(client)
        # Most sessions use none of these processes.
        client.own = self._begin(config, offer, session.client_info, starts_when_used=True)
        client.own.join(client)

    def _begin(
        self, config: Config, offer: bytes, client_info: bytes, *, starts_when_used: bool = False
    ) -> Pool:
        assert self._tasks is not None
        pool = Pool(config, self._make, offer, client_info, starts_when_used=starts_when_used)
        self._tasks.start_soon(pool.run)
        return pool

    def _end_later(self, offer: bytes) -> None:
        self._ends[offer] = asyncio.get_running_loop().call_later(self._linger, self._end, offer)

    def _end(self, offer: bytes) -> None:
        del self._ends[offer]
        if self.exchanges.wait_for(self.pools[offer].groups.values()):
            # The user may take longer than that to answer.
            self._end_later(offer)
            return
        self.pools.pop(offer).end()
        self._note_idle()

    def _note_idle(self) -> None:
        if not self.open_clients and not self.pools:
            self.idle.set()

    def _shared_part(self) -> Config:
        return _part(self.config, is_shared=True)

    def _own_part(self, client: Client) -> Config:
        return _part(self.config, client.folder, is_shared=False)


def _shared_offer(capabilities: bytes) -> bytes:
    """The part of these capabilities in the handshakes with shared servers, the same for every spelling of them."""
    members = msgspec.json.decode(capabilities, type=dict[str, object])
    members.pop(_NEVER_SHARED, None)
    return msgspec.json.encode(members, order="sorted")


def _part(config: Config, folder: Path | None = None, *, is_shared: bool) -> Config:
    """The configuration with the shared servers only, or with the others only. They start in ``folder`` unless they have a ``cwd``.

    Without ``folder``, the connector of a server decides (``server.connector``).
    """
    servers = (_started_in(folder, server) for server in config.servers if server.shared is is_shared)
    return msgspec.structs.replace(config, servers=tuple(servers))


def _started_in(folder: Path | None, server: Server) -> Server:
    transport = server.transport
    if folder is None or not isinstance(transport, StdioTransport) or transport.cwd is not None:
        return server
    return msgspec.structs.replace(server, transport=msgspec.structs.replace(transport, cwd=str(folder)))
