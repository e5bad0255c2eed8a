"""Traces of requests with OpenTelemetry (extra ``otel``).

The proxy imports OpenTelemetry only if environment variables ask for traces. If a variable is invalid or a package is missing, it logs
one warning and serves without traces.
"""

from __future__ import annotations

from collections.abc import Mapping

from dynamic_mcp.extras.tracing.base import Tracing, is_requested
from dynamic_mcp.log import log


def start(environment: Mapping[str, str]) -> Tracing | None:
    """The traces that the environment asks for; None if it does not, or if they are not possible."""
    if not is_requested(environment):
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
        # No mistake in the variables may stop the proxy.
        log.warning("there are no traces, the OTEL_* variables cannot be used: %s", error)
    return None
