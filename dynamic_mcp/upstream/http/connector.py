"""Makes the connections to one configured server behind a URL."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Protocol

from dynamic_mcp.config.model import RemoteTransport
from dynamic_mcp.errors import SignInNeeded
from dynamic_mcp.sign_in_page import SignInPage
from dynamic_mcp.upstream.base import Events, Upstream
from dynamic_mcp.upstream.http.client import Credentials, HttpClient
from dynamic_mcp.upstream.http.detect import AutoDetect
from dynamic_mcp.upstream.http.legacy_sse import SseUpstream
from dynamic_mcp.upstream.http.streamable import StreamableHttpUpstream


class PersistentCredentials(Credentials, Protocol):
    """Credentials that outlive the connections."""

    #: takes the page of each sign-in; whether the client shows it
    on_page: Callable[[SignInPage], bool]

    async def signed_in_elsewhere(self) -> None:
        """Return once the user has signed in with another process."""
        ...

    def sign_in_help(self, *, pending: bool = False) -> str:
        """What the user does to sign in (``upstream.base.Connector``)."""
        ...

    async def close(self) -> None:
        """End a sign-in and a renewal that are in progress. Bounded, not cancellable."""
        ...


class HttpConnector:
    """Makes connections over HTTP. The tokens outlive the connections."""

    def __init__(self, transport: RemoteTransport, authorization: PersistentCredentials) -> None:
        self._transport = transport
        self._authorization = authorization

    def connect(self, events: Events) -> Upstream:
        self._authorization.on_page = events.on_sign_in
        if self._transport.kind == "sse":
            return self._sse(events)
        streamable = StreamableHttpUpstream(self._client(), events, max_size=self._transport.max_message_size)
        return streamable if self._transport.kind else AutoDetect(streamable, lambda: self._sse(events))

    def turn(self, is_wanted: Callable[[], bool]) -> AbstractAsyncContextManager[None]:
        # A connection takes hardly any time of this machine's processors.
        return nullcontext()

    @property
    def signs_in_at_start(self) -> bool:
        return self._transport.oauth_at_start

    async def sign_in(self, need: SignInNeeded) -> None:
        await self._authorization.sign_in(need)

    async def signed_in_elsewhere(self) -> None:
        await self._authorization.signed_in_elsewhere()

    def sign_in_help(self, *, pending: bool = False) -> str:
        return self._authorization.sign_in_help(pending=pending)

    async def close(self) -> None:
        await self._authorization.close()

    def _sse(self, events: Events) -> SseUpstream:
        return SseUpstream(self._client(), events, max_size=self._transport.max_message_size)

    def _client(self) -> HttpClient:
        return HttpClient(
            self._transport.url.reveal(),
            {name: value.reveal() for name, value in self._transport.headers},
            self._authorization,
            require_https=self._transport.require_https,
            hidden=self._transport.hidden(),
        )
