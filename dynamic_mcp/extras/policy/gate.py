"""The one way for a call to a server that has a ``CallPolicy``: its arguments are checked, then its rate, then it gets a place."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
from msgspec import Raw

from dynamic_mcp.config.model import CallPolicy
from dynamic_mcp.errors import UpstreamTimeout
from dynamic_mcp.extras.policy.arguments import ArgumentCheck
from dynamic_mcp.extras.policy.limits import Limits
from dynamic_mcp.process.guard import Guard
from dynamic_mcp.upstream.base import Options

#: Seconds of waiting that are worth a word.
_NOTICED = 0.05


class Gate:
    """Before the calls of one server."""

    def __init__(self, server: str, policy: CallPolicy, guard: Guard) -> None:
        self._policy = policy
        self._limits = Limits(policy)
        self._arguments = ArgumentCheck(server, guard)

    def set(self, policy: CallPolicy) -> None:
        """Go over to another policy, at once."""
        self._policy = policy
        self._limits.set(policy)

    def succeed(self, other: Gate) -> None:
        """Take the place of the gate of a server that is replaced: what it let through counts for the rate."""
        other.set(self._policy)
        self._limits = other._limits

    async def call(
        self,
        tool: str,
        definition: Raw,
        args: bytes,
        options: Options,
        send: Callable[[Options], Awaitable[bytes]],
    ) -> bytes:
        """Let a call through to ``send``, when it may; the result. Raises CallRefused and UpstreamError."""
        if self._policy.validate_arguments:
            await self._arguments.check(tool, definition, args)
        timeout = options.timeout
        if timeout is None or (self._policy.rate_limit is None and self._policy.max_concurrent_calls is None):
            return await send(options)
        async with self._limits.slot(timeout) as waited:
            if waited < _NOTICED:
                return await send(options)
            left = max(round(timeout - waited, 2), 0.01)
            try:
                return await send(msgspec.structs.replace(options, timeout=left))
            except UpstreamTimeout as error:
                raise UpstreamTimeout(
                    f"{error}, after it had waited {waited:.1f} s for its turn (max_concurrent_calls)"
                ) from None

    async def close(self) -> None:
        """End what belongs to it. Bounded, not cancellable, and may be repeated."""
        await self._arguments.close()
