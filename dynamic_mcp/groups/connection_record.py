"""The events of one connection to an upstream, from the first attempt to its end."""

from __future__ import annotations

import time

from dynamic_mcp.events import Record


class ConnectionRecord:
    """Records the start and the end of one connection, each once."""

    def __init__(self, record: Record, server: str) -> None:
        self._record = record
        self._server = server
        self._began = time.monotonic()
        self._is_ready = False
        self._is_over = False

    def ready(self) -> None:
        """Record that the upstream is connected."""
        self._record("upstream_started", server=self._server, began=self._began)
        self._is_ready, self._began = True, time.monotonic()

    def failed(self, reason: str, outcome: str = "failed") -> None:
        """Record that the connection could not be made, or was lost."""
        self._end(outcome, reason)

    def closed(self) -> None:
        """Record the end of the connection, unless ``failed`` did."""
        if not self._is_over:
            self._end("ok" if self._is_ready else "cancelled", None)

    def _end(self, outcome: str, reason: str | None) -> None:
        event = "upstream_stopped" if self._is_ready else "upstream_failed"
        self._record(event, server=self._server, outcome=outcome, began=self._began, reason=reason)
        self._is_over = True
