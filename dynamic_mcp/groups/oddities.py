"""Tells the user once what a server does against the protocol, although the proxy goes on without it."""

from __future__ import annotations

from dynamic_mcp.log import log

#: Different warnings about one server.
MAX_WARNINGS = 20


class Oddities:
    """What was reported about one group."""

    def __init__(self, group: str) -> None:
        self._group = group
        self._reported: set[str] = set()

    def report(self, what: str) -> None:
        """Warn, unless the same was reported before. ``what`` contains nothing that the server sent."""
        if what not in self._reported and len(self._reported) < MAX_WARNINGS:
            self._reported.add(what)
            log.warning("group %s: the server %s", self._group, what)
