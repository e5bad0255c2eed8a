"""All extras as one set of hooks: audit log, traces and call policy, each loaded when it is asked for."""

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
    """See ``Hooks``."""

    def __init__(self, config: Config, guard: Guard, traces: Tracing | None = None) -> None:
        self._guard = guard
        self._traces = traces
        self._audit = AuditLog(
            config.audit, (lambda: None) if self._traces is None else self._traces.current_trace_id
        )

    def record(self, event: str, **details: Any) -> None:
        """See ``Hooks``: one line of the audit log."""
        self._audit.record(event, **details)

    def validate(self, config: Config) -> None:
        """See ``Hooks``: every setting has its extra."""

    def warnings(self, path: Path) -> Sequence[str]:
        """See ``Hooks``: credentials in a file that others can read."""
        from dynamic_mcp.extras.hardening import credential_scan

        return credential_scan.warnings(path)

    def reloaded(self, config: Config, began: float, changes: str) -> None:
        """See ``Hooks``. Where the audit log moves, the end of one file and the beginning of the other both say why."""
        self._audit.record("reload", began=began, changes=changes)
        if self._audit.configure(config.audit):
            self._audit.record("reload", began=began, changes=changes)

    def request(self, method: str, id: bytes, params: Raw, version: str | None) -> RequestSpan | None:
        """See ``Hooks``: a span of the trace that the client names, or of a new one."""
        return None if self._traces is None else self._traces.request(method, id, params, version)

    def watch(self, subject: Subject, work: Callable[[], Awaitable[bytes]]) -> Awaitable[bytes]:
        """See ``Hooks``: one line of the audit log for each call."""
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
        """See ``Hooks``: with the environment, limits and command prefix that are configured."""
        if (transport.environment, transport.limits, transport.prefix) == (None, ResourceLimits(), ()):
            return super().launch(transport)
        from dynamic_mcp.extras import hardening

        return hardening.launch(transport)

    def connection(self, upstream: Upstream, server: Server) -> Upstream:
        """See ``Hooks``: each request of a traced request has a span of its own."""
        return upstream if self._traces is None else self._traces.traced(upstream, server)

    async def close(self) -> None:
        """See ``Hooks``: the last spans go to the collector."""
        if self._traces is not None:
            await self._traces.close()


def plug_in(config: Config, guard: Guard, *, serving: bool) -> Hooks:
    """The extras that the configuration asks for. ``serving``: traces as the environment asks for them, and the memory is tuned."""
    if not serving:
        return Extras(config, guard)
    tuning.prepare()
    return Extras(config, guard, tracing.start(os.environ))
