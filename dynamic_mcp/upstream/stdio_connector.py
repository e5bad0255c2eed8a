"""Makes the connections to one configured child process."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import anyio

from dynamic_mcp.config.model import StdioTransport
from dynamic_mcp.errors import SignInNeeded
from dynamic_mcp.process.child import Launch
from dynamic_mcp.process.guard import Guard
from dynamic_mcp.upstream.base import Events, Upstream
from dynamic_mcp.upstream.stdio import StdioUpstream


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
