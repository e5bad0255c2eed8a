"""The call policy of one server: checks the arguments of a call, then its rate, then waits for a slot."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
from msgspec import Raw

from dynamic_mcp.config.model import CallRules
from dynamic_mcp.errors import UpstreamTimeout
from dynamic_mcp.extras.policy.arguments import ArgumentCheck
from dynamic_mcp.extras.policy.limits import Limits
from dynamic_mcp.hooks import CallPolicy
from dynamic_mcp.process.guard import Guard
from dynamic_mcp.protocol.pending import Options
from dynamic_mcp.upstream.base import MIN_SPENT


class PolicyEnforcer:
    """Enforces ``CallRules``; see ``hooks.CallPolicy``."""

    def __init__(self, server: str, rules: CallRules, guard: Guard) -> None:
        self._rules = rules
        self._limits = Limits(rules)
        self._arguments = ArgumentCheck(server, guard)

    def set(self, rules: CallRules) -> None:
        """Apply other rules at once."""
        self._rules = rules
        self._limits.set(rules)

    def inherit(self, other: CallPolicy) -> None:
        """Take over the limits of another policy, so that its calls count for the rate."""
        if isinstance(other, PolicyEnforcer):
            other.set(self._rules)
            self._limits = other._limits

    async def call(
        self,
        tool: str,
        definition: Raw,
        args: bytes,
        options: Options,
        send: Callable[[Options], Awaitable[bytes]],
    ) -> bytes:
        if self._rules.validate_arguments:
            await self._arguments.check(tool, definition, args)
        timeout = options.timeout
        if timeout is None or (self._rules.rate_limit is None and self._rules.max_concurrent_calls is None):
            return await send(options)
        async with self._limits.slot(timeout) as waited:
            if waited < MIN_SPENT:
                return await send(options)
            left = max(round(timeout - waited, 2), 0.0)
            try:
                return await send(msgspec.structs.replace(options, timeout=left))
            except UpstreamTimeout as error:
                raise UpstreamTimeout(
                    f"{error}, after it had waited {waited:.1f} s for its turn (max_concurrent_calls)"
                ) from None

    async def close(self) -> None:
        await self._arguments.close()
