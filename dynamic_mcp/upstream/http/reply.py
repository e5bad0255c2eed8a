"""The reply to one HTTP request. Its headers are here, and its body arrives later, as fast as it is read."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

import anyio.lowlevel

from dynamic_mcp.errors import TooLarge, UpstreamFailed
from dynamic_mcp.protocol.jsonrpc import format_size
from dynamic_mcp.protocol.pieces import Line, Pieces
from dynamic_mcp.upstream.flow import LoopShare
from dynamic_mcp.upstream.http import refusals
from dynamic_mcp.upstream.http.library import translated_errors
from dynamic_mcp.upstream.http.retry_after import seconds_of

if TYPE_CHECKING:
    import aiohttp


class HttpReply:
    """The reply to one request; its body arrives later."""

    def __init__(self, response: aiohttp.ClientResponse, bearer: str | None, cookies: Sequence[str]) -> None:
        """``bearer`` is the token of the request, and ``cookies`` are the values of its cookies. The body may repeat both."""
        self._response = response
        self.bearer = bearer
        self.cookies = cookies
        self.status = response.status
        #: the media type without parameters, lower case; the first one of a gateway that adds its own
        kinds = response.headers.get("Content-Type", "").partition(",")[0]
        self.content_type = kinds.partition(";")[0].strip().lower()
        #: what ``beginning_of_body`` has read of the body, and whether it has
        self._read: list[bytes] = []
        self._has_read_beginning = False
        #: whether the server refuses a token with which it has taken no request of this session yet
        self.may_miss_session_of_token = False
        #: whether any of the body has come
        self.has_body = False

    def header(self, name: str) -> str | None:
        """The value of a header; the case of its name does not matter."""
        return self._response.headers.get(name)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body in chunks. Raises UpstreamGone if it breaks off, and UpstreamFailed if it cannot be decompressed."""
        for chunk in self._read:
            yield chunk
        with translated_errors():
            async for chunk in self._response.content.iter_any():
                self.has_body = True
                yield chunk

    async def beginning_of_body(self) -> str:
        """The text at the beginning of the body, as far as it comes in time. ``chunks`` gives it again."""
        if not self._has_read_beginning:
            # Once, because a body that hangs would take the time again.
            self._has_read_beginning = True
            with (
                anyio.move_on_after(refusals.READ_TIME),
                contextlib.suppress(UpstreamFailed),
                translated_errors(),
            ):
                async for chunk in self._response.content.iter_any():
                    self._read.append(chunk)
                    self.has_body = True
                    if sum(map(len, self._read)) >= refusals.MAX_READ:
                        break
        return b"".join(self._read)[: refusals.MAX_READ].decode(errors="replace")

    async def body(self, max_size: int) -> Line:
        """The whole body. Raises TooLarge beyond ``max_size`` bytes, UpstreamGone if it breaks off."""
        body, share = Pieces(), LoopShare()
        async for chunk in self.chunks():
            body.add(chunk)
            if body.size > max_size:
                raise TooLarge(f"its answer is larger than {format_size(max_size)}")
            if share.is_used_up_after(chunk):
                await anyio.lowlevel.checkpoint()
        return body.take_line()

    @property
    def retry_after(self) -> float:
        """Seconds that the server asks to wait before the next request; 0 if it does not."""
        return seconds_of(self.header("Retry-After"), self.header("Date"))

    @property
    def outline(self) -> str:
        """The status, the type and the compression, for messages."""
        coding = (self.header("Content-Encoding") or "").strip()
        parts = [f"HTTP {self.status}", self.content_type[:40], coding and f"compressed with {coding[:40]}"]
        return ", ".join(filter(None, parts))

    @property
    def charset(self) -> str:
        """The charset that the server names, in lower case; empty without one."""
        _, _, parameters = (self.header("Content-Type") or "").lower().partition("charset=")
        return parameters.partition(";")[0].strip().strip("\"'")

    @property
    def challenge(self) -> str:
        """The ``WWW-Authenticate`` headers."""
        return ", ".join(self._response.headers.getall("WWW-Authenticate", ()))

    async def is_session_lost(self) -> bool:
        """Whether this reply to a request of a session says that the server has lost the session."""
        if self.may_miss_session_of_token:
            return True
        return refusals.is_session_lost(self.status, await self.beginning_of_body(), self.challenge)

    async def asks_for_initialize(self) -> bool:
        """Whether this reply to a request without a session id asks for ``initialize``."""
        return refusals.asks_for_initialize(self.status, await self.beginning_of_body())

    def end(self) -> None:
        """End the exchange. An unfinished body could be endless, so its connection is not kept."""
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()

    def close(self) -> None:
        """Close the connection."""
        self._response.close()
