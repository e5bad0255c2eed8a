"""The tokens of one server, kept fresh.

Tokens are renewed before they expire: once for all requests that need it, and once for all processes that share the store. The new tokens
are in the store before they are used, and no cancellation comes between. An authorization server that cannot be reached now costs no
tokens. A grant that is refused for good is dropped; only the user can then go on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import anyio
import msgspec
from anyio import to_thread

from dynamic_mcp.errors import StoreFailed, UpstreamFailed
from dynamic_mcp.events import Record
from dynamic_mcp.log import log
from dynamic_mcp.oauth.challenge import Challenge
from dynamic_mcp.oauth.store import TokenStore
from dynamic_mcp.oauth.tokens import ClientRegistration, Tokens
from dynamic_mcp.origin import origin_of

if TYPE_CHECKING:
    import httpx

_T = TypeVar("_T")

#: Seconds before a renewal that failed is tried again.
PAUSE_AFTER_FAILURE = 2.0
#: Seconds that a renewal may go on when the proxy ends.
RENEWAL_GRACE = 2.0
#: Error codes of an authorization server that does not know the client (RFC 6749, section 5.2).
_CLIENT_UNKNOWN = frozenset({"invalid_client", "unauthorized_client"})


class FreshTokens:
    """Loads, renews and keeps the tokens of one configured server."""

    def __init__(
        self, server: str, url: str, client_id: str | None, store: TokenStore, record: Record
    ) -> None:
        self._server = server
        self._url = url
        self._client_id = client_id
        self._store = store
        self._record = record
        self._tokens: Tokens | None = None
        #: true once the store was read; the task that reads it
        self._loaded = False
        self._loading: asyncio.Task[None] | None = None
        #: whether this process obtained the tokens, rather than found them
        self._fresh = False
        self._renewing: asyncio.Task[None] | None = None
        #: monotonic time before which no renewal is tried again
        self._not_before = 0.0
        #: the access token of tokens that were refused for good, should the store still have them
        self._dead: str | None = None

    @property
    def current(self) -> Tokens | None:
        """The tokens as they are now, without a look at the store."""
        return self._tokens

    async def load(self) -> Tokens | None:
        """The tokens, from the store the first time."""
        if not self._loaded:
            if self._loading is None or self._loading.done():
                # A task of its own: a request that stops waiting must not lead to a second question of a keyring.
                self._loading = asyncio.get_running_loop().create_task(self._load())
            await asyncio.shield(self._loading)
        return self._tokens

    async def bearer(self) -> str | None:
        """The access token for the next request, renewed if it is due; None where there is none. Raises UpstreamFailed."""
        tokens = await self.load()
        if tokens is None:
            return None
        if tokens.is_due(time.time(), fresh=self._fresh):
            await self.renew()
        tokens = self._tokens
        return None if tokens is None or tokens.is_expired(time.time()) else tokens.access_token

    async def renew(self, *, even_if_not_due: bool = False) -> None:
        """Renew the tokens, once for all who wait. Raises UpstreamFailed when nothing usable is left."""
        if self._renewing is None or self._renewing.done():
            # A task of its own: its answer may be the only copy of a token, so no request that stops waiting ends it.
            self._renewing = asyncio.get_running_loop().create_task(self._renew(even_if_not_due))
        await asyncio.shield(self._renewing)

    async def stored(self) -> Tokens | None:
        """The tokens in the store, where they are for this server. Raises StoreFailed."""
        return self._of_this_server(await self._in_store(self._store.load))

    async def adopt_newer(self) -> bool:
        """Use other tokens that the store has by now, from a sign-in elsewhere; false where it has none. Raises StoreFailed."""
        found = await self.stored()
        known = {self._dead, None if self._tokens is None else self._tokens.access_token}
        if found is None or found.access_token in known:
            return False
        self._tokens, self._fresh = found, False
        return True

    async def keep(self, tokens: Tokens) -> None:
        """Use new tokens: first they go to the store, because what is used before it is kept is lost with the process."""
        await self._save(tokens)
        self._tokens, self._fresh, self._not_before, self._loaded = tokens, True, 0.0, True

    async def keep_locked(self, tokens: Tokens) -> None:
        """``keep`` after a sign-in: a renewal in another process must not overwrite what the user just gave."""
        try:
            async with self._store.lock():
                await self.keep(tokens)
        except UpstreamFailed:
            await self.keep(tokens)
        except asyncio.CancelledError:
            with anyio.move_on_after(RENEWAL_GRACE, shield=True):
                await self.keep(tokens)
            raise

    def drop(self) -> None:
        """Stop using the tokens; the store still has them, with the registration, until the next sign-in."""
        self._tokens = None

    def forget(self) -> None:
        """Drop tokens that were refused for good, and never take them from the store again."""
        if self._tokens is not None:
            self._dead, self._tokens = self._tokens.access_token, None

    async def forget_registration(self, refusal: UpstreamFailed, known: Tokens | None) -> None:
        """Remove a registration that the authorization server does not know any more: the next sign-in registers anew."""
        from dynamic_mcp.oauth.token_endpoint import GrantRefused

        if not isinstance(refusal, GrantRefused) or refusal.code not in _CLIENT_UNKNOWN:
            return
        refused = None if known is None else known.registration
        try:
            found = await self._in_store(self._store.load)
        except StoreFailed:
            return
        if refused is not None and found is not None and found.client == refused:
            await self._save(msgspec.structs.replace(found, client=None))

    async def close(self) -> None:
        """End the loading. A renewal gets a moment: its answer may be the only copy of a token."""
        if self._loading is not None:
            self._loading.cancel()
        if self._renewing is not None:
            with anyio.CancelScope(shield=True):
                await asyncio.wait({self._renewing}, timeout=RENEWAL_GRACE)
            self._renewing.cancel()

    # The store

    async def _load(self) -> None:
        try:
            self._tokens = await self.stored()
        except StoreFailed as failure:
            # A server that wants no token does not need the store.
            log.warning("server %s: %s", self._server, failure)
        self._loaded = True

    async def _in_store(self, work: Callable[[], _T]) -> _T:
        """Use the store, in a thread where it may block. Raises as the store does."""
        if not self._store.blocks:
            return work()
        return await to_thread.run_sync(work, abandon_on_cancel=True)

    async def _save(self, tokens: Tokens) -> None:
        try:
            await self._in_store(lambda: self._store.save(tokens))
        except OSError as error:
            log.error("server %s: the tokens cannot be stored: %s", self._server, error.strerror)
        except StoreFailed as failure:
            log.error("server %s: the tokens are lost with this process: %s", self._server, failure)

    def _of_this_server(self, tokens: Tokens | None) -> Tokens | None:
        """The tokens, unless they were issued for another origin."""
        if tokens is None or tokens.resource is None:
            return tokens
        try:
            same = origin_of(tokens.resource) == origin_of(self._url)
        except ValueError:
            same = False
        if not same:
            log.warning("server %s: the stored tokens are for another address and are not used", self._server)
            return None
        return tokens

    # Renewal

    async def _renew(self, even_if_not_due: bool) -> None:
        from dynamic_mcp.oauth.token_endpoint import GrantRefused

        old, began = self._tokens, time.monotonic()
        if old is None or (began < self._not_before and not old.is_expired(time.time())):
            return
        try:
            async with self._store.lock():
                found = await self.stored()
                if found is not None and found.access_token != old.access_token:
                    # Another process was faster; its refresh token is the living one.
                    self._tokens, old, self._fresh = found, found, True
                    if not found.is_due(time.time(), fresh=True):
                        return
                if old.refresh_token is None:
                    if even_if_not_due or old.is_expired(time.time()):
                        self.forget()
                    return
                await self.keep(await self._refreshed(old, old.refresh_token))
                self._record("token_renewal", server=self._server, began=began)
        except GrantRefused as refusal:
            self._record(
                "token_renewal", server=self._server, outcome="refused", began=began, reason=str(refusal)
            )
            log.warning("server %s: the tokens cannot be renewed: %s", self._server, refusal)
            await self.forget_registration(refusal, old)
            self.forget()
        except UpstreamFailed as failure:
            self._record(
                "token_renewal", server=self._server, outcome="failed", began=began, reason=str(failure)
            )
            self._not_before = time.monotonic() + PAUSE_AFTER_FAILURE
            if old.is_expired(time.time()) or even_if_not_due:
                raise
            log.warning("server %s: the tokens are not renewed yet: %s", self._server, failure)

    async def _refreshed(self, old: Tokens, refresh_token: str) -> Tokens:
        """New tokens for a refresh token; a new refresh token replaces the old one, else that stays (RFC 6749, section 6)."""
        from dynamic_mcp.oauth.metadata import discover
        from dynamic_mcp.oauth.request import http_client
        from dynamic_mcp.oauth.token_endpoint import request_tokens

        client = old.client
        if client is None or (self._client_id is not None and not client.registered):
            client = ClientRegistration(self._client_id or "")
        http: httpx.AsyncClient
        async with http_client() as http:
            endpoint, issuer, resource = old.token_endpoint, old.issuer, old.resource
            if endpoint is None or resource is None:
                found = await discover(http, self._url, Challenge())
                endpoint, issuer, resource = found.server.token_endpoint, found.server.issuer, found.resource
            form = {"grant_type": "refresh_token", "refresh_token": refresh_token, "resource": resource}
            new = await request_tokens(http, endpoint, client, form)
        return msgspec.structs.replace(
            new,
            refresh_token=new.refresh_token or refresh_token,
            scope=new.scope or old.scope,
            server=self._server,
            resource=resource,
            issuer=issuer,
            token_endpoint=endpoint,
            client=client,
        )
