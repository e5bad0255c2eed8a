"""Lets clients in by HTTP (``dynamic-mcp serve``)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import anyio
import uvicorn
from anyio.abc import TaskStatus

from dynamic_mcp.errors import ConfigError
from dynamic_mcp.extras.serving.app import App
from dynamic_mcp.extras.serving.connections import Connections
from dynamic_mcp.extras.serving.gate import Gate
from dynamic_mcp.extras.serving.limits import LIMITS, ServingLimits
from dynamic_mcp.extras.sharing.report import report
from dynamic_mcp.frontend.clients import Clients
from dynamic_mcp.tasks import TaskSet
from dynamic_mcp.upstream.http.library import notice_dead_peers

#: Connections that wait for the loop.
_BACKLOG = 128
#: Seconds for the last answers of the library, after the proxy has ended all of its own.
_LAST_WRITES = 2


class HttpDoor:
    """Serves clients over Streamable HTTP, of both eras. ``on_listening`` gets the address once it does."""

    def __init__(
        self,
        path: Path,
        address: tuple[str, int],
        gate: Gate,
        linger: float,
        on_listening: Callable[[str, int], None],
        limits: ServingLimits = LIMITS,
    ) -> None:
        """Raises ConfigError if the address is not free. ``linger`` is in seconds."""
        self.linger = linger
        self._path = path
        self._gate = gate
        self._limits = limits
        self._on_listening = on_listening
        self._socket = _listening(*address)
        self._connections = Connections(limits)
        self._app: App | None = None
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self._tasks = TaskSet()

    async def run(
        self, clients: Clients, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Listen until cancelled."""
        self._app = App(clients, self._gate, lambda: report(self._path, clients), self._limits)
        config = uvicorn.Config(
            self._app,
            http=cast("type[asyncio.Protocol]", self._connections.make),
            ws="none",
            lifespan="off",
            log_config=None,
            # The log of the proxy tells what matters, and nothing of a client unescaped.
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=_BACKLOG,
            # One more than the limit stays only if none of the others waits.
            limit_concurrency=self._limits.max_connections + 1,
            timeout_graceful_shutdown=_LAST_WRITES,
        )
        self._server = _Server(config)
        self._tasks.start(self._app.sessions.run())
        self._serving = self._tasks.start(self._server.serve([self._socket]))
        await self._server.has_started.wait()
        host, port = self._socket.getsockname()[:2]
        self._on_listening(host, port)
        task_status.started()
        await anyio.sleep_forever()

    async def close(self) -> None:
        """Let no further client in, and end every request. Bounded."""
        if self._server is None or self._app is None or self._serving is None:
            self._socket.close()
            return
        for listener in self._server.servers:
            listener.close()
        await self._app.close()
        self._server.should_exit = True
        await asyncio.gather(self._serving, return_exceptions=True)
        await self._tasks.close()
        self._connections.close()
        self._server = None


class _Server(uvicorn.Server):
    """Leaves the signals to the proxy."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.has_started = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.has_started.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises ConfigError."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise ConfigError(f"cannot listen at {host}:{port}: {error.strerror or error}") from None
    # The connections that it accepts do the same.
    notice_dead_peers(listening)
    return listening
