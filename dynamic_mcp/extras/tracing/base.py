"""The interface of traces, and the variables that switch them on.

These are the standard variables of OpenTelemetry (``OTEL_TRACES_EXPORTER``, the endpoints, ``OTEL_SDK_DISABLED``). The proxy has no own
setting for traces.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from msgspec import Raw

from dynamic_mcp.config.model import Server
from dynamic_mcp.hooks import RequestSpan
from dynamic_mcp.upstream.base import Upstream

EXPORTER = "OTEL_TRACES_EXPORTER"
DISABLED = "OTEL_SDK_DISABLED"
ENDPOINT_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


class Tracing(Protocol):
    """Makes the spans of this process."""

    def request(self, method: str, id: bytes, params: Raw, version: str | None) -> RequestSpan:
        """Start the span of a client's request. ``version`` is the protocol version; None before the negotiation."""
        ...

    def traced(self, upstream: Upstream, server: Server) -> Upstream:
        """Wrap the upstream, so that each request for a request of the client has a span."""
        ...

    def current_trace_id(self) -> str | None:
        """The id of the current task's trace, or None."""
        ...

    async def close(self) -> None:
        """Send the last spans. Bounded, not cancellable."""
        ...


def is_requested(environment: Mapping[str, str]) -> bool:
    """Whether the environment asks for traces. An empty variable counts as unset, as OpenTelemetry specifies."""
    if environment.get(DISABLED, "").strip().lower() == "true":
        return False
    exporter = environment.get(EXPORTER, "").strip()
    return exporter != "none" if exporter else any(environment.get(name) for name in ENDPOINT_VARIABLES)
