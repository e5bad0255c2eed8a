"""The background work of one connection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from anyio.abc import TaskGroup

from dynamic_mcp.errors import UpstreamError
from dynamic_mcp.log import log, report_bug


class Background:
    """Starts work that ends with the connection at the latest, when ``tasks`` ends."""

    def __init__(self, group: str, tasks: TaskGroup) -> None:
        self._group = group
        self._tasks = tasks

    def start(self, work: Callable[[], Awaitable[object]]) -> None:
        """Start work. Its errors go to the log."""

        async def quietly() -> None:
            try:
                await work()
            except UpstreamError as error:
                log.debug("group %s: %s", self._group, error)
            except Exception as error:
                # An unexpected error must not end the connection.
                report_bug(f"group {self._group}", error)

        self._tasks.start_soon(quietly)
