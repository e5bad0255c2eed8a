"""HTTP requests to one server behind a URL. Of the upstreams, only this module uses the HTTP library.

The library is aiohttp. With 64 calls in flight it reaches about half of the throughput of raw sockets; httpx 0.28 reaches a thirtieth,
because requests queue behind its connection pool. The first ``start`` imports aiohttp in a thread, because that takes long.

The system's trust store verifies certificates (``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` change it). Proxies come from the environment
(``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY``, ``NO_PROXY``). The client follows no redirects, because headers for one address must
not reach another. It limits only the time for a connection, and for a ``post``. It asks for no content coding, unless the configured
headers do, and reads a reply that is compressed once; aiohttp decompresses it in bounded pieces, as fast as they are read.
"""

from __future__ import annotations

import importlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import urlsplit

import anyio.lowlevel
from anyio import to_thread

from dynamic_mcp import __version__
from dynamic_mcp.errors import SignInNeeded, TooLarge, UpstreamFailed, UpstreamGone
from dynamic_mcp.origin import has_credentials_twice, is_plain, proxy_for, without_user
from dynamic_mcp.protocol.jsonrpc import format_size
from dynamic_mcp.protocol.pieces import Line, Pieces
from dynamic_mcp.tls import trust_store
from dynamic_mcp.upstream.flow import Turn

if TYPE_CHECKING:
    import aiohttp

#: Seconds to make one connection.
CONNECT_TIMEOUT = 10.0
#: Seconds in which the server has to accept a message that has no answer in the reply.
ACCEPT_TIMEOUT = 30.0
_READ_BUFFER = 1 << 18
#: Interim replies (1xx) before the reply to one request.
MAX_INTERIM = 100
#: The content codings that aiohttp can decompress; brotli and zstd only if their libraries are installed.
_CODINGS = frozenset({"gzip", "deflate", "br", "zstd"})

_T = TypeVar("_T")


class HttpReply:
    """The reply to one request; its body arrives later."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        #: the media type without parameters, lower case
        self.content_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    def header(self, name: str) -> str | None:
        """The value of a header; the case of its name does not matter."""
        return self._response.headers.get(name)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body in chunks. Raises UpstreamGone if it breaks off."""
        with _translated_errors():
            async for chunk in self._response.content.iter_any():
                yield chunk

    async def body(self, max_size: int) -> Line:
        """The whole body. Raises TooLarge beyond ``max_size`` bytes, UpstreamGone if it breaks off."""
        body, turn = Pieces(), Turn()
        async for chunk in self.chunks():
            body.add(chunk)
            if body.size > max_size:
                raise TooLarge(f"its answer is larger than {format_size(max_size)}")
            if turn.is_over_after(chunk):
                await anyio.lowlevel.checkpoint()
        return body.take_line()


class Credentials(Protocol):
    """The access tokens for the requests to one server."""

    async def bearer(self) -> str | None:
        """The access token for the next request, or None. Raises UpstreamFailed."""
        ...

    async def handle_refusal(self, status: int, bearer: str | None, challenge: str) -> bool:
        """Handle a reply 401 or 403 with this ``WWW-Authenticate`` header.

        Returns whether to try again with another token. Raises SignInNeeded, UpstreamFailed.
        """
        ...

    async def sign_in(self, need: SignInNeeded) -> None:
        """Let the user sign in. Raises UpstreamFailed if that does not succeed."""
        ...

    def admitted(self, addresses: list[str]) -> list[str]:
        """Those addresses of the server's name to which requests may go. Raises UpstreamFailed without one."""
        ...


class HttpClient:
    """Sends requests to one server."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        credentials: Credentials,
        *,
        require_https: bool = False,
    ) -> None:
        """``headers`` go with every request, and override its own. A bearer token overrides both, and credentials in the url."""
        self.url = url
        self._require_https = require_https
        self._credentials = credentials
        self._default_headers = {"User-Agent": f"dynamic-mcp/{__version__}", "Accept-Encoding": "identity"}
        self._proxy: str | None = None
        self._headers = dict(headers)
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Prepare the client; nothing is sent yet. Raises UpstreamFailed for an invalid or forbidden url."""
        if self._session is not None:
            return
        try:
            # All addresses of one server have the same origin, so one proxy is right for all.
            self._proxy = proxy_for(self.url)
        except ValueError:
            raise UpstreamFailed("its url is not an address") from None
        if has_credentials_twice(self.url, self._headers):
            raise UpstreamFailed(
                "its url holds credentials, and so does its Authorization header; remove one of them"
            )
        secure = urlsplit(self.url).scheme == "https"
        # A request to loopback through a proxy leaves this machine too.
        if self._require_https and (is_plain(self.url) or (self._proxy is not None and not secure)):
            raise UpstreamFailed("its url is not https://, and security.require_https is set")
        library = await to_thread.run_sync(importlib.import_module, "aiohttp")
        # Plain http needs no trust store, and ignores this value.
        trust = trust_store() if secure else True
        # A proxy resolves the name itself.
        resolver = None if self._proxy is not None else _resolver(library, self._credentials.admitted)
        self._session = library.ClientSession(
            connector=library.TCPConnector(limit=0, ssl=trust, resolver=resolver),
            cookie_jar=library.DummyCookieJar(),
            timeout=library.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT),
            read_bufsize=_READ_BUFFER,
            auto_decompress=True,
            response_class=_response_class(),
        )

    @asynccontextmanager
    async def request(
        self,
        method: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        *,
        url: str | None = None,
        may_sign_in: bool = False,
    ) -> AsyncIterator[HttpReply]:
        """Send a request to the server's address, or to ``url``; the reply, once its headers are here.

        If the server refuses the token, the client sends the request once more with a renewed one. If only the user can help, it
        sends the request again after a sign-in; without ``may_sign_in`` it raises SignInNeeded. Raises UpstreamGone without a reply.
        """
        address = url or self.url
        response = await self._with_sign_in(
            lambda: self._send_authorized(method, headers, body, address), may_sign_in
        )
        try:
            yield HttpReply(response)
        finally:
            # An unfinished body could be endless, so its connection is not kept.
            if response.content.at_eof():
                response.release()
            else:
                response.close()

    async def post(
        self, headers: Mapping[str, str], body: bytes, *, url: str | None = None, may_sign_in: bool = False
    ) -> int:
        """POST a message that has no answer in the reply; the status of the reply.

        Raises like ``request``, and UpstreamGone after ``ACCEPT_TIMEOUT``.
        """

        async def accepted() -> int:
            # A sign-in is outside of this time limit.
            with anyio.move_on_after(ACCEPT_TIMEOUT):
                async with self.request("POST", headers, body, url=url) as reply:
                    return reply.status
            raise UpstreamGone(f"it did not accept a message within {ACCEPT_TIMEOUT:g} s")

        return await self._with_sign_in(accepted, may_sign_in)

    async def close(self) -> None:
        """Close every connection."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _with_sign_in(self, attempt: Callable[[], Awaitable[_T]], may_sign_in: bool) -> _T:
        """Make an attempt, and another one after a sign-in if the server needs one."""
        try:
            return await attempt()
        except SignInNeeded as need:
            if not may_sign_in:
                raise
            await self._credentials.sign_in(need)
            return await attempt()

    async def _send_authorized(
        self, method: str, headers: Mapping[str, str], body: bytes | None, url: str
    ) -> aiohttp.ClientResponse:
        """Send a request with the current token, and once more if the server refuses it and another one exists."""
        bearer = await self._credentials.bearer()
        response = await self._send(method, headers, body, url, bearer)
        if response.status not in (401, 403):
            return response
        challenge = ", ".join(response.headers.getall("WWW-Authenticate", ()))
        another = False
        try:
            another = await self._credentials.handle_refusal(response.status, bearer, challenge)
        except BaseException:
            response.close()
            raise
        if not another:
            return response
        response.close()
        return await self._send(method, headers, body, url, await self._credentials.bearer())

    async def _send(
        self, method: str, headers: Mapping[str, str], body: bytes | None, url: str, bearer: str | None
    ) -> aiohttp.ClientResponse:
        if self._session is None:
            raise UpstreamGone("the connection was closed")
        token = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
        with _translated_errors():
            response = await self._session.request(
                method,
                # The library refuses credentials in both the url and a header.
                url if bearer is None else without_user(url),
                data=body,
                headers=_merged(self._default_headers, headers, self._headers, token),
                allow_redirects=False,
                proxy=self._proxy,
            )
        codings = _codings_of(response)
        if len(codings) > 1 or not _CODINGS.issuperset(codings):
            response.close()
            raise UpstreamFailed(f"its answer has the content coding {', '.join(codings)[:40]!r}; {_PLAIN}")
        return response


@cache
def _response_class() -> type[aiohttp.ClientResponse]:
    """aiohttp's response, with a bound for interim replies. aiohttp itself reads them for ever, and nothing else runs meanwhile."""
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
                return await read()

            protocol.read = read_counted
            try:
                return await super().start(connection)
            finally:
                del protocol.read

    return Response


def _codings_of(response: aiohttp.ClientResponse) -> list[str]:
    """The content codings of a reply, in the order in which the server applied them."""
    listed = ",".join(response.headers.getall("Content-Encoding", ())).lower().split(",")
    return [coding for coding in map(str.strip, listed) if coding not in ("", "identity")]


_PLAIN = "the proxy reads answers that are not compressed, or once with gzip or deflate"


def _merged(*levels: Mapping[str, str]) -> dict[str, str]:
    """All headers; a later level wins, and the case of names does not matter."""
    found: dict[str, tuple[str, str]] = {}
    for level in levels:
        found |= {name.lower(): (name, value) for name, value in level.items()}
    return dict(found.values())


def _resolver(library: Any, admitted: Callable[[list[str]], list[str]]) -> Any:
    """A resolver of the library that gives only admitted addresses."""

    class AdmittingResolver(library.ThreadedResolver):  # type: ignore[misc]  # the library is imported when it is needed
        async def resolve(self, *name: Any, **options: Any) -> list[dict[str, Any]]:
            found = await super().resolve(*name, **options)
            kept = admitted([place["host"] for place in found])
            return [place for place in found if place["host"] in kept]

    return AdmittingResolver()


@contextmanager
def _translated_errors() -> Iterator[None]:
    """Turns the library's errors into UpstreamGone. The texts of the library contain addresses, which may contain secrets."""
    try:
        yield
    except UpstreamFailed:
        raise
    except Exception as error:
        raise UpstreamGone(_cause_of(error)) from None


def _cause_of(error: Exception) -> str:
    import aiohttp

    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        reason = getattr(error.certificate_error, "verify_message", "") or "it cannot be verified"
        return f"the server's certificate is not valid: {reason}"
    if isinstance(error, aiohttp.ClientSSLError):
        return f"the TLS connection failed: {getattr(error.os_error, 'reason', None) or 'no reason given'}"
    if isinstance(error, aiohttp.ClientConnectorError):
        what = "the proxy" if isinstance(error, aiohttp.ClientProxyConnectionError) else "the server"
        return f"{what} could not be reached: {_reason_of(error.os_error)}"
    if isinstance(error, aiohttp.ServerTimeoutError | TimeoutError):
        return f"no connection to the server within {CONNECT_TIMEOUT:g} s"
    if isinstance(error, aiohttp.ClientError) and "content-encoding" in str(error).lower():
        # aiohttp has no type of its own for this error.
        return f"its answer cannot be decompressed; {_PLAIN}"
    if isinstance(error, aiohttp.ClientPayloadError | aiohttp.ServerDisconnectedError | ConnectionError):
        return "the connection was lost before the answer was complete"
    return f"the exchange with the server failed ({type(error).__name__})"


def _reason_of(error: OSError) -> str:
    if error.errno is None or isinstance(error, socket.gaierror):
        return error.strerror or type(error).__name__
    # The text of an error of asyncio contains the address.
    return os.strerror(error.errno)
