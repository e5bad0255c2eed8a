"""Announces one update for each subscribed resource after a gap in the server's notifications, because updates may be lost in it.

Announcements come at most every ``INTERVAL`` seconds, because a gateway may end the streams of a server all the time. The last gap is
always announced.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import msgspec
from msgspec import Raw

from dynamic_mcp.protocol.jsonrpc import Message

#: Seconds between two announcements.
INTERVAL = 5.0


class MissedUpdates:
    """The resources of one group whose updates may be lost."""

    def __init__(self, announce: Callable[[Message], None], is_held: Callable[[str], bool]) -> None:
        """``announce`` takes an update for the clients. ``is_held`` says whether a client still has a subscription to a resource."""
        self._announce = announce
        self._is_held = is_held
        self._missed: set[str] = set()
        #: those that wait for the next announcement
        self._due: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None

    def note(self, uris: Iterable[str]) -> None:
        """Note that updates of these may be lost until ``over``."""
        self._missed.update(uris)

    def over(self, uris: Iterable[str]) -> None:
        """Announce those of these resources that missed updates, because their updates arrive again."""
        found = self._missed.intersection(uris)
        self._missed -= found
        self._due |= found
        if self._timer is None and self._due:
            self._send()

    def forget(self, uri: str) -> None:
        """Announce nothing of a resource without a subscription."""
        self._missed.discard(uri)
        self._due.discard(uri)

    def stop(self) -> None:
        """Announce nothing until the next gap is over. The time since the last announcement still counts."""
        self._due.clear()

    def _send(self) -> None:
        due, self._due, self._timer = sorted(self._due), set(), None
        if due:
            self._timer = asyncio.get_running_loop().call_later(INTERVAL, self._send)
        for uri in filter(self._is_held, due):
            params = Raw(msgspec.json.encode({"uri": uri}))
            self._announce(Message(jsonrpc="2.0", method="notifications/resources/updated", params=params))
