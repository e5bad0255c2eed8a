"""What ``connect`` sends to the proxy, and what it says in place of an answer."""

from __future__ import annotations

import asyncio

import msgspec
from msgspec import Raw

from dynamic_mcp.errors import SignInNeeded, UpstreamFailed, UpstreamGone
from dynamic_mcp.frontend.running import id_key
from dynamic_mcp.protocol import jsonrpc
from dynamic_mcp.protocol.jsonrpc import INTERNAL_ERROR, Message
from dynamic_mcp.protocol.pieces import Large, Line

_MAY_HAVE_RUN = (
    "If the call reached the proxy, it may have been carried out; repeat it only if that does no harm."
)


class SessionForgotten(Exception):
    """The proxy does not know the session, so it did not run the request."""


class PostedRequest:
    """A request of the client, or a batch, in flight."""

    def __init__(self, line: bytes, message: Message | None, is_modern: bool) -> None:
        self.line = line
        self.message = message
        self.is_modern = is_modern
        self.id = jsonrpc.NULL if message is None else bytes(message.id)
        self.method = "" if message is None else message.method
        #: what a cancellation names
        self.key: object = self if message is None else id_key(self.id)
        self.is_cancelled = False
        self.task: asyncio.Task[None] | None = None


class StaticToken:
    """A token that does not change (``upstream.http.client.Credentials``)."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    async def bearer(self) -> str | None:
        return self._token

    async def handle_refusal(self, status: int, bearer: str | None, challenge: str) -> bool:
        return False

    def accepted(self, bearer: str | None) -> None:
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
    text = f"{error}. {_MAY_HAVE_RUN}" if isinstance(error, UpstreamGone) else str(error)
    return error_line(id, text)
