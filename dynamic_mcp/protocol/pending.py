"""The requests of one connection that wait for their answer, and their clocks while the other side asks the user something.

A question stops the clock of one call only, so a server cannot switch off the timeouts of the others. A message on stdio does not say
to which call it belongs. So it counts for a call that has asked before, else for the newest call in flight. A server asks soon after
it was called. A question whose call the transport names counts for no other one. All questions of a call stop its clock for
``MAX_ASKING`` seconds at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec
from msgspec import Raw

from dynamic_mcp.protocol.jsonrpc import Message

#: Seconds that the questions of one call may take, all together.
MAX_ASKING = 3600.0
#: How often a request may take its timeout, while it reports progress.
MAX_TIMES = 10
#: The deadline of a request that waits for ever.
NEVER = float("inf")

#: The requests that a person answers. A program answers every other one, so no clock stops for it.
ASKS_THE_USER = frozenset({"elicitation/create", "sampling/createMessage"})
#: The requests during which the other side may ask the user something.
CALLS = frozenset({"tools/call", "prompts/get", "resources/read"})

#: Takes the params of a progress notification.
OnProgress = Callable[[dict[str, Raw]], None]


class ClientCall(Protocol):
    """The call of a client that needs a request (``frontend.call.Call``). It comes back with each question that may belong to it."""

    #: whether the client waits no longer
    is_over: bool


class Options(msgspec.Struct, frozen=True):
    """The time of one request, what it takes beside its answer, and the client behind it."""

    #: seconds; None waits for ever. If it is 0, the request is not sent
    timeout: float | None
    #: takes the progress of the request, which without it carries no progress token
    on_progress: OnProgress | None = None
    #: the capabilities of the client behind this request (a JSON object), and its log level; for a modern upstream
    capabilities: bytes = b"{}"
    log_level: str | None = None
    #: its description of itself (a JSON object); empty for that of the connection
    client_info: bytes = b""
    #: takes the id of the request on this connection
    on_id: Callable[[int], None] | None = None
    #: the call that needs the request; a request of the server during it comes with this object
    caller: ClientCall | None = None


class OnRequest(Protocol):
    """Answers a request of the other side, which can belong to any of the ``callers``."""

    def __call__(self, message: Message, callers: Sequence[ClientCall]) -> Awaitable[bytes]: ...


class Pending(msgspec.Struct):
    """A request that waits for its answer."""

    future: asyncio.Future[bytes]
    method: str
    timeout: float
    on_progress: OnProgress | None
    #: the call that needs it, if any
    caller: ClientCall | None = None
    #: loop times at which the request began, and at which it times out
    began: float = 0.0
    deadline: float = NEVER
    #: the last progress that ``on_progress`` got
    last_progress: float = float("-inf")
    #: whether there was any progress
    has_progressed: bool = False
    #: the number of open questions
    questions: int = 0
    #: whether there was any question
    has_asked: bool = False
    #: the loop time of the first open question
    asked_at: float = 0.0
    #: the seconds that questions may still take
    allowance: float = MAX_ASKING

    def progressed(self, now: float) -> None:
        """Begin the timeout again, as often as ``MAX_TIMES`` allows. A question has stopped the clock anyway."""
        self.has_progressed = True
        if not self.questions:
            last = self.began + MAX_TIMES * self.timeout + MAX_ASKING - self.allowance
            self.deadline = max(self.deadline, min(now + self.timeout, last))

    def why_late(self, now: float) -> str:
        """What did not happen in time."""
        text = f"no answer to {self.method} within {self.timeout:g} s"
        if self.has_progressed:
            working = now - self.began - (MAX_ASKING - self.allowance)
            text = f"no answer to {self.method} within {working:.0f} s"
            most = MAX_TIMES * self.timeout
            if working >= most:
                text += f", although it reported progress: that is {MAX_TIMES} times its timeout of {self.timeout:g} s"
            else:
                text += f", and no further progress within {self.timeout:g} s"
        if self.questions:
            text += f", and {MAX_ASKING:g} s for its questions to the user"
        return text

    def pause(self, now: float) -> None:
        """Stop the clock for a question, for as long as the allowance lasts."""
        if not self.questions:
            self.asked_at = now
            self.deadline += self.allowance
        self.questions += 1
        self.has_asked = True

    def resume(self, now: float) -> None:
        """Let the clock go on after the last open question."""
        self.questions -= 1
        if not self.questions:
            self.allowance = max(self.allowance - (now - self.asked_at), 0.0)
            self.deadline -= self.allowance


class QuestionClocks:
    """The open requests of the other side, by the keys of their ids (``ids.id_key``). ``wake_at`` gets each new deadline of a call."""

    def __init__(self, pending: dict[int, Pending], wake_at: Callable[[float], None]) -> None:
        self._pending = pending
        self._wake_at = wake_at
        self._now = asyncio.get_running_loop().time
        #: the call whose clock a question stops; and the newest call when the question came, if the transport did not name its call
        self._open: dict[object, tuple[int, int | None]] = {}

    def begin(self, question: object, call: int | None) -> None:
        """Stop the clock of a call, if it has not ended; of the likeliest one without ``call``."""
        if call is not None:
            self._stop(question, call, None)
        else:
            self._guess(question, next(reversed(self._pending), 0))

    def end(self, question: object) -> None:
        """Let the clock of the call go on."""
        call, _ = self._open.pop(question, (0, 0))
        if (pending := self._pending.get(call)) is not None:
            pending.resume(self._now())
            self._wake_at(pending.deadline)

    def reassign(self, ended: int) -> None:
        """Give the questions that were guessed to be of this call, which has ended, to another one that was in flight when they came."""
        for question, (call, newest) in list(self._open.items()):
            if call == ended:
                del self._open[question]
                if newest is not None:
                    self._guess(question, newest)

    def _guess(self, question: object, newest: int) -> None:
        """Stop the clock of the newest call up to this id that asked before, else that of the newest one."""
        calls = [id for id in self._pending if id <= newest and self._pending[id].method in CALLS]
        asking = [id for id in calls if self._pending[id].has_asked]
        if found := asking or calls:
            self._stop(question, max(found), newest)

    def _stop(self, question: object, call: int, newest: int | None) -> None:
        if (pending := self._pending.get(call)) is not None:
            self._open[question] = call, newest
            pending.pause(self._now())
