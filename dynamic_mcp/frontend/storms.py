"""Bounds what the servers of the proxy make the client read.

A notification that only says that something changed is merged with its predecessors while they are fresh; the last one always reaches
the client (``pacing.Merger``). Messages with a content of their own, such as log messages, have a rate for each group (``Rates``).
Of the progress of one request, the newest wins (``CallProgress``). MCP 2025-11-25, basic/utilities/progress and server/utilities/logging,
ask both for a rate.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial

import msgspec
from msgspec import Raw

from dynamic_mcp.log import log
from dynamic_mcp.pacing import Bucket, Merger, Paced
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
#: Seconds between the last progress notification of a request and its answer. The official TypeScript SDK takes up an answer before the
#: progress that it reads with it. This progress is then an error of the protocol, for which some clients end the connection.
PROGRESS_LEAD = 0.01
#: Seconds between two warnings about dropped messages.
_WARN_EVERY = 10.0


class Rates:
    """The rates of the messages of each group and kind. What exceeds a rate is dropped or refused, and counted in a warning."""

    def __init__(self) -> None:
        self._buckets: dict[tuple[str, str], Bucket] = {}
        self._refused: dict[tuple[str, str], int] = {}
        self._warnings = Merger(_WARN_EVERY)

    def allows(self, group: str, kind: str, size: int) -> bool:
        """Whether a message of ``size`` bytes may pass."""
        return self._takes((group, kind), BURST, RATE, 1.0 + size / _MESSAGE_BYTES)

    def allows_question(self, group: str) -> bool:
        """Whether a request to the client may pass."""
        return self._takes((group, "questions"), QUESTION_BURST, QUESTION_RATE, 1.0)

    def refuse(self, group: str, kind: str) -> bool:
        """Count a message that does not pass; False."""
        key = group, kind
        self._refused[key] = self._refused.get(key, 0) + 1
        self._warnings.put(key, partial(self._warn, key))
        return False

    def close(self) -> None:
        """Print no more warnings."""
        self._warnings.close()

    def _takes(self, key: tuple[str, str], burst: float, rate: float, cost: float) -> bool:
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = Bucket(burst, rate)
        return bucket.take(cost) or self.refuse(*key)

    def _warn(self, key: tuple[str, str]) -> None:
        """Warn about the messages since the last warning."""
        text = "group %s sends too much (%s); messages that did not reach the client: %d"
        log.warning(text, *key, self._refused.pop(key))


class CallProgress:
    """The progress of one request: ``send`` gets each notification for the client, with the client's token."""

    def __init__(self, send: Callable[[bytes], None], token: Raw) -> None:
        self._send = send
        self._token = token
        self._pace: Paced | None = None
        self._latest: bytes | None = None
        #: monotonic time
        self._sent_at = 0.0
        self._is_answered = False

    def pass_on(self, members: dict[str, Raw]) -> None:
        """Send a notification with these params, or let it replace the one that waits."""
        if self._is_answered:
            return
        if self._pace is None:
            self._pace = Paced(self.flush, Bucket(PROGRESS_BURST, 1 / PROGRESS_INTERVAL), PROGRESS_INTERVAL)
        params = msgspec.json.encode({**members, "progressToken": self._token})
        self._latest = jsonrpc.notification("notifications/progress", params)
        self._pace.act()

    def flush(self) -> None:
        """Send what waits."""
        line, self._latest = self._latest, None
        self.drop()
        if line is not None:
            self._sent_at = time.monotonic()
            self._send(line)

    def end(self) -> None:
        """Send what waits, because the answer comes now, and nothing after it."""
        self.flush()
        self._is_answered = True

    async def keep_distance(self) -> None:
        """Wait until the answer may follow the last notification."""
        wait = self._sent_at + PROGRESS_LEAD - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)

    def go_on(self, other: CallProgress) -> None:
        """Send what comes from now on for another request, which continues this one."""
        self._send, self._token, self._is_answered = other._send, other._token, False

    def drop(self) -> None:
        """Forget what waits, because the request has no answer."""
        self._latest = None
        if self._pace is not None:
            self._pace.stop()
