"""The requests of one connection that wait for their answer, and their clocks while the other side asks the user something.

A question stops the clock of one call only, so a server cannot switch off the timeouts of the others. A message on stdio does not say
to which call it belongs. It counts for the newest call that was in flight when it came, and still is, because a server asks soon after
it was called. A transport that knows better names the call. All questions of a call stop its clock for ``MAX_ASKING`` seconds at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
from msgspec import Raw

#: Seconds that the questions of one call may take, all together.
MAX_ASKING = 3600.0
#: The deadline of a request that waits for ever.
NEVER = float("inf")

#: The requests during which the other side may ask the user something.
_CALLS = frozenset({"tools/call", "prompts/get", "resources/read"})

OnProgress = Callable[[dict[str, Raw]], None]


class Pending(msgspec.Struct):
    """A request that waits for its answer."""

    future: asyncio.Future[bytes]
    method: str
    timeout: float
    on_progress: OnProgress | None
    #: loop time at which the request times out
    deadline: float = NEVER
    #: the last progress that ``on_progress`` got
    last_progress: float = float("-inf")
    #: open questions, the loop time of the first one, and the seconds that they may still take
    questions: int = 0
    asked_at: float = 0.0
    allowance: float = MAX_ASKING

    def pause(self, now: float) -> None:
        """Stop the clock for a question, for as long as the allowance lasts."""
        if not self.questions:
            self.asked_at = now
            self.deadline += self.allowance
        self.questions += 1

    def resume(self, now: float) -> None:
        """Let the clock go on after the last open question."""
        self.questions -= 1
        if not self.questions:
            self.allowance = max(self.allowance - (now - self.asked_at), 0.0)
            self.deadline -= self.allowance


class Questions:
    """The open requests of the other side, by the bytes of their ids. ``wake_at`` gets each new deadline of a call."""

    def __init__(self, pending: dict[int, Pending], wake_at: Callable[[float], None]) -> None:
        self._pending = pending
        self._wake_at = wake_at
        self._now = asyncio.get_running_loop().time
        #: the own request whose clock a question stops
        self._calls: dict[bytes, int] = {}

    def begin(self, question: bytes, call: int | None) -> None:
        """Stop the clock of a call; of the newest one without ``call``."""
        self._stop(question, call if call in self._pending else self._newest())

    def end(self, question: bytes) -> None:
        """Let the clock of the call go on."""
        call = self._calls.pop(question, None)
        if call is not None and (pending := self._pending.get(call)) is not None:
            pending.resume(self._now())
            self._wake_at(pending.deadline)

    def reassign(self, ended: int) -> None:
        """Give the open questions of a call that has ended to the newest older one, which may have asked them."""
        call = self._newest(ended)
        for question in [question for question, owner in self._calls.items() if owner == ended]:
            del self._calls[question]
            self._stop(question, call)

    def _newest(self, last: float = NEVER) -> int | None:
        """The newest call in flight, up to this id."""
        for id in reversed(self._pending):
            if id <= last and self._pending[id].method in _CALLS:
                return id
        return None

    def _stop(self, question: bytes, call: int | None) -> None:
        if call is not None:
            self._calls[question] = call
            self._pending[call].pause(self._now())
