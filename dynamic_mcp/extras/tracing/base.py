"""Whether traces are asked for, and what makes them.

The standard variables of OpenTelemetry decide (``OTEL_TRACES_EXPORTER``, the endpoints, ``OTEL_SDK_DISABLED``). The proxy has no setting
of its own for traces.
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
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


class Tracing(Protocol):
    """Makes the spans of this process."""

    def request(self, method: str, id: bytes, params: Raw, version: str | None) -> RequestSpan:
        """The span of a request of the client; ``version`` is the protocol version, None before one is agreed on."""
        ...

    def traced(self, upstream: Upstream, server: Server) -> Upstream:
        """The same upstream, with a span for each request that a request of the client leads to."""
        ...

    def current_trace_id(self) -> str | None:
        """The id of the trace that the running task belongs to."""
        ...

    async def close(self) -> None:
        """Hand over the last spans. Bounded, and not cancellable."""
        ...


def is_asked_for(environment: Mapping[str, str]) -> bool:
    """Whether the environment asks for traces. An empty variable counts as unset (OpenTelemetry specification)."""
    if environment.get(DISABLED, "").strip().lower() == "true":
        return False
    exporter = environment.get(EXPORTER, "").strip()
    return exporter != "none" if exporter else any(environment.get(name) for name in ENDPOINTS)
