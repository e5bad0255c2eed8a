"""Bodies of any kind in a POST to a Streamable HTTP server, and what comes back: no JSON, wrong JSON-RPC, or a batch of 2025-03-26.

The answers are for the check alone. They go neither into the inbox nor into the transcript, because no request of the client waits for
them. The event log has the response.

Source: MCP 2025-11-25, basic/transports, Sending Messages to the Server; MCP 2025-03-26, the same place, for batches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from conformance.workbench.transcript import Json


@dataclass(frozen=True)
class BodyReply:
    """The response to one POST."""

    status: int
    #: the answers in the body: of JSON, of an array, or of all events up to the last answer
    answers: list[Json]
    #: the status, the type and the beginning of the body
    seen: str

    @property
    def error(self) -> Any:
        """The error of the only answer; None if that is no error, or if there are several answers."""
        return self.answers[0].get("error") if len(self.answers) == 1 else None

    @property
    def refuses(self) -> bool:
        """Whether the status alone says that the client is wrong. MCP does not demand a body then."""
        return 400 <= self.status < 500 and not self.answers


@runtime_checkable
class TakesBodies(Protocol):
    """A client transport that can POST a body of any kind."""

    async def post_body(self, body: bytes, within: float) -> BodyReply:
        """The response to a POST with this body. Raises `Violation` if it does not end within so many seconds."""
