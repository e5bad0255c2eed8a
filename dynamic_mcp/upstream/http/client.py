"""The exchange of bytes with a server behind a URL: the one place that knows the HTTP library.

aiohttp, by measurement: with 64 calls in flight it moves about half of what raw sockets do, where httpx 0.28 moves a thirtieth, because
requests queue behind its connection pool. It is imported when the first such server is opened, off the event loop.

Certificates are checked against the system's trust store (``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` are honoured), proxies are those of
the environment (``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY``, ``NO_PROXY``). Redirects are not followed: what is configured for one
address must not reach another. No timeout is hidden here but the one for a connection to be made.
"""

from __future__ import annotations

import importlib
import os
import socket
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio
from anyio import to_thread

from dynamic_mcp import __version__
from dynamic_mcp.errors import SignInNeeded, TooLarge, UpstreamFailed, UpstreamGone
from dynamic_mcp.oauth.authorization import Authorization
from dynamic_mcp.oauth.challenge import challenge_of
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
        with _told():
            async for chunk in self._response.content.iter_any():
                yield chunk

    async def body(self, most: int) -> bytes:
        """The whole body. Raises TooLarge when it is larger than ``most`` bytes, UpstreamGone when it breaks off."""
        chunks, size = [], 0
        async for chunk in self.chunks():
            size += len(chunk)
            if size > most:
                raise TooLarge(f"its answer is larger than {readable(most)}")
            chunks.append(chunk)
        return b"".join(chunks)


class HttpClient:
    """Requests to one server."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        authorization: Authorization,
        *,
        require_https: bool = False,
    ) -> None:
        """``headers`` go with every request, and win over those of a request; a bearer token wins over them and the url."""
        self.url = url
        self._require_https = require_https
        self._authorization = authorization
        self._own = {"User-Agent": f"dynamic-mcp/{__version__}"}
        self._proxy: str | None = None
        self._headers = dict(headers)
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Load the library and get ready; nothing is sent. Raises UpstreamFailed when the url is none, or must not be used."""
        if self._session is not None:
            return
        try:
            # Every address that is asked here is of one origin, so there is one proxy for all.
            self._proxy = _proxy_for(self.url)
        except ValueError:
            raise UpstreamFailed("its url is not an address") from None
        if has_credentials_twice(self.url, self._headers):
            raise UpstreamFailed(
                "its url holds credentials, and so does its Authorization header; remove one of them"
            )
        secure = urlsplit(self.url).scheme == "https"
        # A request to this machine itself leaves it all the same where a proxy is asked.
        if self._require_https and (is_plain(self.url) or (self._proxy is not None and not secure)):
            raise UpstreamFailed("its url is not https://, and security.require_https is set")
        library = await to_thread.run_sync(importlib.import_module, "aiohttp")
        # Nobody needs the trust store for plain http, where True changes nothing.
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
        self, method: str, headers: Mapping[str, str], body: bytes | None = None, *, url: str | None = None
    ) -> AsyncIterator[HttpReply]:
        """Send a request, to the server's own address unless another ``url`` is given; the reply once its head is here.

        Where the server refuses the token, the request is sent once more with a renewed one. Raises UpstreamGone when no reply comes,
        SignInNeeded when only the user can go on.
        """
        bearer = await self._authorization.bearer()
        response = await self._send(method, headers, body, url or self.url, bearer)
        try:
            if response.status in (401, 403) and self._authorization.applies:
                challenge = challenge_of(", ".join(response.headers.getall("WWW-Authenticate", ())))
                if response.status == 401:
                    response.close()
                    await self._authorization.refused(bearer, challenge)
                    bearer = await self._authorization.bearer()
                    response = await self._send(method, headers, body, url or self.url, bearer)
                elif challenge.error == "insufficient_scope" and bearer is not None:
                    raise SignInNeeded("it needs you to allow more", challenge=challenge)
            yield HttpReply(response)
        finally:
            # A body that was not read to its end must not be read now: the connection goes.
            if response.content.at_eof():
                response.release()
            else:
                response.close()

    async def _send(
        self, method: str, headers: Mapping[str, str], body: bytes | None, url: str, bearer: str | None
    ) -> aiohttp.ClientResponse:
        if self._session is None:
            raise UpstreamGone("the connection was closed")
        token = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
        with _told():
            return await self._session.request(
                method,
                # The library takes credentials from one place only.
                url if bearer is None else without_user(url),
                data=body,
                headers=_merged(self._own, headers, self._headers, token),
                allow_redirects=False,
                proxy=self._proxy,
            )

    async def post(self, headers: Mapping[str, str], body: bytes, *, url: str | None = None) -> int:
        """Send a message that only has to be accepted; the status of the reply. Raises as ``request``, and when it takes too long."""
        with anyio.move_on_after(ACCEPT_TIMEOUT):
            async with self.request("POST", headers, body, url=url) as reply:
                return reply.status
        raise UpstreamGone(f"it did not accept a message within {ACCEPT_TIMEOUT:g} s")

    async def sign_in(self, need: SignInNeeded) -> None:
        """Have the user sign in. Raises UpstreamFailed when that does not succeed."""
        await self._authorization.sign_in(need)

    async def close(self) -> None:
        """Close every connection."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


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
def _told() -> Iterator[None]:
    """Turns the library's errors into ours. Its texts hold addresses, which may hold secrets, so only causes are told."""
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
