"""Bounds what the servers of the proxy make the client read.

A notification that only says that something changed is merged with its predecessors while they are fresh; the last one always reaches
the client (``Merger``). Messages with a content of their own, such as log messages, have a rate for each group (``Rates``).
Of the progress of one request, the newest wins (``CallProgress``). MCP 2025-11-25, basic/utilities/progress and server/utilities/logging,
ask both for a rate.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable

import msgspec
from msgspec import Raw

from dynamic_mcp.log import log
from dynamic_mcp.protocol import jsonrpc

#: Seconds between two equal notifications of a change.
MERGED_WITHIN = 0.1
#: Messages of one kind that a group may send at once, and messages a second after that.
BURST, RATE = 1000, 200
#: Questions to the user, or to the model, that a group may ask at once, and a second after that.
QUESTION_BURST, QUESTION_RATE = 200, 50
#: Bytes that count like a further message.
_MESSAGE_BYTES = 4096
#: Progress notifications of one request that pass at once, and the seconds between two of them after that.
PROGRESS_BURST, PROGRESS_INTERVAL = 32, 0.05
#: Seconds between two warnings about dropped messages.
_WARN_EVERY = 10.0


class Merger:
    """Sends the first of several equal notifications at once, and of those that follow within ``MERGED_WITHIN`` the last one."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timers: dict[Hashable, asyncio.TimerHandle] = {}
        self._latest: dict[Hashable, Callable[[], None]] = {}

    def put(self, key: Hashable, send: Callable[[], None]) -> None:
        """Call ``send``, now or soon, unless a later one with this ``key`` replaces it."""
        if key in self._timers:
            self._latest[key] = send
        else:
            self._send(key, send)

    def close(self) -> None:
        """Send nothing more."""
        for timer in self._timers.values():
            timer.cancel()
        self._latest.clear()

    def _send(self, key: Hashable, send: Callable[[], None]) -> None:
        self._timers[key] = self._loop.call_later(MERGED_WITHIN, self._go_on, key)
        send()

    def _go_on(self, key: Hashable) -> None:
        del self._timers[key]
        if (send := self._latest.pop(key, None)) is not None:
            self._send(key, send)


class Bucket:
    """A token bucket: ``burst`` messages at once, and ``rate`` messages a second."""

    def __init__(self, burst: float, rate: float) -> None:
        self._burst = burst
        self._rate = rate
        self._loop = asyncio.get_running_loop()
        self._left = burst
        self._at = self._loop.time()

    def take(self, cost: float = 1.0) -> bool:
        """Whether a message may pass. A large message may take more than is left, so later ones wait longer."""
        now = self._loop.time()
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= cost
        return True


class Rates:
    """The rates of the messages of each group and kind. What exceeds a rate is dropped or refused, and counted in a warning."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._buckets: dict[tuple[str, str], Bucket] = {}
        self._refused: dict[tuple[str, str], int] = {}
        self._timers: dict[tuple[str, str], asyncio.TimerHandle] = {}

    def allows(self, group: str, kind: str, size: int) -> bool:
        """Whether a message of ``size`` bytes may pass."""
        return self._takes((group, kind), BURST, RATE, 1.0 + size / _MESSAGE_BYTES)

    def allows_question(self, group: str) -> bool:
        """Whether a request to the client may pass."""
        return self._takes((group, "questions"), QUESTION_BURST, QUESTION_RATE, 1.0)

    def close(self) -> None:
        """Print no more warnings."""
        for timer in self._timers.values():
            timer.cancel()

    def _takes(self, key: tuple[str, str], burst: float, rate: float, cost: float) -> bool:
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = Bucket(burst, rate)
        if bucket.take(cost):
            return True
        self._refused[key] = self._refused.get(key, 0) + 1
        if key not in self._timers:
            self._warn(key)
        return False

    def _warn(self, key: tuple[str, str]) -> None:
        """Warn about the messages since the last warning."""
        self._timers.pop(key, None)
        if count := self._refused.pop(key, 0):
            text = "group %s sends too much (%s); messages that did not reach the client: %d"
            log.warning(text, *key, count)
            self._timers[key] = self._loop.call_later(_WARN_EVERY, self._warn, key)


class CallProgress:
    """The progress of one request: ``send`` gets each notification for the client, with the client's token."""

    def __init__(self, send: Callable[[bytes], None], token: Raw) -> None:
        self._send = send
        self._token = token
        self._bucket: Bucket | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._latest: bytes | None = None
        self._is_answered = False

    def pass_on(self, members: dict[str, Raw]) -> None:
        """Send a notification with these params, or let it replace the one that waits."""
        if self._is_answered:
            return
        if self._bucket is None:
            self._bucket = Bucket(PROGRESS_BURST, 1 / PROGRESS_INTERVAL)
        params = msgspec.json.encode({**members, "progressToken": self._token})
        self._latest = jsonrpc.notification("notifications/progress", params)
        if self._timer is None:
            if self._bucket.take():
                self.flush()
            else:
                self._timer = asyncio.get_running_loop().call_later(PROGRESS_INTERVAL, self.flush)

    def flush(self) -> None:
        """Send what waits."""
        line, self._latest = self._latest, None
        self.drop()
        if line is not None:
            self._send(line)

    def end(self) -> None:
        """Send what waits, because the answer comes now, and nothing after it."""
        self.flush()
        self._is_answered = True

    def go_on(self, other: CallProgress) -> None:
        """Send what comes from now on for another request, which continues this one."""
        self._send, self._token, self._is_answered = other._send, other._token, False

    def drop(self) -> None:
        """Forget what waits, because the request has no answer."""
        self._latest = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
