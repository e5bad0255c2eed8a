"""Traces of requests: whether they are asked for, and what the rest of the proxy needs of them.

The standard variables of OpenTelemetry decide (``OTEL_TRACES_EXPORTER``, the endpoints, ``OTEL_SDK_DISABLED``); there is no setting of
our own. Without them nothing of OpenTelemetry is imported, and a request pays for a comparison with None. What is wrong with them,
or with the extra ``otel``, is said once on stderr, and the proxy serves without traces.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import Context
from typing import TYPE_CHECKING, Protocol

from dynamic_mcp.log import log

if TYPE_CHECKING:
    from msgspec import Raw

    from dynamic_mcp.config.model import Server
    from dynamic_mcp.upstream.base import Upstream

EXPORTER = "OTEL_TRACES_EXPORTER"
DISABLED = "OTEL_SDK_DISABLED"
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


class Span(Protocol):
    """The span of one request of the client."""

    @property
    def context(self) -> Context:
        """Where the request is to be worked on, so that what is asked of upstreams belongs to it."""
        ...

    def answered(self, line: bytes) -> None:
        """The request is over, with the line of this answer."""
        ...

    def abandoned(self) -> None:
        """The request is over, and there is no answer."""
        ...


class Tracing(Protocol):
    """Who makes the spans of this process."""

    def request(self, method: str, id: bytes, params: Raw, version: str | None) -> Span:
        """The client asks something; ``version`` is the protocol version, None while none is agreed on."""
        ...

    def traced(self, upstream: Upstream, server: Server) -> Upstream:
        """The same upstream, with a span for each request that a request of the client leads to."""
        ...

    async def close(self) -> None:
        """Hand over what is left. Bounded, and not cancellable."""
        ...


def is_asked_for(environment: Mapping[str, str]) -> bool:
    """Whether the environment wants traces. A variable that is empty counts as one that is not set (OpenTelemetry specification)."""
    if environment.get(DISABLED, "").strip().lower() == "true":
        return False
    exporter = environment.get(EXPORTER, "").strip()
    return exporter != "none" if exporter else any(environment.get(name) for name in ENDPOINTS)


def start(environment: Mapping[str, str]) -> Tracing | None:
    """Traces as the environment wants them; None where it wants none, or what it wants cannot be."""
    if not is_asked_for(environment):
        return None
    try:
        from dynamic_mcp.extras.tracing import otel

        return otel.from_environment(environment)
    except ImportError as error:
        log.warning(
            "there are no traces, although OTEL_* variables ask for them: %s is missing; "
            "install the extra: pip install 'dynamic-mcp-reference[otel]'",
            error.name or "a package",
        )
    except Exception as error:
        # Whatever is wrong with them, it is no reason not to serve.
        log.warning("there are no traces, the OTEL_* variables cannot be used: %s", error)
    return None
