"""Traces of requests, by OpenTelemetry (extra ``otel``).

Without the variables that ask for traces nothing of OpenTelemetry is imported. A wrong variable, or a missing package, costs one warning
on stderr; the proxy then serves without traces.
"""

from __future__ import annotations

from collections.abc import Mapping

from dynamic_mcp.extras.tracing.base import Tracing, is_asked_for
from dynamic_mcp.log import log


def start(environment: Mapping[str, str]) -> Tracing | None:
    """Traces as the environment asks for them; None where it does not, or where they cannot be made."""
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
        # Whatever is wrong with the variables, the proxy serves.
        log.warning("there are no traces, the OTEL_* variables cannot be used: %s", error)
    return None
