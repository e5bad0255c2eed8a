"""The same filter for upstreams behind a URL, for mistakes in the requests and the replies.

``around_requests`` stands around ``HttpClient.request``. It can change, drop, repeat and add requests, and it can change
replies. ``change_requests`` stands at the HTTP library, where configured headers and the bearer token are part of a request.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from conformance.mutants import replace
from conformance.mutants.wire import Message, decoded
from dynamic_mcp.upstream.http.client import HttpClient
from dynamic_mcp.upstream.http.reply import HttpReply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
    from contextlib import AbstractAsyncContextManager

    from dynamic_mcp.protocol.pieces import Line

    Send = Callable[["ProxyRequest"], AbstractAsyncContextManager[HttpReply]]

EVENT_STREAM = "text/event-stream"
#: Headers that the proxy sends by itself; those that begin with ``mcp-`` are its own too.
OWN_HEADERS = frozenset({"user-agent", "accept", "content-type", "cookie", "last-event-id", "authorization"})

_END_OF_EVENT = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2}")


@dataclass(eq=False)
class ProxyRequest:
    """A request of the proxy."""

    #: what is the same for all requests of one connection
    client: Any
    method: str
    url: str
    headers: MutableMapping[str, str]
    body: bytes | None
    #: further arguments of ``HttpClient.request``, or of the HTTP library in ``change_requests``
    options: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def message(self) -> Message:
        """The JSON-RPC message in the body; empty without one."""
        return decoded(self.body or b"") or {}

    @property
    def rpc(self) -> str | None:
        """The JSON-RPC method."""
        return self.message.get("method")

    @property
    def is_call(self) -> bool:
        """Whether this is a POST with a JSON-RPC request."""
        return self.method == "POST" and "method" in self.message and "id" in self.message

    def header(self, name: str) -> str | None:
        """A header of this request. The case of the name does not count."""
        return next((value for key, value in self.headers.items() if key.lower() == name.lower()), None)

    def get(self, *, accept: str = EVENT_STREAM, **headers: str) -> ProxyRequest:
        """A GET request on the same connection, with the session and the version of this one."""
        kept = {name: value for name, value in self.headers.items() if name.lower().startswith("mcp-")}
        return ProxyRequest(self.client, "GET", self.url, {**kept, "Accept": accept, **headers}, None)


class Reply(HttpReply):
    """A reply that differs from a real one, or that no server sent."""

    def __init__(
        self,
        real: HttpReply | None = None,
        *,
        status: int | None = None,
        content_type: str | None = None,
        chunks: AsyncIterator[bytes] | None = None,
    ) -> None:
        self._real = real
        self.status = status or (200 if real is None else real.status)
        self.content_type = content_type or ("" if real is None else real.content_type)
        self.bearer = None if real is None else real.bearer
        self.cookies = () if real is None else real.cookies
        self.may_miss_session_of_token = real is not None and real.may_miss_session_of_token
        self._chunks = chunks
        self.has_body = False

    def header(self, name: str) -> str | None:
        return None if self._real is None else self._real.header(name)

    async def chunks(self) -> AsyncIterator[bytes]:
        if self._chunks is not None:
            async for chunk in self._chunks:
                self.has_body = True
                yield chunk
        elif self._real is not None:
            async for chunk in self._real.chunks():
                self.has_body = True
                yield chunk

    async def beginning_of_body(self) -> str:
        if self._real is None:
            return ""
        text = await self._real.beginning_of_body()
        self.has_body = self._real.has_body
        return text

    @property
    def outline(self) -> str:
        return "" if self._real is None else self._real.outline

    @property
    def challenge(self) -> str:
        return "" if self._real is None else self._real.challenge

    async def body(self, max_size: int) -> Line:
        if self._real is not None and self._chunks is None:
            body = await self._real.body(max_size)
            self.has_body = self._real.has_body
            return body
        return await whole_body(self)


async def whole_body(reply: HttpReply) -> bytes:
    """The body of a reply in one piece."""
    return b"".join([chunk async for chunk in reply.chunks()])


def around_requests(wrong: Callable[[ProxyRequest, Send], AsyncIterator[HttpReply]]) -> None:
    """Let ``wrong`` make each request: it sends what it wants to send and yields one reply."""
    right = HttpClient.request
    exchange = asynccontextmanager(wrong)

    def send(request: ProxyRequest) -> AbstractAsyncContextManager[HttpReply]:
        return right(
            request.client,
            request.method,
            request.headers,
            request.body,
            url=request.url,
            **request.options,
        )

    def request(
        self: HttpClient,
        method: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        *,
        url: str | None = None,
        **options: Any,
    ) -> AbstractAsyncContextManager[HttpReply]:
        return exchange(ProxyRequest(self, method, url or self.url, dict(headers), body, options), send)

    replace(right, request)


def drop_notifications(method: str) -> None:
    """Send no notification of this method. The proxy gets the reply that a server would send."""

    async def wrong(request: ProxyRequest, send: Send) -> AsyncIterator[HttpReply]:
        if request.rpc == method:
            yield Reply(status=202)
            return
        async with send(request) as reply:
            yield reply

    around_requests(wrong)


def change_replies(change: Callable[[ProxyRequest, HttpReply], HttpReply]) -> None:
    """Change the replies of all servers."""

    async def wrong(request: ProxyRequest, send: Send) -> AsyncIterator[HttpReply]:
        async with send(request) as reply:
            yield change(request, reply)

    around_requests(wrong)


def change_answers(method: str, change: Callable[[bytes], bytes]) -> None:
    """Change the whole bodies of the answers to a method."""

    async def changed(reply: HttpReply) -> AsyncIterator[bytes]:
        yield change(await whole_body(reply))

    def wrong(request: ProxyRequest, reply: HttpReply) -> HttpReply:
        return Reply(reply, chunks=changed(reply)) if request.rpc == method else reply

    change_replies(wrong)


def change_chunks(change: Callable[[ProxyRequest, AsyncIterator[bytes]], AsyncIterator[bytes]]) -> None:
    """Change the bodies of all event streams."""

    def wrong(request: ProxyRequest, reply: HttpReply) -> HttpReply:
        if reply.content_type != EVENT_STREAM:
            return reply
        return Reply(reply, chunks=change(request, reply.chunks()))

    change_replies(wrong)


def change_events(change: Callable[[ProxyRequest, bytes], bytes | None]) -> None:
    """Change or drop single events, which are bytes with the empty line at their end."""

    async def wrong(request: ProxyRequest, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for event in events(chunks):
            changed = change(request, event)
            if changed is not None:
                yield changed

    change_chunks(wrong)


def change_requests(change: Callable[[ProxyRequest], object]) -> None:
    """Let ``change`` alter each request in place, right before the HTTP library gets it."""
    right_start = HttpClient.start
    changed: list[object] = []

    async def start(self: HttpClient) -> None:
        await right_start(self)
        # Only now: to import the library earlier would slow down each start of the proxy.
        import aiohttp
        from multidict import CIMultiDict

        if changed:
            return
        right = aiohttp.ClientSession.request
        changed.append(right)

        def wrong(session: Any, method: str, url: str, **options: Any) -> Awaitable[Any]:
            headers: MutableMapping[str, str] = CIMultiDict(options.pop("headers", {}))
            request = ProxyRequest(session, method, url, headers, options.pop("data", None), options)
            change(request)
            return right(
                session,
                request.method,
                request.url,
                headers=request.headers,
                data=request.body,
                **request.options,
            )

        setattr(aiohttp.ClientSession, "request", wrong)  # noqa: B010  # mypy does not allow the assignment

    replace(right_start, start)


async def events(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The events of a stream as they are, each as soon as it is complete; at last what follows the last one."""
    rest = b""
    async for chunk in chunks:
        rest += chunk
        while found := _END_OF_EVENT.search(rest):
            yield rest[: found.end()]
            rest = rest[found.end() :]
    if rest:
        yield rest


async def joined(chunk: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The chunks behind one that was read already."""
    yield chunk
    async for one in chunks:
        yield one


def drop_configured_headers(request: ProxyRequest) -> None:
    """Remove the headers that the proxy does not send by itself; a configured ``Authorization`` stays."""
    for name in set(request.headers):
        if name.lower() not in OWN_HEADERS and not name.lower().startswith("mcp-"):
            del request.headers[name]


def data_of(event: bytes) -> bytes:
    """The data of an event."""
    lines = (line.partition(b":") for line in event.splitlines())
    return b"\n".join(value.removeprefix(b" ") for name, _, value in lines if name == b"data")


def with_data(event: bytes, data: bytes | Message) -> bytes:
    """An event with other data."""
    text = data if isinstance(data, bytes) else msgspec.json.encode(data)
    others = [line for line in event.splitlines() if line and not line.startswith(b"data:")]
    return b"\n".join([*others, *(b"data: " + line for line in text.split(b"\n")), b"", b""])
