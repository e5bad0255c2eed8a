"""Checks of modern servers are n/a for a proxy that makes no modern request to a server."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from conformance.errors import NotApplicable, Untestable, Violation
from conformance.workbench.transcript import part

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conformance.workbench.mocks import MockUpstream
    from mock_servers.journal import Entry


@contextmanager
def for_modern_servers(*upstreams: MockUpstream) -> Iterator[None]:
    """For the start of a check. Raises `NotApplicable` in place of a failure if a modern one of these upstreams got no modern message."""
    try:
        yield
    except (Untestable, Violation):
        for upstream in upstreams:
            arrived = [entry for entry in upstream.entries if entry.event in upstream.arrivals]
            wants = upstream.script.era == "modern"
            if wants and arrived and not any(map(_is_modern, arrived)):
                raise NotApplicable("it makes no modern request to a server that wants one") from None
        raise


def _is_modern(arrived: Entry) -> bool:
    """Whether the body or a header announces the modern era. The other one may be missing, which a check then judges."""
    in_header = [name for name, _ in arrived.data.get("headers", ()) if name.lower() == "mcp-method"]
    in_body = part(arrived.message, "params", "_meta", "io.modelcontextprotocol/protocolVersion")
    return bool(in_header) or in_body is not None
