"""What ``connect`` sends to the proxy, and what it says in place of an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
from msgspec import Raw

from dynamic_mcp.errors import SignInNeeded, Unreachable, UpstreamFailed, UpstreamGone
from dynamic_mcp.protocol import jsonrpc
from dynamic_mcp.protocol.ids import id_key
from dynamic_mcp.protocol.jsonrpc import INTERNAL_ERROR, Message, Outgoing
from dynamic_mcp.protocol.pieces import Large, Line
from dynamic_mcp.upstream.http.session import HttpSession

_MAY_HAVE_RUN = (
    "If the call reached the proxy, it may have been carried out; repeat it only if that does no harm."
)
_DID_NOT_RUN = "So the call was not carried out. The URL is the address that `dynamic-mcp serve` prints"


class SessionForgotten(Exception):
    """The proxy does not know the session, so it did not run the request."""


class PostedRequest:
    """A request of the client, or a batch, in flight."""

    def __init__(
        self, line: bytes, message: Message | None, *, is_modern: bool, is_own: bool = False
    ) -> None:
        """``is_own`` = a request of ``connect`` itself, whose answer the client does not get."""
        self.line = line
        self.message = message
        self.is_modern = is_modern
        self.is_own = is_own
        self.id = jsonrpc.NULL if message is None else bytes(message.id)
        self.method = "" if message is None else message.method
        #: what a cancellation names
        self.key: object = self if message is None else id_key(self.id)
        self.is_cancelled = False
        #: whether the proxy may have it
        self.is_posted = False
        self.received = asyncio.get_running_loop().time()
        #: the one in which it was posted
        self.session = HttpSession()
        self.task: asyncio.Task[None] | None = None


class StaticToken:
    """A token that does not change (``upstream.http.client.Credentials``)."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    async def bearer(self) -> str | None:
        return self._token

    async def handle_refusal(self, status: int, bearer: str | None, challenge: str, kind: str) -> bool:
        return False

    def refused(self, kind: str) -> None:
        return None

    def accepted(self, bearer: str | None, kind: Callable[[], str]) -> None:
        return None

    async def sign_in(self, need: SignInNeeded) -> None:
        raise UpstreamFailed("the proxy needs another token")

    def admitted(self, addresses: list[str]) -> list[str]:
        return addresses


def error_line(id: bytes, text: str, code: int = INTERNAL_ERROR) -> bytes:
    """The line of an error answer."""
    return jsonrpc.error(id, jsonrpc.error_object(code, text))


def whole(line: Line) -> bytes:
    """A message as one piece."""
    return line.gather([(0, line.size)]) if isinstance(line, Large) else line


class _Version(msgspec.Struct):
    version: str | None = msgspec.field(name="protocolVersion", default=None)


def version_in(result: Raw) -> str | None:
    """The negotiated version in the result of ``initialize``."""
    try:
        return msgspec.json.decode(result, type=_Version).version
    except msgspec.DecodeError:
        return None


def failure_line(id: bytes, error: UpstreamFailed) -> bytes:
    """The answer to a request that the proxy did not answer."""
    text = str(error)
    if isinstance(error, UpstreamGone):
        text += f". {_DID_NOT_RUN if isinstance(error, Unreachable) else _MAY_HAVE_RUN}"
    return error_line(id, text)


def refusal_text(status: int) -> str | None:
    """What a refusal of this client means; None for other statuses."""
    if status not in (401, 403):
        return None
    return f"the proxy refuses this client (HTTP {status}); --token-file names the token for it"


def headers_of(message: Message | None, session: HttpSession) -> dict[str, str]:
    """The headers of a POST with this message, or with a batch."""
    if message is None:
        return {"Content-Type": "application/json", **session.headers()}
    outgoing = Outgoing(b"", message.method, params=bytes(message.params))
    try:
        return session.message_headers(outgoing)
    except (KeyError, msgspec.DecodeError):
        # The proxy says what is wrong with the params.
        return {
            "Content-Type": "application/json",
            **session.headers(),
            "Mcp-Method": message.method or "",
        }
