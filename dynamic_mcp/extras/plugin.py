"""The extras that are hooks, as one set. It imports a library only if the configuration or the environment asks for what needs it."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from msgspec import Raw

from dynamic_mcp.config.model import CallRules, Config, ResourceLimits, Server, StdioTransport
from dynamic_mcp.extras import tracing, tuning
from dynamic_mcp.extras.audit import AuditLog
from dynamic_mcp.extras.tracing.base import Tracing
from dynamic_mcp.hooks import CallPolicy, Hooks, RequestSpan, Subject
from dynamic_mcp.process.child import Launch
from dynamic_mcp.process.guard import Guard
from dynamic_mcp.upstream.base import Upstream


class Extras(Hooks):
    """The hooks of all extras."""

    def __init__(self, config: Config, guard: Guard, traces: Tracing | None = None) -> None:
        self._guard = guard
        self._traces = traces
        self._audit = AuditLog(
            config.audit, (lambda: None) if self._traces is None else self._traces.current_trace_id
        )

    def record(self, event: str, **details: Any) -> None:
        """Write one line of the audit log."""
        self._audit.record(event, **details)

    def validate(self, config: Config) -> None:
        """Accept everything, because every setting has its extra."""

    def warnings(self, path: Path) -> Sequence[str]:
        """Warn about credentials in a file that other users can read."""
        from dynamic_mcp.extras.hardening import credential_scan

        return credential_scan.warnings(path)

    def reloaded(self, config: Config, began: float, changes: str) -> None:
        """Record the reload. If it changes the file of the audit log, both files get the line."""
        self._audit.record("reload", began=began, changes=changes)
        if self._audit.configure(config.audit):
            self._audit.record("reload", began=began, changes=changes)

    def request(self, method: str, id: bytes, params: Raw, version: str | None) -> RequestSpan | None:
        """Start a span in the trace that the client names, or in a new one."""
        return None if self._traces is None else self._traces.request(method, id, params, version)

    def watch(self, subject: Subject, work: Callable[[], Awaitable[bytes]]) -> Awaitable[bytes]:
        """Write one line of the audit log for the call."""
        return self._audit.watch(subject, work) if self._audit.is_on else work()

    def policy(self, server: Server, current: CallPolicy | None) -> CallPolicy | None:
        if current is None and server.policy == CallRules():
            return None
        from dynamic_mcp.extras.policy.enforcer import PolicyEnforcer

        if isinstance(current, PolicyEnforcer):
            current.set(server.policy)
            return current
        return PolicyEnforcer(server.name, server.policy, self._guard)

    def launch(self, transport: StdioTransport) -> Launch:
        """Start the child with the configured environment, limits and command prefix."""
        if (transport.environment, transport.limits, transport.prefix) == (None, ResourceLimits(), ()):
            return super().launch(transport)
        from dynamic_mcp.extras import hardening

        return hardening.launch(transport)

    def connection(self, upstream: Upstream, server: Server) -> Upstream:
        """Wrap the upstream, so that each request in a trace has its own span."""
        return upstream if self._traces is None else self._traces.traced(upstream, server)

    async def close(self) -> None:
        """Send the last spans to the collector."""
        if self._traces is not None:
            await self._traces.close()


def plug_in(config: Config, guard: Guard, *, serving: bool) -> Hooks:
    """The extras that the configuration asks for. ``serving`` adds the traces of the environment, and tunes the memory."""
    if not serving:
        return Extras(config, guard)
    tuning.prepare()
    return Extras(config, guard, tracing.start(os.environ))
