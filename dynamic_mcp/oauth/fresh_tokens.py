"""The tokens of one server, and their renewal.

``FreshTokens`` renews tokens before they expire: once for all requests, and once for all processes that share the store. It stores new
tokens before a request uses them, and no cancellation comes in between. If the store fails, it uses the tokens without storing them. While
the authorization server is unreachable or slow, the tokens stay in use until they expire. If the server refuses the grant, the proxy drops
the tokens, and the user has to sign in again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

import anyio
import msgspec
from anyio import to_thread

from dynamic_mcp.clock import Clock
from dynamic_mcp.config.model import RemoteTransport
from dynamic_mcp.errors import SignInMayHelp, StoreFailed, UpstreamFailed
from dynamic_mcp.events import Record
from dynamic_mcp.log import log
from dynamic_mcp.oauth.binding import Binding
from dynamic_mcp.oauth.reach import NetworkReach
from dynamic_mcp.oauth.store import TokenStore
from dynamic_mcp.oauth.tokens import BUFFER, Tokens
from dynamic_mcp.tasks import joined

_T = TypeVar("_T")

CLOSED = "the configuration removed or changed the server meanwhile"

#: Seconds that requests wait for a renewal, from its start, while their token is still valid.
RENEWAL_PATIENCE = 2.0
#: Seconds before the next attempt after a failed renewal: the first delay, and the longest one. Each doubles the one before.
RENEWAL_RETRY_DELAY = 2.0
MAX_RENEWAL_DELAY = 60.0
#: Seconds that a renewal in progress may take when the proxy ends.
RENEWAL_GRACE = 2.0
#: The most access tokens to remember that are no longer in use.
_MAX_FORMER = 32
#: Error codes for an unknown client (RFC 6749, section 5.2).
_CLIENT_UNKNOWN = frozenset({"invalid_client", "unauthorized_client"})


class FreshTokens:
    """Loads, renews and keeps the tokens of one configured server."""

    def __init__(
        self,
        server: str,
        transport: RemoteTransport,
        store: TokenStore,
        record: Record,
        reach: NetworkReach,
        clock: Clock = time.monotonic,
    ) -> None:
        self._server = server
        self._transport = transport
        self._binding = Binding.of(server, transport)
        self._store = store
        self._record = record
        self._reach = reach
        self._clock = clock
        self._tokens: Tokens | None = None
        #: whether the store has them, unless another process removed them
        self._is_stored = False
        #: whether another process got them
        self.are_adopted = False
        #: when a user last confirmed the stored tokens (``Tokens.confirmed_at``), as far as this process knows
        self._confirmed_at: float | None = None
        #: when the user last signed in (``Tokens.signed_in_at``), as far as this process knows
        self._signed_in_at: float | None = None
        #: takes the access token of a later sign-in, in this process or in another one
        self.on_sign_in: Callable[[str], None] = lambda token: None
        #: whether the store was read, and the task that reads it
        self._loaded = False
        self._loading: asyncio.Task[None] | None = None
        #: whether a short token is due at half of its lifetime (``Tokens.is_due``); not what the store has at the start
        self._fresh = False
        #: the task of the last renewal, whose result is why it failed for now, and the time of the loop at which it began
        self._renewing: asyncio.Task[UpstreamFailed | None] | None = None
        self._renewal_began = 0.0
        #: the number of failed renewals since the last success, the time of the clock of the last one, and its reason
        self._failures = 0
        self._failed_at = 0.0
        self._failure: UpstreamFailed | None = None
        #: access tokens that this process has replaced or dropped, the last seen ones at the end; after a failed save the store has one
        self._former: dict[str, None] = {}
        #: what the user can do if renewals fail, in lines of their own
        self.way_out = ""
        #: whether the user knows that the store has tokens of another entry
        self._has_warned = False

    @property
    def current(self) -> Tokens | None:
        """The tokens in memory."""
        return self._tokens

    async def load(self) -> Tokens | None:
        """The tokens; the first call reads the store."""
        if not self._loaded:
            if self._loading is None or self._loading.done():
                # A separate task: after the cancellation of one request, a keyring must not prompt a second time.
                self._loading = asyncio.get_running_loop().create_task(self._load())
            await joined(self._loading, UpstreamFailed(CLOSED))
        return self._tokens

    async def bearer(self) -> str | None:
        """The access token for the next request, renewed if it is due; None without one. Raises UpstreamFailed."""
        tokens = await self.load()
        if tokens is None:
            return None
        if tokens.is_due(time.time(), fresh=self._fresh):
            await self.renew()
        tokens = self._tokens
        return None if tokens is None or tokens.is_expired(time.time()) else tokens.access_token

    async def renew(self, *, force: bool = False) -> None:
        """Renew the tokens, once for all callers. Raises SignInMayHelp if no usable token is left, and UpstreamFailed at the end.

        A slow renewal goes on after the return, if the old token is valid meanwhile. ``force`` renews tokens that are not due, and waits
        for the end.
        """
        loop = asyncio.get_running_loop()
        if self._renewing is None or self._renewing.done():
            # A separate task: its answer may be the only copy of a token, so the cancellation of a request must not end it.
            self._renewing, self._renewal_began = loop.create_task(self._renew(force)), loop.time()
        renewing = self._renewing
        if not force and self._lasts(RENEWAL_PATIENCE):
            left = self._renewal_began + RENEWAL_PATIENCE - loop.time()
            await asyncio.wait({renewing}, timeout=max(0.0, left))
            if not renewing.done() and self._lasts(0.0):
                return
        failure = await joined(renewing, UpstreamFailed(CLOSED))
        if failure is not None and (force or not self._lasts(0.0)):
            raise SignInMayHelp(str(failure)).with_remedy(self.way_out or failure.remedy)

    async def stored(self) -> Tokens | None:
        """The tokens in the store, if they belong to this entry. Raises StoreFailed."""
        found = await self._use_store(self._store.load)
        if found is None or self._binding.fits(found):
            return found
        if not self._has_warned:
            self._has_warned = True
            log.warning(
                "group %s: the stored tokens of this name are not used, because they do not name exactly its url, its authorization "
                "server and its client; if the server needs a sign-in, a new one follows",
                self._server,
            )
        return None

    async def adopt_newer(self) -> bool:
        """Use tokens in the store that another process got or confirmed since; false if it has none. Raises StoreFailed."""
        found = await self.stored()
        if found is None or not (self._is_newer(found) or self._is_confirmed_since(found)):
            return False
        self._adopt(found)
        return True

    async def confirm(self) -> None:
        """Let processes that wait for a sign-in use the stored tokens again, because the server takes them. Raises UpstreamFailed."""
        async with self._store.lock():
            found = await self.stored()
            if found is not None:
                await self._save(msgspec.structs.replace(found, confirmed_at=time.time()))

    async def keep(self, tokens: Tokens) -> None:
        """Store new tokens, then use them. In the other order, the end of the process could lose used tokens."""
        await self._save(tokens)
        # The documented buffer holds for the token of a sign-in that outlives it. A renewal that gives such a token is not repeated soon.
        self._use(tokens, fresh=tokens.lifetime is not None and tokens.lifetime <= BUFFER)
        self._loaded = True

    async def keep_locked(self, tokens: Tokens) -> None:
        """``keep`` after a sign-in, with the lock: a renewal in another process must not overwrite the new tokens."""
        tokens = msgspec.structs.replace(tokens, url_digest=self._binding.url_digest)
        try:
            async with self._store.lock():
                await self.keep(tokens)
        except UpstreamFailed:
            await self.keep(tokens)
        except asyncio.CancelledError:
            with anyio.move_on_after(RENEWAL_GRACE, shield=True):
                await self.keep(tokens)
            raise

    def forget(self) -> None:
        """Drop refused tokens, and never take them from the store again."""
        self._use(None)

    async def forget_registration(self, refusal: UpstreamFailed, known: Tokens | None) -> None:
        """Remove a registration that the authorization server has forgotten, so that the next sign-in registers again."""
        from dynamic_mcp.oauth.token_endpoint import GrantRefused

        if not isinstance(refusal, GrantRefused) or refusal.code not in _CLIENT_UNKNOWN:
            return
        refused = None if known is None else known.registration
        try:
            found = await self.stored()
        except StoreFailed:
            return
        if refused is not None and found is not None and found.client == refused:
            await self._save(msgspec.structs.replace(found, client=None))

    async def close(self) -> None:
        """End the loading at once, and a renewal after ``RENEWAL_GRACE``: its answer may be the only copy of a token."""
        with anyio.CancelScope(shield=True):
            if self._loading is not None:
                self._loading.cancel()
                await asyncio.wait({self._loading})
            if self._renewing is not None:
                await asyncio.wait({self._renewing}, timeout=RENEWAL_GRACE)
                self._renewing.cancel()
                await asyncio.wait({self._renewing})

    def _use(self, tokens: Tokens | None, *, fresh: bool = False) -> None:
        old = self._tokens
        if old is not None and (tokens is None or tokens.access_token != old.access_token):
            self._remember(old.access_token)
        self._tokens, self._fresh, self._failures, self.are_adopted = tokens, fresh, 0, False
        if tokens is not None and tokens.signed_in_at not in (None, self._signed_in_at):
            self._signed_in_at = tokens.signed_in_at
            self.on_sign_in(tokens.access_token)

    def _adopt(self, stored: Tokens) -> None:
        """Use tokens that another process stored."""
        self._use(stored, fresh=True)
        self._confirmed_at = stored.confirmed_at
        self._is_stored = self.are_adopted = True

    def _lasts(self, seconds: float) -> bool:
        """Whether there is an access token that is valid for so long."""
        left = None if self._tokens is None else self._tokens.seconds_left(time.time())
        return self._tokens is not None and (left is None or left > seconds)

    def _is_newer(self, stored: Tokens) -> bool:
        """Whether stored tokens come from another process. Without that, their refresh token may be used up."""
        token = stored.access_token
        if token in self._former:
            # The store may have it for as long as the process lives.
            self._remember(token)
            return False
        return self._tokens is None or token != self._tokens.access_token

    def _is_confirmed_since(self, stored: Tokens) -> bool:
        """Whether the user has found since that the server takes stored tokens, which it may have refused before."""
        return stored.confirmed_at not in (None, self._confirmed_at)

    def _remember(self, former: str) -> None:
        self._former.pop(former, None)
        self._former[former] = None
        if len(self._former) > _MAX_FORMER:
            del self._former[next(iter(self._former))]

    # The store

    async def _load(self) -> None:
        try:
            self._tokens = await self.stored()
            self._is_stored = self._tokens is not None
            if self._tokens is not None:
                self._confirmed_at, self._signed_in_at = self._tokens.confirmed_at, self._tokens.signed_in_at
        except StoreFailed as failure:
            # A server that needs no token does not need the store.
            log.warning("group %s: %s", self._server, failure)
        self._loaded = True

    async def _use_store(self, work: Callable[[], _T]) -> _T:
        """Use the store, in a thread if it may block. Raises what the store raises."""
        if not self._store.blocks:
            return work()
        return await to_thread.run_sync(work, abandon_on_cancel=True)

    async def _was_removed(self) -> bool:
        """Whether another process removed the stored tokens. Raises StoreFailed."""
        return self._is_stored and not await self._use_store(self._store.exists)

    async def _save(self, tokens: Tokens) -> None:
        from dynamic_mcp.oauth.configured import without_secrets

        tokens = msgspec.structs.replace(tokens, client=without_secrets(tokens.client))
        self._is_stored = False
        try:
            await self._use_store(lambda: self._store.save(tokens))
            self._is_stored = True
        except OSError as error:
            log.error("group %s: the tokens cannot be stored: %s", self._server, error.strerror)
        except StoreFailed as failure:
            log.error("group %s: the tokens are lost when this process ends: %s", self._server, failure)

    # Renewal

    def _retry_delay(self, force: bool) -> float:
        """Seconds from the last failed renewal to the next attempt. A token that the server refuses has no use until then."""
        if self._failures == 0:
            return 0.0
        growth = 1 if force else 2 ** min(self._failures - 1, 10)
        return min(RENEWAL_RETRY_DELAY * growth, MAX_RENEWAL_DELAY)

    async def _renew(self, force: bool) -> UpstreamFailed | None:
        """Renew the tokens. Returns a failure that may pass, also that of the last attempt if the next one has to wait."""
        from dynamic_mcp.oauth.renewal import renewed
        from dynamic_mcp.oauth.token_endpoint import GrantRefused

        old, began = self._tokens, time.monotonic()
        waits = self._clock() < self._failed_at + self._retry_delay(force)
        if old is None:
            return None
        if waits and not old.is_expired(time.time()):
            return self._failure
        try:
            async with self._store.lock():
                found = await self.stored()
                if found is not None and self._is_newer(found):
                    # Another process was faster, and only its refresh token is still valid.
                    self._adopt(found)
                    old = found
                    if not found.is_due(time.time(), fresh=True):
                        return None
                elif found is None and await self._was_removed():
                    log.info("group %s: its tokens were removed, for example by logout", self._server)
                    self.forget()
                    return None
                try:
                    new = await renewed(self._transport, self._reach, old)
                except GrantRefused as refusal:
                    if (
                        found is not None
                        and found.refresh_token == old.refresh_token
                        and refusal.ends_the_grant
                    ):
                        # A restart must not send it again.
                        await self._save(msgspec.structs.replace(found, refresh_token=None))
                    raise
                if new is not None:
                    await self.keep(new)
                    self._fresh = True
                    self._record("token_renewal", server=self._server, began=began)
                elif force or old.is_expired(time.time()):
                    self.forget()
        except GrantRefused as refusal:
            self._record_failure("refused", began, refusal)
            log.warning("group %s: the tokens cannot be renewed: %s", self._server, refusal)
            await self.forget_registration(refusal, old)
            self.forget()
        except UpstreamFailed as failure:
            self._record_failure("failed", began, failure)
            is_urgent = force or old.is_expired(time.time())
            return self._after_failure(failure, is_urgent=is_urgent, is_machine=old.machine)
        return None

    def _record_failure(self, outcome: str, began: float, failure: UpstreamFailed) -> None:
        self._record("token_renewal", server=self._server, outcome=outcome, began=began, reason=str(failure))

    def _after_failure(
        self, failure: UpstreamFailed, *, is_urgent: bool, is_machine: bool
    ) -> UpstreamFailed | None:
        """The failure, after which the tokens stay in use; None if no later renewal can help, so that they are dropped.

        ``is_urgent`` is whether the old token has no use any more.
        """
        from dynamic_mcp.oauth.moves import IssuerReplaced
        from dynamic_mcp.oauth.token_endpoint import NoTokenEndpoint

        no_endpoint = isinstance(failure, NoTokenEndpoint)
        if is_urgent and (isinstance(failure, IssuerReplaced) or (no_endpoint and is_machine)):
            # The next request without a token leads to the authorization server that the MCP server names now.
            log.warning("group %s: the tokens cannot be renewed: %s", self._server, failure)
            self.forget()
            return None
        self._failures, self._failed_at, self._failure = self._failures + 1, self._clock(), failure
        if not is_urgent:
            log.warning("group %s: the tokens cannot be renewed now: %s", self._server, failure)
        return failure
