"""The authorization for one server: the bearer token of the next request, and what a refusal of it leads to.

Tokens are renewed before they expire, once for all requests that need it and once for all processes that share the file; the new ones
are on disk before they are used, and no cancellation comes between. What only cannot be reached now keeps its tokens. A grant
that is refused for good, or a server that wants more, needs the user: that is ``SignInNeeded``, and whoever meets it decides
whether to wait. A sign-in that the user declined is not begun again by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import anyio
import msgspec
from anyio import to_thread

from dynamic_mcp.config.model import HttpTransport, SseTransport
from dynamic_mcp.errors import SignInNeeded, StoreFailed, UpstreamFailed
from dynamic_mcp.extras.audit import trail
from dynamic_mcp.log import log
from dynamic_mcp.oauth.challenge import Challenge
from dynamic_mcp.oauth.store import Store, TokenStore
from dynamic_mcp.oauth.tokens import Tokens
from dynamic_mcp.origin import origin_of
from dynamic_mcp.tls import trusted

if TYPE_CHECKING:
    import httpx

    from dynamic_mcp.oauth.signin import Present


_T = TypeVar("_T")

#: Seconds before a renewal is tried again that could not be made.
PAUSE_AFTER_FAILURE = 2.0
#: Seconds that a renewal may go on when the proxy ends.
RENEWAL_GRACE = 2.0
#: What an authorization server says to a client that it does not know (RFC 6749, section 5.2).
_CLIENT_UNKNOWN = frozenset({"invalid_client", "unauthorized_client"})


class Authorization:
    """The tokens of one configured server."""

    def __init__(
        self,
        server: str,
        transport: HttpTransport | SseTransport,
        store: TokenStore | None = None,
        present: Present | None = None,
    ) -> None:
        """``present`` shows the user the address to visit, where it is not the browser that does."""
        self._server = server
        self._present = present
        self._url = transport.url.reveal()
        self._client_id = transport.oauth_client_id
        self._scopes = transport.oauth_scopes
        self._store = store or store_of(server, transport.token_store)
        self._tokens: Tokens | None = None
        self._loaded = False
        self._loading: asyncio.Task[None] | None = None
        #: whether this process obtained the tokens, rather than found them
        self._fresh = False
        self._renewing: asyncio.Task[None] | None = None
        self._signing_in: asyncio.Task[None] | None = None
        self._declined: str | None = None
        #: the access token of the tokens that nobody takes any more, should they still be on disk
        self._dead: str | None = None
        self._not_before = 0.0
        self._has_own_header = any(name.lower() == "authorization" for name, _ in transport.headers)

    @property
    def applies(self) -> bool:
        """Whether a 401 is a matter of signing in. A configured Authorization header without a client id is not."""
        return self._client_id is not None or not self._has_own_header

    async def bearer(self) -> str | None:
        """The access token for the next request, renewed if it is due; None where there is none. Raises UpstreamFailed."""
        tokens = await self._load()
        if tokens is None:
            return None
        if tokens.is_due(time.time(), fresh=self._fresh):
            await self._renew()
        tokens = self._tokens
        return None if tokens is None or tokens.is_expired(time.time()) else tokens.access_token

    async def refused(self, used: str | None, challenge: Challenge) -> None:
        """The server answered 401 to a request with this token. Returns when another one can be tried; raises SignInNeeded."""
        tokens = await self._load()
        if tokens is not None and tokens.access_token != used and not tokens.is_expired(time.time()):
            return
        if tokens is not None and tokens.refresh_token is not None and used is not None:
            if await self._issuer_changed(tokens, challenge):
                self._tokens = None
                raise SignInNeeded("it has another authorization server now", challenge=challenge)
            await self._renew(even_if_not_due=True)
            if self._tokens is not None and self._tokens.access_token != used:
                return
            if self._tokens is tokens:
                # The renewal failed for now, which is no reason to ask the user.
                raise UpstreamFailed("it refuses the token, which cannot be renewed yet")
        if not await self._newer_on_disk():
            raise SignInNeeded("it needs you to sign in", challenge=challenge)

    async def sign_in(self, need: SignInNeeded) -> None:
        """Have the user sign in, once for everybody who asks meanwhile. Raises UpstreamFailed when that does not succeed."""
        challenge = need.challenge if isinstance(need.challenge, Challenge) else Challenge()
        if self._declined is not None:
            if await self._newer_on_disk():
                return
            raise UpstreamFailed(self._declined)
        if self._signing_in is None or self._signing_in.done():
            self._signing_in = asyncio.get_running_loop().create_task(self._recorded_sign_in(challenge))
        # Whoever does not wait any more does not end it for the others.
        await asyncio.shield(self._signing_in)

    async def close(self) -> None:
        """End a sign-in that is under way. A renewal gets a moment: its answer may be the only copy of a token."""
        if self._loading is not None:
            self._loading.cancel()
        with anyio.CancelScope(shield=True):
            if self._signing_in is not None:
                self._signing_in.cancel()
                await asyncio.wait({self._signing_in})
            if self._renewing is not None:
                await asyncio.wait({self._renewing}, timeout=RENEWAL_GRACE)
                self._renewing.cancel()

    # Tokens

    async def _load(self) -> Tokens | None:
        if not self._loaded:
            if self._loading is None or self._loading.done():
                # Whoever does not wait any more must not lead to a second question to the user.
                self._loading = asyncio.get_running_loop().create_task(self._load_once())
            await asyncio.shield(self._loading)
        return self._tokens

    async def _load_once(self) -> None:
        try:
            self._tokens = await self._stored()
        except StoreFailed as failure:
            # A server that wants no token does not need the store.
            log.warning("server %s: %s", self._server, failure)
        self._loaded = True

    async def _stored(self) -> Tokens | None:
        """What the store holds for this server. Raises StoreFailed."""
        return self._of_this_server(await self._in_store(self._store.load))

    async def _in_store(self, work: Callable[[], _T]) -> _T:
        """Use the store, which may keep its caller waiting. Raises as the store does."""
        if not self._store.blocks:
            return work()
        return await to_thread.run_sync(work, abandon_on_cancel=True)

    def _of_this_server(self, tokens: Tokens | None) -> Tokens | None:
        """Tokens that were issued for another origin are not for this server, whatever its name."""
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

    async def _issuer_changed(self, tokens: Tokens, challenge: Challenge) -> bool:
        """Whether the server has turned to another authorization server, which must not see these tokens."""
        from dynamic_mcp.oauth.metadata import discover

        if tokens.issuer is None:
            return False
        try:
            async with _http() as http:
                found = await discover(http, self._url, challenge)
        except UpstreamFailed:
            return False
        return found.published and found.server.issuer != tokens.issuer

    async def _newer_on_disk(self) -> bool:
        """Whether somebody signed in elsewhere since the user declined here. Raises StoreFailed."""
        found = await self._stored()
        known = {self._dead, None if self._tokens is None else self._tokens.access_token}
        if found is None or found.access_token in known:
            return False
        self._tokens, self._declined, self._fresh = found, None, False
        return True

    async def _renew(self, *, even_if_not_due: bool = False) -> None:
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.get_running_loop().create_task(self._renew_once(even_if_not_due))
        await asyncio.shield(self._renewing)

    async def _renew_once(self, even_if_not_due: bool) -> None:
        from dynamic_mcp.oauth.token_endpoint import GrantRefused

        old, began = self._tokens, time.monotonic()
        if old is None or (time.monotonic() < self._not_before and not old.is_expired(time.time())):
            return
        try:
            async with self._store.lock():
                found = await self._stored()
                if found is not None and found.access_token != old.access_token:
                    # Another process was faster; its refresh token is the living one.
                    self._tokens, old, self._fresh = found, found, True
                    if not found.is_due(time.time(), fresh=True):
                        return
                if old.refresh_token is None:
                    if even_if_not_due or old.is_expired(time.time()):
                        self._forget()
                    return
                async with _http() as http:
                    new = await self._refreshed(http, old, old.refresh_token)
                await self._keep(new)
                trail.record("token_renewal", server=self._server, began=began)
        except GrantRefused as refusal:
            trail.record(
                "token_renewal", server=self._server, outcome="refused", began=began, reason=str(refusal)
            )
            log.warning("server %s: the tokens cannot be renewed: %s", self._server, refusal)
            await self._forget_registration(refusal, old)
            self._forget()
        except UpstreamFailed as failure:
            trail.record(
                "token_renewal", server=self._server, outcome="failed", began=began, reason=str(failure)
            )
            self._not_before = time.monotonic() + PAUSE_AFTER_FAILURE
            if old.is_expired(time.time()) or even_if_not_due:
                raise
            log.warning("server %s: the tokens are not renewed yet: %s", self._server, failure)

    async def _refreshed(self, http: httpx.AsyncClient, old: Tokens, refresh_token: str) -> Tokens:
        """RFC 6749, section 6: a new refresh token takes the place of the old one, else the old one stays."""
        from dynamic_mcp.oauth.metadata import discover
        from dynamic_mcp.oauth.token_endpoint import request_tokens
        from dynamic_mcp.oauth.tokens import ClientRegistration

        client = old.client
        if client is None or (self._client_id is not None and not client.registered):
            client = ClientRegistration(self._client_id or "")
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

    async def _keep(self, tokens: Tokens) -> None:
        """In the store first: what is used before it is kept is lost with the process."""
        await self._save(tokens)
        self._tokens, self._fresh, self._not_before = tokens, True, 0.0

    async def _save(self, tokens: Tokens) -> None:
        try:
            await self._in_store(lambda: self._store.save(tokens))
        except OSError as error:
            log.error("server %s: the tokens cannot be stored: %s", self._server, error.strerror)
        except StoreFailed as failure:
            log.error("server %s: the tokens are lost with this process: %s", self._server, failure)

    def _forget(self) -> None:
        """Let go of tokens that nobody takes any more. The registration stays with the file until the next sign-in."""
        if self._tokens is not None:
            self._dead, self._tokens = self._tokens.access_token, None

    async def _forget_registration(self, refusal: UpstreamFailed, known: Tokens | None) -> None:
        """A client that the authorization server does not know any more is registered anew by the next sign-in."""
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

    # The user

    async def _recorded_sign_in(self, challenge: Challenge) -> None:
        began, outcome = time.monotonic(), "failed"
        reason = None
        trail.record("sign_in_began", server=self._server)
        try:
            await self._sign_in(challenge)
            outcome = "ok"
        except UpstreamFailed as error:
            reason = str(error)
            raise
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        finally:
            trail.record("sign_in", server=self._server, outcome=outcome, began=began, reason=reason)

    async def _sign_in(self, challenge: Challenge) -> None:
        from dynamic_mcp.oauth.request import TransientFailure
        from dynamic_mcp.oauth.signin import SignInRequest, sign_in

        before = self._tokens or await self._stored()
        wanted = SignInRequest(
            self._server,
            self._url,
            self._client_id,
            self._scopes,
            granted=None if before is None else before.scope,
            client=None if before is None else before.registration,
            issuer=None if before is None else before.issuer,
        )
        try:
            async with _http() as http:
                tokens = await sign_in(http, wanted, challenge, self._present)
        except TransientFailure:
            # Nothing was shown to the user yet, so that trying again bothers nobody.
            raise
        except UpstreamFailed as error:
            await self._forget_registration(error, before)
            self._declined = f"{error}; to try again, run: dynamic-mcp login {self._server}"
            raise UpstreamFailed(self._declined) from None
        try:
            # A renewal elsewhere must not overwrite what the user just gave.
            async with self._store.lock():
                await self._keep(tokens)
        except UpstreamFailed:
            await self._keep(tokens)
        except asyncio.CancelledError:
            with anyio.move_on_after(RENEWAL_GRACE, shield=True):
                await self._keep(tokens)
            raise
        self._loaded, self._declined = True, None


def store_of(server: str, kind: str) -> TokenStore:
    """The configured place for the tokens of a server."""
    if kind == "keyring":
        from dynamic_mcp.extras.keychain import KeyringStore

        return KeyringStore(server)
    return Store(server)


def _http() -> httpx.AsyncClient:
    import httpx

    from dynamic_mcp.oauth.request import REQUEST_TIME

    try:
        return httpx.AsyncClient(timeout=REQUEST_TIME, verify=trusted(), follow_redirects=False)
    except (ImportError, ValueError, httpx.InvalidURL):
        raise UpstreamFailed("the proxy that the environment names cannot be used for signing in") from None
