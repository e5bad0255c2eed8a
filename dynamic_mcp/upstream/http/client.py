"""HTTP requests to one server behind a URL: the one module that knows the HTTP library.

The library is aiohttp, by measurement: with 64 calls in flight it moves about half of what raw sockets move. httpx 0.28 moves a thirtieth,
because requests queue behind its connection pool. aiohttp is imported when the first such server is opened, off the event loop.

The system's trust store verifies certificates (``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` change it). Proxies come from the environment
(``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY``, ``NO_PROXY``). Redirects are not followed: what is configured for one address must not
reach another. The only timeout here is the one for making a connection.
"""

from __future__ import annotations

import importlib
import os
import socket
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar
from urllib.parse import urlsplit

import anyio
from anyio import to_thread

from dynamic_mcp import __version__
from dynamic_mcp.errors import SignInNeeded, TooLarge, UpstreamFailed, UpstreamGone
from dynamic_mcp.origin import has_credentials_twice, is_plain, origin_of, without_user
from dynamic_mcp.protocol.jsonrpc import readable
from dynamic_mcp.tls import trusted

if TYPE_CHECKING:
    import aiohttp

#: Seconds for one connection to be made.
CONNECT_TIMEOUT = 10.0
#: Seconds for a message to be accepted whose answer does not come with the reply.
ACCEPT_TIMEOUT = 30.0
_READ_BUFFER = 1 << 18

_T = TypeVar("_T")


class HttpReply:
    """The answer to one request, as it comes in."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        #: the media type without parameters, lower case
        self.content_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    def header(self, name: str) -> str | None:
        """A header's value, whatever the case of its name."""
        return self._response.headers.get(name)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body in pieces. Raises UpstreamGone when it breaks off."""
        with _translated_errors():
            async for chunk in self._response.content.iter_any():
                yield chunk

    async def body(self, max_size: int) -> bytes:
        """The whole body. Raises TooLarge when it is larger than ``max_size`` bytes, UpstreamGone when it breaks off."""
        chunks, size = [], 0
        async for chunk in self.chunks():
            size += len(chunk)
            if size > max_size:
                raise TooLarge(f"its answer is larger than {readable(max_size)}")
            chunks.append(chunk)
        return b"".join(chunks)


class Credentials(Protocol):
    """Gives the bearer token of a request, and takes the server's refusal of it."""

    async def bearer(self) -> str | None:
        """The access token for the next request; None where there is none. Raises UpstreamFailed."""
        ...

    async def refused(self, status: int, bearer: str | None, challenge: str) -> bool:
        """Take an answer 401 or 403 with this ``WWW-Authenticate`` header.

        True: another token can be tried. False: the status is the answer. Raises SignInNeeded, UpstreamFailed.
        """
        ...

    async def sign_in(self, need: SignInNeeded) -> None:
        """Have the user sign in. Raises UpstreamFailed when that does not succeed."""
        ...


class HttpClient:
    """Requests to one server."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        credentials: Credentials,
        *,
        require_https: bool = False,
    ) -> None:
        """``headers`` go with every request, and win over those of a request; a bearer token wins over them and the url."""
        self.url = url
        self._require_https = require_https
        self._credentials = credentials
        self._own = {"User-Agent": f"dynamic-mcp/{__version__}"}
        self._proxy: str | None = None
        self._headers = dict(headers)
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Load the library; nothing is sent. Raises UpstreamFailed for an invalid url, and for one that must not be used."""
        if self._session is not None:
            return
        try:
            # Every address that is used here is of one origin, so there is one proxy for all.
            self._proxy = _proxy_for(self.url)
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
        # Plain http needs no trust store; True changes nothing there.
        trust = trusted() if secure else True
        self._session = library.ClientSession(
            connector=library.TCPConnector(limit=0, ssl=trust),
            cookie_jar=library.DummyCookieJar(),
            timeout=library.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT),
            read_bufsize=_READ_BUFFER,
            auto_decompress=True,
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
        """Send a request, to the server's own address unless another ``url`` is given; the reply once its head is here.

        Where the server refuses the token, the request is sent once more with a renewed one. Where only the user can help, it is sent
        again after a sign-in, or SignInNeeded is raised without ``may_sign_in``. Raises UpstreamGone when no reply comes.
        """
        address = url or self.url
        response = await self._signing_in(
            lambda: self._authorized(method, headers, body, address), may_sign_in
        )
        try:
            yield HttpReply(response)
        finally:
            # The rest of an unfinished body must not be read now: the connection goes.
            if response.content.at_eof():
                response.release()
            else:
                response.close()

    async def post(
        self, headers: Mapping[str, str], body: bytes, *, url: str | None = None, may_sign_in: bool = False
    ) -> int:
        """Send a message that only has to be accepted; the status of the reply. Raises as ``request``, and when it takes too long."""

        async def accepted() -> int:
            # A sign-in is outside of this time limit.
            with anyio.move_on_after(ACCEPT_TIMEOUT):
                async with self.request("POST", headers, body, url=url) as reply:
                    return reply.status
            raise UpstreamGone(f"it did not accept a message within {ACCEPT_TIMEOUT:g} s")

        return await self._signing_in(accepted, may_sign_in)

    async def close(self) -> None:
        """Close every connection."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _signing_in(self, attempt: Callable[[], Awaitable[_T]], may_sign_in: bool) -> _T:
        """Make an attempt, and once more after a sign-in where the server wants one."""
        try:
            return await attempt()
        except SignInNeeded as need:
            if not may_sign_in:
                raise
            await self._credentials.sign_in(need)
            return await attempt()

    async def _authorized(
        self, method: str, headers: Mapping[str, str], body: bytes | None, url: str
    ) -> aiohttp.ClientResponse:
        """Send a request with the current token, and once more where the server refuses it and there is another."""
        bearer = await self._credentials.bearer()
        response = await self._send(method, headers, body, url, bearer)
        if response.status not in (401, 403):
            return response
        challenge = ", ".join(response.headers.getall("WWW-Authenticate", ()))
        another = False
        try:
            another = await self._credentials.refused(response.status, bearer, challenge)
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
            return await self._session.request(
                method,
                # The library takes credentials from one place only.
                url if bearer is None else without_user(url),
                data=body,
                headers=_merged(self._own, headers, self._headers, token),
                allow_redirects=False,
                proxy=self._proxy,
            )


def _merged(*levels: Mapping[str, str]) -> dict[str, str]:
    """One set of headers; a later level wins, whatever the case of the names."""
    found: dict[str, tuple[str, str]] = {}
    for level in levels:
        found |= {name.lower(): (name, value) for name, value in level.items()}
    return dict(found.values())


def _proxy_for(url: str) -> str | None:
    scheme, host, port = origin_of(url)
    proxies = urllib.request.getproxies_environment()
    if urllib.request.proxy_bypass_environment(f"{host}:{port}", proxies):  # type: ignore[attr-defined]
        return None
    return proxies.get(scheme) or proxies.get("all")


@contextmanager
def _translated_errors() -> Iterator[None]:
    """Turns the library's errors into ours. Its texts hold addresses, which may hold secrets, so only causes are named."""
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
    if isinstance(error, aiohttp.ClientPayloadError | aiohttp.ServerDisconnectedError | ConnectionError):
        return "the connection was lost before the answer was complete"
    return f"the exchange with the server failed ({type(error).__name__})"


def _reason_of(error: OSError) -> str:
    if error.errno is None or isinstance(error, socket.gaierror):
        return error.strerror or type(error).__name__
    # The text of an error of asyncio holds the address.
    return os.strerror(error.errno)
