"""Reads the message of a POST: its headers, its body, and the envelopes in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec

from dynamic_mcp.extras.serving.limits import ServingLimits
from dynamic_mcp.extras.serving.refused import RefusedRequest
from dynamic_mcp.protocol import era, large
from dynamic_mcp.protocol.era import RequestMeta
from dynamic_mcp.protocol.ids import cancelled_id, id_key
from dynamic_mcp.protocol.jsonrpc import Malformed, Message, format_size
from dynamic_mcp.protocol.pieces import Line, Pieces, first_character

if TYPE_CHECKING:
    from starlette.datastructures import Headers
    from starlette.types import Receive

JSON, EVENTS = "application/json", "text/event-stream"


class ClientGone(Exception):
    """The client closed the connection."""


class Posted(msgspec.Struct):
    """One message, or a batch of them, as the client sent it."""

    line: Line
    #: the messages that could be read
    messages: list[Message]
    #: what could not be read, which gets an answer each
    problems: list[Malformed]
    is_batch: bool

    def release(self) -> None:
        """Drop the bytes, because the core has them. The answer can wait for its client for a long time."""
        self.line = b""
        self.messages.clear()

    @property
    def requests(self) -> list[Message]:
        """Those that get an answer."""
        return [message for message in self.messages if message.method is not None and message.id]

    @property
    def single(self) -> Message | None:
        """The message, unless this is a batch."""
        return None if self.is_batch or not self.messages else self.messages[0]

    @property
    def meta(self) -> RequestMeta | None:
        """What makes a single message modern; None for a legacy one."""
        return era.request_meta(self.single.params) if self.single and self.single.params else None


def accepts(headers: Headers, wanted: str) -> bool:
    """Whether the client takes this media type. Without the header it takes every one (RFC 9110, section 12.5.1)."""
    sent = headers.getlist("accept")
    if not sent:
        return True
    taken = set()
    for part in ",".join(sent).split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if not any(parameter.replace(" ", "") in ("q=0", "q=0.0") for parameter in parameters):
            taken.add(name)
    return not taken.isdisjoint({wanted, f"{wanted.partition('/')[0]}/*", "*/*"})


class Accepted(msgspec.Struct, frozen=True):
    """The forms in which a client takes the answer to a POST: one JSON message, or a stream of events."""

    json: bool
    events: bool


def accepted(headers: Headers) -> Accepted:
    """What the client takes. The specification demands both, but many clients name only one."""
    return Accepted(accepts(headers, JSON), accepts(headers, EVENTS))


def check_headers(headers: Headers) -> None:
    """Raises RefusedRequest for a POST that is no message, or whose answer the client does not take."""
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != JSON:
        raise RefusedRequest(415, f"Content-Type must be {JSON}", headers={"Connection": "close"})
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise RefusedRequest(415, "Content-Encoding must be identity", headers={"Connection": "close"})
    if accepted(headers) == Accepted(json=False, events=False):
        raise RefusedRequest(406, f"Accept must contain {JSON} or {EVENTS}", headers={"Connection": "close"})


class Bodies:
    """Reads bodies, within a bound for all of them."""

    def __init__(self, limits: ServingLimits) -> None:
        self._limits = limits
        self._size = 0

    @asynccontextmanager
    async def reading(self, headers: Headers, receive: Receive) -> AsyncIterator[Line]:
        """A context with the body. Its bytes count until the end of the context. Raises RefusedRequest and ClientGone."""
        pieces, close = Pieces(), {"Connection": "close"}
        too_large = RefusedRequest(
            413, f"a message has at most {format_size(self._limits.max_body)}", headers=close
        )
        declared = headers.get("content-length", "0")
        if not declared.isascii() or not declared.isdigit() or int(declared) > self._limits.max_body:
            raise too_large
        counted = 0
        try:
            async with asyncio.timeout(self._limits.body_time):
                while True:
                    event = await receive()
                    if event["type"] == "http.disconnect":
                        raise ClientGone
                    piece = event.get("body", b"")
                    counted += len(piece)
                    self._size += len(piece)
                    if counted > self._limits.max_body:
                        raise too_large
                    if self._size > self._limits.max_bodies and counted < self._size:
                        raise RefusedRequest(
                            503, "too many messages arrive", headers={"Retry-After": "1", **close}
                        )
                    pieces.add(piece)
                    if not event.get("more_body", False):
                        break
            yield pieces.take_line()
        except TimeoutError:
            raise RefusedRequest(408, "the message did not arrive in time", headers=close) from None
        finally:
            self._size -= counted


async def parsed(line: Line) -> Posted:
    """The envelopes of a body."""
    if first_character(line) != b"[":
        try:
            return Posted(line, [await large.parse_any(line)], [], is_batch=False)
        except Malformed as problem:
            return Posted(line, [], [problem], is_batch=False)
    try:
        elements = await large.elements_of_any(line)
    except Malformed as problem:
        return Posted(line, [], [problem], is_batch=True)
    found = Posted(line, [], [], is_batch=True)
    for element in elements:
        try:
            found.messages.append(await large.parse_any(element))
        except Malformed as problem:
            found.problems.append(problem)
    return found


def cancelled_request(message: Message) -> object:
    """The request that a notification cancels; None if it names none."""
    id = cancelled_id(message.params)
    return id_key(id) if id else None
