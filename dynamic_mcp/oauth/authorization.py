"""The authorization for one server: the bearer token of the next request, and what follows a refusal of it.

A refused token is renewed when that can help. A server that wants more, or tokens that cannot be renewed, need the user: that raises
``SignInNeeded``, and the caller decides whether to wait. One sign-in serves all who wait for it. A sign-in that failed does not begin
again by itself.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import anyio

from dynamic_mcp.config.model import HttpTransport, SseTransport
from dynamic_mcp.errors import SignInNeeded, UpstreamFailed
from dynamic_mcp.events import Record, discard
from dynamic_mcp.oauth.challenge import Challenge, challenge_of
from dynamic_mcp.oauth.fresh_tokens import FreshTokens
from dynamic_mcp.oauth.store import FileStore, TokenStore
from dynamic_mcp.oauth.tokens import Tokens

if TYPE_CHECKING:
    from dynamic_mcp.oauth.signin import Present


class Authorization:
    """The credentials of one configured server (``upstream.http.client.Credentials``)."""

    def __init__(
        self,
        server: str,
        transport: HttpTransport | SseTransport,
        store: TokenStore | None = None,
        present: Present | None = None,
        record: Record = discard,
    ) -> None:
        """``store`` is the user's token file by default; ``present`` shows the user the address to visit, by default in a browser."""
        self._server = server
        self._present = present
        self._record = record
        self._url = transport.url.reveal()
        self._client_id = transport.oauth_client_id
        self._scopes = transport.oauth_scopes
        self.tokens = FreshTokens(server, self._url, self._client_id, store or FileStore(server), record)
        self._signing_in: asyncio.Task[None] | None = None
        #: why the last sign-in failed; None while there is no such failure
        self._declined: str | None = None
        # A configured Authorization header is the server's credential, unless a client id says that OAuth is wanted.
        self._applies = self._client_id is not None or not any(
            name.lower() == "authorization" for name, _ in transport.headers
        )

    async def bearer(self) -> str | None:
        """See ``Credentials``: the access token, renewed when less than the buffer is left."""
        return await self.tokens.bearer()

    async def refused(self, status: int, bearer: str | None, challenge: str) -> bool:
        """See ``Credentials``."""
        if not self._applies:
            return False
        wanted = challenge_of(challenge)
        if status == 401:
            await self._replace(bearer, wanted)
            return True
        if wanted.error == "insufficient_scope" and bearer is not None:
            raise SignInNeeded("it needs you to allow more", challenge=wanted)
        return False

    async def sign_in(self, need: SignInNeeded) -> None:
        """See ``Credentials``: one sign-in for all who wait."""
        challenge = need.challenge if isinstance(need.challenge, Challenge) else Challenge()
        if self._declined is not None:
            if await self._adopt_newer():
                return
            raise UpstreamFailed(self._declined)
        if self._signing_in is None or self._signing_in.done():
            # A task of its own: a caller that stops waiting does not end it for the others.
            self._signing_in = asyncio.get_running_loop().create_task(self._recorded_sign_in(challenge))
        await asyncio.shield(self._signing_in)

    async def close(self) -> None:
        """End a sign-in that is in progress, and a renewal after a moment. Bounded, and not cancellable."""
        with anyio.CancelScope(shield=True):
            if self._signing_in is not None:
                self._signing_in.cancel()
                await asyncio.wait({self._signing_in})
            await self.tokens.close()

    async def _replace(self, used: str | None, challenge: Challenge) -> None:
        """Find another token than the one that the server refused. Raises SignInNeeded where only the user can give one."""
        tokens = await self.tokens.load()
        if tokens is not None and tokens.access_token != used and not tokens.is_expired(time.time()):
            return
        if tokens is not None and tokens.refresh_token is not None and used is not None:
            if await self._issuer_changed(tokens, challenge):
                self.tokens.drop()
                raise SignInNeeded("it has another authorization server now", challenge=challenge)
            await self.tokens.renew(even_if_not_due=True)
            now = self.tokens.current
            if now is not None and now.access_token != used:
                return
            if now is tokens:
                # The renewal failed for now, which is no reason to ask the user.
                raise UpstreamFailed("it refuses the token, which cannot be renewed yet")
        if not await self._adopt_newer():
            raise SignInNeeded("it needs you to sign in", challenge=challenge)

    async def _adopt_newer(self) -> bool:
        """Whether the user signed in elsewhere since. Raises StoreFailed."""
        if not await self.tokens.adopt_newer():
            return False
        self._declined = None
        return True

    async def _issuer_changed(self, tokens: Tokens, challenge: Challenge) -> bool:
        """Whether the server names another authorization server by now, which must not see these tokens."""
        from dynamic_mcp.oauth.metadata import discover
        from dynamic_mcp.oauth.request import http_client

        if tokens.issuer is None:
            return False
        try:
            async with http_client() as http:
                found = await discover(http, self._url, challenge)
        except UpstreamFailed:
            return False
        return found.published and found.server.issuer != tokens.issuer

    # The user

    async def _recorded_sign_in(self, challenge: Challenge) -> None:
        began, outcome = time.monotonic(), "failed"
        reason = None
        self._record("sign_in_began", server=self._server)
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
            self._record("sign_in", server=self._server, outcome=outcome, began=began, reason=reason)

    async def _sign_in(self, challenge: Challenge) -> None:
        from dynamic_mcp.oauth.request import TransientFailure, http_client
        from dynamic_mcp.oauth.signin import SignInRequest, sign_in

        before = self.tokens.current or await self.tokens.stored()
        request = SignInRequest(
            self._server,
            self._url,
            self._client_id,
            self._scopes,
            granted=None if before is None else before.scope,
            client=None if before is None else before.registration,
            issuer=None if before is None else before.issuer,
        )
        try:
            async with http_client() as http:
                tokens = await sign_in(http, request, challenge, self._present)
        except TransientFailure:
            # The user has not been asked yet, so another try disturbs no one.
            raise
        except UpstreamFailed as error:
            await self.tokens.forget_registration(error, before)
            self._declined = f"{error}; to try again, run: dynamic-mcp login {self._server}"
            raise UpstreamFailed(self._declined) from None
        await self.tokens.keep_locked(tokens)
        self._declined = None
