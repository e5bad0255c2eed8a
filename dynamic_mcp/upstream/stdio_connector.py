"""Makes the connections to one configured child process."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import anyio
import msgspec

from dynamic_mcp.config.model import StdioTransport
from dynamic_mcp.errors import SignInNeeded
from dynamic_mcp.process.child import Launch
from dynamic_mcp.process.guard import Guard
from dynamic_mcp.upstream.base import Events, Upstream
from dynamic_mcp.upstream.stdio import StdioUpstream


class OwnFolder:
    """Where children without ``cwd`` start: in the folder of this process, also after something has replaced it."""

    def __init__(self, config: Path) -> None:
        """``config`` is the full path of the configuration. Children start in its folder if that of this process is gone."""
        self._config = config
        self._at_start = _current_folder()

    def __call__(self) -> str | None:
        """The folder for a child that starts now; None for that of this process."""
        if _current_folder() is not None:
            return None
        candidates = (self._at_start, folder_of(self._config))
        return next((folder for folder in candidates if folder is not None and os.path.isdir(folder)), None)


def _current_folder() -> str | None:
    """The folder of this process; None if it is gone."""
    try:
        return os.getcwd()
    except OSError:
        return None


def folder_of(config: Path) -> str:
    """The folder of a configuration; for a symbolic link, that of its present target."""
    return os.path.dirname(os.path.realpath(config))


def started_in(folder: str | None, transport: StdioTransport) -> StdioTransport:
    """The transport of a child that starts in this folder unless it has a ``cwd``."""
    if folder is None or transport.cwd is not None:
        return transport
    return msgspec.structs.replace(transport, cwd=folder)


class StdioConnector:
    """Makes connections to a child process. Nothing outlives a child."""

    def __init__(
        self, transport: StdioTransport, guard: Guard, launch: Callable[[StdioTransport], Launch]
    ) -> None:
        """``launch`` says how to start the child, and may raise UpstreamFailed."""
        self._transport = transport
        self._guard = guard
        self._launch = launch
        self._latest: StdioUpstream | None = None

    def connect(self, events: Events) -> Upstream:
        self._latest = upstream = StdioUpstream(self._transport, events, self._guard, self._launch)
        return upstream

    def turn(self, is_wanted: Callable[[], bool]) -> AbstractAsyncContextManager[None]:
        return self._guard.turns.turn(
            is_wanted, lambda: None if self._latest is None else self._latest.process_group
        )

    # A child never needs a sign-in.

    @property
    def signs_in_at_start(self) -> bool:
        return False

    async def sign_in(self, need: SignInNeeded) -> None:
        raise need

    async def signed_in_elsewhere(self) -> None:
        await anyio.sleep_forever()

    def sign_in_help(self, *, pending: bool = False) -> str:
        return ""

    async def close(self) -> None:
        """Nothing is left to release."""
