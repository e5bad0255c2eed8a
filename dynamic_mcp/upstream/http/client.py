"""HTTP requests to one server behind a URL. Only this module, ``reply``, ``library`` and ``causes`` use the HTTP library.

The library is aiohttp. With 64 calls in flight it reaches about half of the throughput of raw sockets. With httpx 0.28 it would be a
thirtieth, because requests queue behind its connection pool. The first ``start`` imports aiohttp in a thread, because that takes long.

The system's trust store verifies certificates (``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` change it). Proxies come from the environment
(``http_proxy``). Redirects are followed within the origin of the server (``redirects``), where its cookies go too (``cookies``). The
client limits only the time for a connection, and for a ``post``. It asks for no content coding, unless the configured
headers do. It reads a reply that is compressed once: aiohttp decompresses it in bounded pieces, as fast as they are read.
"""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar
from urllib.parse import urlsplit

import anyio
from anyio import to_thread

from dynamic_mcp import __version__
from dynamic_mcp.config import defects
from dynamic_mcp.errors import HttpStatus, SignInMayHelp, SignInNeeded, UpstreamFailed, UpstreamGone
from dynamic_mcp.hiding import HiddenValues, hide_in_json
from dynamic_mcp.http_proxy import OTHER_PROXY, is_http, proxy_for
from dynamic_mcp.origin import NO_WEB_ADDRESS, has_credentials_twice, is_plain, is_web_address, without_user
from dynamic_mcp.protocol import era
from dynamic_mcp.tls import trust_store
from dynamic_mcp.upstream.http import redirects, refusals
from dynamic_mcp.upstream.http.cookies import Cookies
from dynamic_mcp.upstream.http.kinds import kind_of
from dynamic_mcp.upstream.http.library import (
    CONNECT_TIMEOUT,
    KEEP_ALIVE,
    check_codings,
    open_socket,
    resolver,
    response_class,
    translated_errors,
)
from dynamic_mcp.upstream.http.reply import HttpReply

if TYPE_CHECKING:
    import aiohttp

#: Seconds in which the server has to accept a message that has no answer in the reply.
ACCEPT_TIMEOUT = 30.0
_READ_BUFFER = 1 << 18
#: The most tokens that a request tries after the first one: that of another process, a renewed one, and one more.
MAX_TOKENS = 3

_T = TypeVar("_T")


class Credentials(Protocol):
    """The access tokens for the requests to one server."""

    async def bearer(self) -> str | None:
        """The access token for the next request, or None. Raises UpstreamFailed."""
        ...

    async def handle_refusal(self, status: int, bearer: str | None, challenge: str, kind: str) -> bool:
        """Handle a reply 401 or 403 with this ``WWW-Authenticate`` header to a request of this kind (``kinds``).

        Returns whether to try again with the token as it is now. Raises SignInNeeded, UpstreamFailed.
        """
        ...

    def refused(self, kind: str) -> None:
        """Note that the server refused a token for a request of this kind, perhaps because of its session."""
        ...

    def accepted(self, bearer: str | None, kind: Callable[[], str]) -> None:
        """Note that the server took a request of this kind with this token."""
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
        hidden: HiddenValues | None = None,
    ) -> None:
        """``headers`` go with every request, and override its own. A bearer token overrides both, and credentials in the url.

        No words of the server show what is ``hidden``.
        """
        self.url = url
        self._require_https = require_https
        self._credentials = credentials
        self._default_headers = {"User-Agent": f"dynamic-mcp/{__version__}", "Accept-Encoding": "identity"}
        self._proxy: str | None = None
        self._headers = dict(headers)
        self._hidden = hidden or HiddenValues()
        self._cookies = Cookies(next((headers[name] for name in headers if name.lower() == "cookie"), None))
        self._session: aiohttp.ClientSession | None = None
        #: the token of the last request that the server has taken
        self._taken: str | None = None

    async def start(self) -> None:
        """Prepare the client; nothing is sent yet. Raises UpstreamFailed for an invalid or forbidden url."""
        if self._session is not None:
            return
        if not is_web_address(self.url):
            raise UpstreamFailed(f"its url {NO_WEB_ADDRESS}")
        # All addresses of one server have the same origin, so one proxy is right for all.
        self._proxy = proxy_for(self.url)
        if (defect := next(defects.of_headers(self._headers), None)) is not None:
            raise UpstreamFailed(f"its {defect}")
        if has_credentials_twice(self.url, self._headers):
            raise UpstreamFailed(
                "its url holds credentials, and so does its Authorization header; remove one of them"
            )
        if self._proxy is not None and not is_http(self._proxy):
            raise UpstreamFailed(OTHER_PROXY)
        secure = urlsplit(self.url).scheme == "https"
        if self._require_https and is_plain(self.url):
            raise UpstreamFailed("its url is not https://, and security.require_https is set")
        library = await to_thread.run_sync(importlib.import_module, "aiohttp")
        # Plain http needs no trust store, and ignores this value.
        trust = trust_store() if secure else True
        # A proxy resolves the name itself.
        resolving = None if self._proxy is not None else resolver(library, self._credentials.admitted)
        self._session = library.ClientSession(
            connector=library.TCPConnector(
                limit=0,
                ssl=trust,
                resolver=resolving,
                socket_factory=open_socket,
                keepalive_timeout=KEEP_ALIVE,
            ),
            cookie_jar=library.DummyCookieJar(),
            timeout=library.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT),
            read_bufsize=_READ_BUFFER,
            auto_decompress=True,
            response_class=response_class(),
        )

    @asynccontextmanager
    async def request(
        self,
        method: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        *,
        url: str | None = None,
        may_renew: bool = True,
        may_sign_in: bool = False,
        may_miss_session: bool = True,
    ) -> AsyncIterator[HttpReply]:
        """Send a request to the server's address, or to ``url``; the reply, once its headers are here.

        If the server refuses the token, the client sends the request again with a renewed one. If the server refuses the new token too,
        the client raises what the credentials say. If only the user can help, it sends the request again after a sign-in; without
        ``may_sign_in`` it raises SignInNeeded. Without ``may_renew``, a refusal is a reply like others. Without
        ``may_miss_session``, the refusal of a token that is new in its session is about the token too. Raises UpstreamGone without a reply.
        """
        address = url or self.url
        reply = await self._with_sign_in(
            lambda: self._send_authorized(method, headers, body, address, may_renew, may_miss_session),
            may_sign_in,
        )
        try:
            yield reply
        finally:
            reply.end()

    async def refusal(self, reply: HttpReply, text: str | None = None) -> HttpStatus:
        """The error for a reply with an error status, with the words of the server. ``text`` says what happened."""
        if text is None and 300 <= reply.status < 400:
            text = redirects.explain(self.url, reply.status, reply.header("Location"))
        text = text or refusals.status_text(reply.status, is_signed_in=reply.bearer is not None)
        reason = "" if reply.status < 400 else await self._shown(reply)
        is_lost = reply.status >= 400 and await reply.is_session_lost()
        wait = reply.retry_after if reply.status >= 400 else 0.0
        if wait:
            text += f", and asks to wait {wait:.0f} s"
        return HttpStatus(text, reason, status=reply.status, is_session_lost=is_lost, retry_after=wait)

    async def _shown(self, reply: HttpReply) -> str:
        """What may be shown of the words of the server. It may repeat what the request had, and what the reply sets."""
        words = await reply.beginning_of_body()
        return refusals.shown(words, reply.content_type, *self._hidden_in(reply))

    def without_hidden(self, reply: HttpReply, error: bytes) -> bytes:
        """What may be shown of a JSON-RPC error in a reply with an error status."""
        return hide_in_json(error, self._hidden_in(reply))

    def _hidden_in(self, reply: HttpReply) -> tuple[HiddenValues, HiddenValues]:
        token = [] if reply.bearer is None else [reply.bearer]
        return HiddenValues([*token, *reply.cookies, *self._cookies.values]), self._hidden

    async def post(
        self,
        headers: Mapping[str, str],
        body: bytes,
        *,
        url: str | None = None,
        may_sign_in: bool = False,
        may_last: bool = False,
        may_miss_session: bool = True,
    ) -> None:
        """POST a message that has no answer in the reply.

        Raises like ``request``, HttpStatus if the server refuses the message, and UpstreamGone after ``ACCEPT_TIMEOUT``. With
        ``may_last`` the caller limits the time.
        """

        async def accepted() -> None:
            # A sign-in is outside of this time limit.
            with anyio.move_on_after(None if may_last else ACCEPT_TIMEOUT):
                async with self.request(
                    "POST", headers, body, url=url, may_miss_session=may_miss_session
                ) as reply:
                    if reply.status >= 300:
                        raise await self.refusal(reply)
                    return
            raise UpstreamGone(f"it did not accept a message within {ACCEPT_TIMEOUT:g} s")

        await self._with_sign_in(accepted, may_sign_in)

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
            try:
                await self._credentials.sign_in(need)
            except UpstreamFailed as error:
                raise error.with_last_output(need.last_output) from None
            return await attempt()

    async def _send_authorized(
        self,
        method: str,
        headers: Mapping[str, str],
        body: bytes | None,
        url: str,
        may_renew: bool,
        may_miss_session: bool,
    ) -> HttpReply:
        """Send a request with the current token, and again if the server refuses it and another one exists."""
        # Only HTTP+SSE has another address for the messages of a session.
        in_session = may_miss_session and (era.SESSION_HEADER in headers or url != self.url)
        kind = partial(kind_of, method, body)
        reply = await self._send_in_session(method, headers, body, url, in_session=in_session)
        for _ in range(MAX_TOKENS if may_renew else 0):
            if reply.status not in refusals.OF_TOKENS or not await self._has_other_token(
                headers, reply, kind()
            ):
                break
            reply.close()
            reply = await self._send_in_session(method, headers, body, url, in_session=in_session)
        if reply.status < 400:
            self._taken = reply.bearer
            self._credentials.accepted(reply.bearer, kind)
        return reply

    async def _send_in_session(
        self, method: str, headers: Mapping[str, str], body: bytes | None, url: str, *, in_session: bool
    ) -> HttpReply:
        """Send a request with the current token. Some servers bind a session to the token with which it began."""
        bearer = await self._credentials.bearer()
        reply = await self._send(method, headers, body, url, bearer)
        if in_session and bearer not in (None, self._taken):
            reply.may_miss_session_of_token = refusals.refuses_token(reply.status, reply.challenge)
        return reply

    async def _has_other_token(self, headers: Mapping[str, str], reply: HttpReply, kind: str) -> bool:
        """Whether there is another token after this refusal. Raises SignInNeeded, UpstreamFailed; then the reply is closed."""
        try:
            if reply.may_miss_session_of_token:
                self._credentials.refused(kind)
                return False
            if era.SESSION_HEADER in headers and reply.status == 401 and await reply.is_session_lost():
                return False
            return await self._credentials.handle_refusal(reply.status, reply.bearer, reply.challenge, kind)
        except BaseException as error:
            if isinstance(error, SignInNeeded | SignInMayHelp):
                # If no sign-in helps, the words say what is missing.
                error.last_output = await self._shown(reply)
            reply.close()
            raise

    async def _send(
        self, method: str, headers: Mapping[str, str], body: bytes | None, url: str, bearer: str | None
    ) -> HttpReply:
        """Send a request, and follow redirects within the origin."""
        for _ in range(redirects.MAX_REDIRECTS + 1):
            cookies = self._cookies.values
            response = await self._send_once(method, headers, body, url, bearer)
            self._cookies.take(response.headers.getall("Set-Cookie", ()), url)
            target = redirects.target_of(url, response.status, response.headers.get("Location"))
            if target is None:
                return HttpReply(response, bearer, cookies)
            response.close()
            url = target
        raise UpstreamFailed(f"it redirects more than {redirects.MAX_REDIRECTS} times")

    async def _send_once(
        self, method: str, headers: Mapping[str, str], body: bytes | None, url: str, bearer: str | None
    ) -> aiohttp.ClientResponse:
        if self._session is None:
            raise UpstreamGone("the connection was closed")
        token = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
        cookie = self._cookies.header(url)
        cookies = {} if cookie is None else {"Cookie": cookie}
        with translated_errors():
            response = await self._session.request(
                method,
                # The library refuses credentials in both the url and a header.
                url if bearer is None else without_user(url),
                data=body,
                headers=_merged(self._default_headers, headers, self._headers, cookies, token),
                allow_redirects=False,
                proxy=self._proxy,
            )
        check_codings(response)
        return response


def _merged(*levels: Mapping[str, str]) -> dict[str, str]:
    """All headers; a later level wins, and the case of names does not matter."""
    found: dict[str, tuple[str, str]] = {}
    for level in levels:
        found |= {name.lower(): (name, value) for name, value in level.items()}
    return dict(found.values())
