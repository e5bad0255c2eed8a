"""What this proxy needs beyond aiohttp: a bound for interim replies, admitted addresses, and errors without addresses."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from dynamic_mcp.errors import Unreachable, UpstreamFailed, UpstreamGone

if TYPE_CHECKING:
    import aiohttp

#: Seconds to make one connection.
CONNECT_TIMEOUT = 10.0
#: Seconds that an idle connection is kept. Node closes one after 5 s, and a call that meets the closing is lost.
KEEP_ALIVE = 4.0
#: Seconds until a silent connection to a peer that is gone without a sign ends.
DEAD_AFTER = 80
#: Interim replies (1xx) before the reply to one request.
MAX_INTERIM = 100
#: The content codings that aiohttp can decompress; brotli and zstd only if their libraries are installed.
_CODINGS = frozenset({"gzip", "deflate", "br", "zstd"})
_KEPT = re.compile(r"\btimeout\s*=\s*(\d{1,9})", re.IGNORECASE)
_PLAIN = "the proxy reads answers that are not compressed, or once with gzip or deflate"


@cache
def response_class() -> type[aiohttp.ClientResponse]:
    """aiohttp's response, with two additions.

    It has a bound for interim replies: aiohttp itself reads them for ever, and nothing else runs meanwhile. And it keeps no connection that
    the server closes before the client does, because a request that meets the closing is lost.
    """
    import aiohttp

    class Response(aiohttp.ClientResponse):
        async def start(self, connection: Any) -> aiohttp.ClientResponse:
            protocol, replies = connection.protocol, 0
            read = protocol.read

            async def read_counted() -> object:
                nonlocal replies
                replies += 1
                if replies > MAX_INTERIM + 1:
                    raise UpstreamGone(f"it sent more than {MAX_INTERIM} interim replies (HTTP 1xx)")
                message, payload = await read()
                if _closes_soon(message.headers.get("Keep-Alive", "")):
                    protocol.force_close()
                return message, payload

            protocol.read = read_counted
            try:
                return await super().start(connection)
            finally:
                del protocol.read

    return Response


def _closes_soon(keep_alive: str) -> bool:
    """Whether the time in this header is shorter than that of the client (RFC 2068, section 19.7.1.1)."""
    found = _KEPT.search(keep_alive)
    return found is not None and int(found[1]) <= KEEP_ALIVE


def check_codings(response: aiohttp.ClientResponse) -> None:
    """Raise UpstreamFailed, and close the reply, if aiohttp cannot decompress it in bounded pieces."""
    listed = ",".join(response.headers.getall("Content-Encoding", ())).lower().split(",")
    codings = [coding for coding in map(str.strip, listed) if coding not in ("", "identity")]
    if len(codings) > 1 or not _CODINGS.issuperset(codings):
        response.close()
        raise UpstreamFailed(f"its answer has the content coding {', '.join(codings)[:40]!r}; {_PLAIN}")


def resolver(library: Any, admitted: Callable[[list[str]], list[str]]) -> Any:
    """A resolver of the library that gives only admitted addresses."""

    class AdmittingResolver(library.ThreadedResolver):  # type: ignore[misc]  # the library is imported when it is needed
        async def resolve(self, *name: Any, **options: Any) -> list[dict[str, Any]]:
            found = await super().resolve(*name, **options)
            kept = admitted([place["host"] for place in found])
            return [place for place in found if place["host"] in kept]

    return AdmittingResolver()


def open_socket(place: tuple[Any, ...]) -> socket.socket:
    """A socket for an entry of ``getaddrinfo``."""
    family, kind, protocol = place[:3]
    opened = socket.socket(family, kind, protocol)
    notice_dead_peers(opened)
    return opened


def notice_dead_peers(connection: socket.socket) -> None:
    """End a connection that waits while its peer or the network is gone, after ``DEAD_AFTER`` seconds (RFC 9293, 3.8.4).

    The streams of MCP may say nothing for hours. Without this, one that lost its network stays silent for ever.
    """
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # macOS has another name for it.
    idle = getattr(socket, "TCP_KEEPIDLE", None) or getattr(socket, "TCP_KEEPALIVE", None)
    if idle is not None:
        connection.setsockopt(socket.IPPROTO_TCP, idle, DEAD_AFTER // 2)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, DEAD_AFTER // 8)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turns the library's errors into those of upstreams. The texts of the library have addresses, which may hold secrets.

    UpstreamFailed means that the server gave an answer that nothing can read, and UpstreamGone that the connection ended.
    """
    try:
        yield
    except UpstreamFailed:
        raise
    except Exception as error:
        from dynamic_mcp.upstream.http.causes import cause_of, is_unreadable, is_unsent

        text = cause_of(error, CONNECT_TIMEOUT, _PLAIN)
        if is_unreadable(error):
            raise UpstreamFailed(text) from None
        raise (Unreachable if is_unsent(error) else UpstreamGone)(text) from None
