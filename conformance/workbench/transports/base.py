"""What every client transport offers, and the transport of a program that speaks MCP on stdin and stdout."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, NamedTuple, Protocol

from conformance.errors import NotApplicable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conformance.errors import Violation
    from conformance.workbench.inbox import RequestId
    from conformance.workbench.launched import Launched


class Failure(NamedTuple):
    """Why a request has no answer."""

    why: str
    #: a slower or faster machine could change that
    timed: bool = False
    #: a connection broke, perhaps because the program ends
    lost: bool = False


class ClientTransport(Protocol):
    """Carries the messages of one client to a program. What the program sends goes into the inbox of the client."""

    #: the name of the transport in messages
    name: str
    #: whether the program speaks MCP on its stdin and stdout
    on_stdio: bool
    #: the port of a program that listens
    port: int | None

    @property
    def deviations(self) -> Sequence[Violation]:
        """What the transport does not allow and the client can live with. One check judges it, so that the others still tell more."""

    async def send(self, data: bytes, within: float) -> None:
        """Hand over one message and its line end. Raises `Violation` if the program does not take it in `within` seconds."""

    def failure(self, id: RequestId) -> Failure | None:
        """Why no answer to this request can come any more; None if the transport knows no reason."""

    async def end(self) -> None:
        """End the session and the program in the way of this transport, and do not wait for the exit."""

    async def close(self) -> None:
        """End the session. Nothing is sent or received afterwards."""

    async def vanish(self) -> None:
        """Be gone as after a crash of the client: nothing ends the session."""

    def ignore(self) -> None:
        """Leave unread what the program sends from now on."""

    def judge(self) -> None:
        """Raise `Violation` for the first message that arrived in a way that the transport does not allow."""


class StdioClientTransport:
    """Lines on the stdin of the program."""

    name = "stdio"
    on_stdio = True
    port: int | None = None
    deviations: Sequence[Violation] = ()

    def __init__(self, launched: Launched) -> None:
        self._launched = launched

    async def send(self, data: bytes, within: float) -> None:
        """As in `ClientTransport`."""
        await self._launched.write(data, within)

    def failure(self, id: RequestId) -> Failure | None:
        """None: a pipe does not tell."""
        return None

    async def end(self) -> None:
        """Close stdin."""
        self._launched.close_stdin()

    async def close(self) -> None:
        """Do nothing: the end of the program closes its stdin."""

    async def vanish(self) -> None:
        """Kill the program that the client has started."""
        self._launched.signal(signal.SIGKILL)

    def ignore(self) -> None:
        """Stop reading stdout."""
        self._launched.stdout.ignore()

    def judge(self) -> None:
        """Do nothing: other modules judge the lines on stdout."""


def needs_stdio(transport: ClientTransport, what: str) -> None:
    """Raise `NotApplicable` if a check needs something that only a program on stdio has."""
    if not transport.on_stdio:
        raise NotApplicable(f"the client reaches the program over {transport.name}, which has no {what}")
