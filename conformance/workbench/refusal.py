"""A program with one upstream that does not finish its handshake, because it cannot serve this upstream, or not yet.

Such a program has no other place to tell that the upstream fails: it refuses `initialize`, leaves it open or ends. It can also sign in
before it answers. So once it has asked the upstream for something, a missing answer is about the upstream, and not about the command.
Every later request then has this error for an answer, until a late answer to `initialize` arrives.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio

from conformance.workbench.deadlines import extended
from conformance.workbench.inbox import Answer
from conformance.workbench.remotes import RemoteMockUpstream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conformance.workbench.inbox import Inbox, RequestId
    from conformance.workbench.mocks import MockUpstream, StdioMockUpstream

_POLL = 0.05


def was_tried(upstreams: Sequence[MockUpstream | StdioMockUpstream]) -> bool:
    """Whether a program has connected to one of these upstreams, if only for a TLS handshake, or started it."""
    return any(
        one.was_contacted if isinstance(one, RemoteMockUpstream) else bool(getattr(one, "starts", ()))
        for one in upstreams
    )


@dataclass
class ProgramRefusal:
    """An `initialize` that the program did not answer with a result."""

    #: the id of the request
    id: RequestId
    #: what happened; empty if the program gave no reason at all
    reason: str
    #: whether the program has answered with an error, so that no other answer comes
    is_final: bool

    @property
    def answer(self) -> Answer:
        """What a client tells its user instead of any answer."""
        message = {"jsonrpc": "2.0", "id": self.id, "error": {"code": 0, "message": self.reason}}
        return Answer(message, json.dumps(message, ensure_ascii=False), time.monotonic())

    async def late_answer(self, inbox: Inbox, within: float) -> Answer | None:
        """The result that arrives within so many seconds, or has arrived; None if none does or the program ends."""
        deadline = time.monotonic() + extended(within)
        while not self.is_final:
            for message in inbox.received:
                if message.get("id") == self.id and isinstance(message.get("result"), dict):
                    return Answer(message, json.dumps(message), time.monotonic())
            if inbox.ended.is_set() or time.monotonic() > deadline:
                return None
            await anyio.sleep(_POLL)
        return None
