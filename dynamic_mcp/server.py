"""The running proxy: it connects the parts, and ends them in order.

``serve`` returns after the client closed a stream or a signal came. If the client only closed its end of stdin, the calls in flight first
have some seconds to finish. ``serve_many`` returns when its door does, or after a signal. By the return every upstream is closed, and none
of their processes is alive (``process.child`` has the exceptions). A second signal kills the process groups that are left. Only this
module, ``__main__`` and the command line know the extras.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import anyio
from anyio.abc import TaskGroup, TaskStatus

from dynamic_mcp import __version__
from dynamic_mcp.config.model import Config, Server, StdioTransport
from dynamic_mcp.frontend.client import ClientLink
from dynamic_mcp.frontend.relay import Relay
from dynamic_mcp.frontend.server import Frontend
from dynamic_mcp.frontend.session import MAX_LINE, ClientSession
from dynamic_mcp.groups.group import Group
from dynamic_mcp.groups.listener import GroupListener
from dynamic_mcp.groups.reload import Reload
from dynamic_mcp.groups.supervisor import Supervisor
from dynamic_mcp.hooks import EarlyResponder, Hooks
from dynamic_mcp.log import log
from dynamic_mcp.process import child, descriptors
from dynamic_mcp.process.guard import Guard
from dynamic_mcp.upstream.base import Connector
from dynamic_mcp.upstream.stdio_connector import OwnFolder, StdioConnector, folder_of, started_in

if TYPE_CHECKING:
    from dynamic_mcp.frontend.clients import Clients
    from dynamic_mcp.oauth.binding import Binding
    from dynamic_mcp.oauth.store import TokenStore

#: Seconds to wait for the first request of the client before the servers start.
SILENT_CLIENT = 1.0

_ENDING = (signal.SIGINT, signal.SIGTERM)
_RELOADING = (signal.SIGHUP,) if sys.platform != "win32" else ()


def plug_in(config: Config, guard: Guard, *, serving: bool = False) -> Hooks:
    """The extras that the configuration asks for, and for ``serving`` also the environment; plain hooks if none are installed."""
    if find_spec("dynamic_mcp.extras") is None:
        return Hooks()
    from dynamic_mcp.extras import plugin

    return plugin.plug_in(config, guard, serving=serving)


def token_store(entry: Binding, kind: str) -> TokenStore:
    """The configured store for the tokens of an entry."""
    from dynamic_mcp.oauth.bound_store import BoundStore
    from dynamic_mcp.oauth.store import FileStore

    named, own = FileStore(entry.server), FileStore(entry.server, slot=entry.slot)
    if kind == "keyring":
        from dynamic_mcp.extras.keychain import KeyringStore

        return BoundStore(
            entry, KeyringStore(entry.server, named), KeyringStore(entry.server, own, entry.slot)
        )
    return BoundStore(entry, named, own)


def connector(
    server: Server,
    guard: Guard,
    hooks: Hooks,
    config: Path | None = None,
    folder: Callable[[], str | None] = lambda: None,
) -> Connector:
    """The connector for a server of this file. The first server behind a URL imports the modules for such servers.

    ``folder`` finds, for each start, where a child without ``cwd`` starts; None for the folder of this process.
    """
    transport = server.transport
    if isinstance(transport, StdioTransport):
        return StdioConnector(
            transport, guard, lambda transport: hooks.launch(started_in(folder(), transport))
        )
    from dynamic_mcp.oauth.authorization import Authorization
    from dynamic_mcp.oauth.binding import Binding
    from dynamic_mcp.upstream.http.connector import HttpConnector

    entry = Binding.of(server.name, transport)
    store = token_store(entry, transport.token_store)
    authorization = Authorization(server.name, transport, store, record=hooks.record, config=config)
    return HttpConnector(transport, authorization)


class _Process:
    """What every way to serve needs: the guard of the children, the extras, the signals and the records of start and stop."""

    def __init__(self, path: Path, config: Config, folder: Callable[[], str | None]) -> None:
        descriptors.raise_limit()
        self.guard = Guard()
        self.hooks = plug_in(config, self.guard, serving=True)
        self.hooks.validate(config)
        #: 128 + n after signal n
        self.status = 0
        self._path = path
        self._folder = folder
        self._began = time.monotonic()
        self.hooks.record("start", version=__version__, config=str(path))
        for warning in (*config.warnings, *self.hooks.warnings(path)):
            log.warning("%s", warning)

    def make_group(self, server: Server, listener: GroupListener[Group]) -> Group:
        """The group of a server, which is not started."""
        found = connector(server, self.guard, self.hooks, self._path, self._folder)
        return Group(server, found, listener, self.hooks)

    async def watch_signals(
        self,
        end: Callable[[], None],
        reload: Reload,
        *,
        task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        """Call ``end`` at the first signal, and kill the children at the second one, until cancelled."""
        with anyio.open_signal_receiver(*_ENDING, *_RELOADING) as signals:
            task_status.started()
            async for number in signals:
                if number in _RELOADING:
                    reload.force()
                elif self.status:
                    for process in list(child.live):
                        process.kill()
                else:
                    self.status = 128 + number
                    end()

    def stopped(self) -> int:
        """Record the end; the exit status."""
        self.hooks.record("stop", began=self._began, status=self.status)
        return self.status


async def serve(
    path: Path, config: Config, source: int, sink: int, early: EarlyResponder | None = None
) -> int:
    """Serve one client on two descriptors, first with ``config``, then with each change of the file at ``path``, which is absolute.

    ``early`` has answered the first requests of the client. Returns the exit status: 0 after end of input, 128 + n after signal n.
    """
    process = _Process(path, config, OwnFolder(path))
    groups: dict[str, Group] = {}
    link = ClientLink(source, sink, lambda paused: supervisor.set_paused(paused), early)
    session = ClientSession(link.send, max_message=MAX_LINE)
    relay = Relay(session, groups)
    frontend = Frontend(groups, session, relay, link.send, process.hooks)
    supervisor = Supervisor(
        config, groups, lambda server: process.make_group(server, relay), frontend.changing
    )
    reload = Reload(path, config, supervisor, process.hooks)

    async def start_groups(running: TaskGroup) -> None:
        # The first request of the client shows its capabilities, which upstreams need. Servers also start for a silent client.
        with anyio.move_on_after(SILENT_CLIENT):
            await session.ready.wait()
        await running.start(supervisor.run)
        running.start_soon(reload.run)

    async with anyio.create_task_group() as watching:
        await watching.start(process.watch_signals, link.end, reload)
        async with anyio.create_task_group() as running:
            await link.open(frontend.router)
            running.start_soon(start_groups, running)
            await link.wait_input_closed()
            await frontend.finish(link.wait_output_closed())
            await frontend.close()
            watching.start_soon(process.hooks.close)
            running.cancel_scope.cancel()
        await process.guard.close()
        await link.close()
        watching.cancel_scope.cancel()
    return process.stopped()


class Door(Protocol):
    """Where several clients come in."""

    #: seconds for which shared servers outlive their last client
    linger: float

    async def run(
        self, clients: Clients, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Let clients in. Returns if none comes any more."""
        ...

    async def close(self) -> None:
        """Let no further client in, and end the connections. Bounded; a second call does nothing."""
        ...


async def serve_many(path: Path, config: Config, door: Door) -> int:
    """Serve the clients that come through a door, first with ``config``, then with each change of the file at ``path``.

    The path is absolute, because servers start in the folder of the file. If that is a link to another file, each start finds the folder
    anew, so a server that starts after the link changed works. Returns the exit status: 0 after the door closed itself,
    128 + n after signal n.
    """
    from dynamic_mcp.frontend.clients import Clients

    process = _Process(path, config, lambda: folder_of(path))
    clients = Clients(config, process.make_group, process.hooks, door.linger)
    reload = Reload(path, config, clients, process.hooks)
    over = anyio.Event()

    async def run_door(*, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        await door.run(clients, task_status=task_status)
        over.set()

    async with anyio.create_task_group() as watching:
        await watching.start(process.watch_signals, over.set, reload)
        async with anyio.create_task_group() as running:
            await running.start(clients.run)
            running.start_soon(reload.run)
            await running.start(run_door)
            await over.wait()
            await door.close()
            await clients.close()
            watching.start_soon(process.hooks.close)
            running.cancel_scope.cancel()
        await process.guard.close()
        watching.cancel_scope.cancel()
    return process.stopped()
