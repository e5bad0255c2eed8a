"""The authorization for one server: the bearer token of the next request, and the handling of a refusal.

``Authorization`` renews a refused token if it can; ``new_tokens`` has the rule. If only the user can help, it raises ``SignInNeeded``, and
the caller decides whether to wait for one of the ``sign_ins``. No sign-in begins again for scopes that the user has allowed already.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import msgspec

from dynamic_mcp.clock import Clock
from dynamic_mcp.config.model import RemoteTransport
from dynamic_mcp.errors import SignInMayHelp, SignInNeeded, UpstreamFailed
from dynamic_mcp.events import Record, discard
from dynamic_mcp.oauth.address import host_of
from dynamic_mcp.oauth.challenge import Challenge, challenge_of
from dynamic_mcp.oauth.fresh_tokens import FreshTokens
from dynamic_mcp.oauth.new_tokens import NewTokens
from dynamic_mcp.oauth.reach import AddressLevel, NetworkReach, TooInward
from dynamic_mcp.oauth.sign_ins import SignIns
from dynamic_mcp.oauth.store import TokenStore
from dynamic_mcp.oauth.waiting import SignInWait
from dynamic_mcp.sign_in_page import SignInPage

if TYPE_CHECKING:
    from dynamic_mcp.oauth.signin import ShowAddress

_NOT_YET = "it refuses the token, which cannot be renewed yet"


class Authorization:
    """The credentials of one configured server (``upstream.http.client.Credentials``)."""

    def __init__(
        self,
        server: str,
        transport: RemoteTransport,
        store: TokenStore,
        show_address: ShowAddress | None = None,
        record: Record = discard,
        config: Path | None = None,
        *,
        waits_for_others: bool = True,
        clock: Clock = time.monotonic,
    ) -> None:
        """``show_address`` opens the address for the user, by default in a browser; ``config`` is the file to name in messages.

        With ``waits_for_others`` a sign-in waits for that of another process.
        """
        self._url = transport.url.reveal()
        self._client_id = transport.oauth_client_id
        self._scopes = transport.oauth_scopes
        self._transport = transport
        issuer = transport.oauth.issuer
        named = () if issuer is None else (host_of(issuer),)
        self.reach = NetworkReach(self._url, (*transport.oauth_private_hosts, *named))
        self.tokens = FreshTokens(server, transport, store, record, self.reach, clock)
        self._wait = SignInWait(
            server, store, self._adopt_newer, show_address, config, waits_for_others=waits_for_others
        )
        if not transport.oauth.is_machine:
            self.tokens.way_out = f"If this does not pass, sign in again. Run: {self._wait.anew}"
        self._sign_ins = SignIns(server, transport, self.reach, self.tokens, self._wait, record, clock)
        self._new = NewTokens(clock)
        self.tokens.on_sign_in = self._new.signed_in
        # A configured Authorization header is the credential, unless a configured client id asks for OAuth.
        self._applies = self._client_id is not None or not any(
            name.lower() == "authorization" for name, _ in transport.headers
        )

    async def bearer(self) -> str | None:
        return await self.tokens.bearer()

    async def handle_refusal(self, status: int, bearer: str | None, challenge: str, kind: str) -> bool:
        if not self._applies:
            return False
        parsed = msgspec.structs.replace(challenge_of(challenge), level=self.reach.own)
        if parsed.error != "insufficient_scope" or bearer is None:
            if status != 401 and (parsed.error != "invalid_token" or bearer is None):
                return False
            await self._replace_token(bearer, parsed, kind)
            return True
        current = self.tokens.current
        if current is not None and current.access_token != bearer:
            # A step-up was completed in the meantime.
            return True
        if not parsed.scope:
            # Only the metadata can say what is missing, and ``NothingToAsk`` ends it if they do not.
            if await self._adopt_newer():
                return True
        elif self._sign_ins.has_stepped_up(parsed):
            if await self._adopt_newer():
                return True
            raise UpstreamFailed(
                "it still refuses the call after you have allowed what it asked for"
            ).with_remedy(f"To be asked again, run: {self._wait.anew}")
        await self._authorize("it needs you to allow more", parsed)
        return True

    def admitted(self, addresses: list[str]) -> list[str]:
        try:
            return self.reach.of_server(addresses)
        except TooInward as refusal:
            raise UpstreamFailed(f"its name {refusal}") from None

    def refused(self, kind: str) -> None:
        self._new.refused(kind)

    def accepted(self, bearer: str | None, kind: Callable[[], str]) -> None:
        now = self.tokens.current
        if bearer is not None and now is not None and bearer == now.access_token:
            self._new.accepted(kind)

    async def sign_in(self, need: SignInNeeded) -> None:
        """Join the sign-in in progress, or start one. Raises UpstreamFailed if it does not succeed."""
        challenge = need.challenge if isinstance(need.challenge, Challenge) else Challenge()
        if challenge.level is not None:
            self.reach.note_level(AddressLevel(challenge.level))
        if not (self._sign_ins.is_declined and await self._adopt_newer()):
            await self._sign_ins.join(challenge)

    @property
    def on_page(self) -> Callable[[SignInPage], bool]:
        """Takes the page of each sign-in; whether the client shows it."""
        return self._wait.on_page

    @on_page.setter
    def on_page(self, take: Callable[[SignInPage], bool]) -> None:
        self._wait.on_page = take

    async def may_need_sign_in(self) -> SignInNeeded | None:
        """A ``SignInNeeded`` if signing in helps before the first refusal; otherwise None.

        It helps if there are no tokens and the server publishes metadata, or if ``oauth_scopes`` changed.
        """
        tokens = await self.tokens.load()
        if not self._applies or self._transport.oauth.is_machine:
            return None
        if tokens is not None:
            before = tokens.scope if tokens.configured_scope is None else tokens.configured_scope
            wanted, had = set(self._scopes), set((before or "").split())
            is_new = wanted != had if tokens.configured_scope is not None else not wanted <= had
            return SignInNeeded("its oauth_scopes have changed", challenge=Challenge()) if is_new else None
        from dynamic_mcp.oauth.metadata import discover
        from dynamic_mcp.oauth.own_headers import client_for

        try:
            async with client_for(self._transport, self.reach) as http:
                found = await discover(http, self._url, Challenge(), self._transport.oauth)
        except UpstreamFailed:
            return None
        return SignInNeeded("a call may need it", challenge=Challenge()) if found.published else None

    async def signed_in_elsewhere(self) -> None:
        """Return once the user has signed in with another process. Raises StoreFailed."""
        await self._wait.elsewhere()

    def sign_in_help(self, *, pending: bool = False) -> str:
        """What the user does to sign in, in lines of their own. Empty with ``pending`` if no sign-in waits for the user."""
        if self._transport.oauth.is_machine:
            return ""
        return self._wait.help if self._sign_ins.are_pending or not pending else ""

    async def close(self) -> None:
        """End a sign-in at once, and a renewal after ``RENEWAL_GRACE``. Bounded, not cancellable."""
        with anyio.CancelScope(shield=True):
            await self._sign_ins.close()
            await self.tokens.close()

    async def _replace_token(self, used: str | None, challenge: Challenge, kind: str) -> None:
        """Get another token than the refused one. Raises UpstreamFailed, and that is SignInNeeded if only the user can give one."""
        self._new.refused(kind)
        tokens = await self.tokens.load()
        if self._has_other_than(used):
            return
        if self._new.is_young(used):
            if not await self._adopt_newer() or self.tokens.current is None:
                raise self._refused_new()
            # The server may refuse the token of another process too, and more renewals would not help.
            self._new.issued(self.tokens.current.access_token)
            return
        if (
            tokens is not None
            and tokens.refresh_token is not None
            and used is not None
            and self._new.may_renew(used, kind)
        ):
            changed = tokens.issuer is not None and await self._names_other(tokens.issuer, challenge)
            if self._has_other_than(used):
                # Another call, which was refused at the same time, was faster.
                return
            if changed:
                self.tokens.forget()
                raise SignInNeeded("it has another authorization server now", challenge=challenge)
            await self._renew_refused()
            now = self.tokens.current
            if now is tokens:
                # The renewal failed for now; a sign-in would not help.
                raise SignInMayHelp(_NOT_YET).with_remedy(self.tokens.way_out)
            if now is not None:
                # The server may refuse the token of another process too, and a renewal of that token can still help.
                if not self.tokens.are_adopted:
                    self._new.issued(now.access_token)
                return
        if await self._adopt_newer() or self._has_other_than(used):
            return
        if used is not None and self.tokens.current is not None and not self._new.may_ask_the_user:
            raise self._refused_new()
        await self._authorize("it needs you to sign in", challenge)

    def _refused_new(self) -> SignInMayHelp:
        return SignInMayHelp(self._new.reason).with_remedy(self.tokens.way_out)

    async def _names_other(self, issuer: str, challenge: Challenge) -> bool:
        from dynamic_mcp.oauth.moves import names_other_issuer
        from dynamic_mcp.oauth.own_headers import client_for

        async with client_for(self._transport, self.reach) as http:
            return await names_other_issuer(http, self._transport, issuer, challenge)

    async def _renew_refused(self) -> None:
        """Renew tokens that the server refuses. Raises SignInMayHelp if that fails for now."""
        try:
            await self.tokens.renew(force=True)
        except SignInMayHelp as failure:
            raise SignInMayHelp(f"{_NOT_YET}: {failure}").with_remedy(failure.remedy) from None

    def _has_other_than(self, used: str | None) -> bool:
        """Whether there is a valid token that is not the refused one."""
        now = self.tokens.current
        return now is not None and now.access_token != used and not now.is_expired(time.time())

    async def _authorize(self, reason: str, challenge: Challenge) -> None:
        """A machine gets new tokens; otherwise raises SignInNeeded, because only the user can help. Raises UpstreamFailed."""
        if not self._transport.oauth.is_machine:
            need = SignInNeeded(reason, challenge=challenge)
            need.may_pass = self.tokens.current is not None
            raise need
        await self._sign_ins.join_as_machine(challenge)
        if (now := self.tokens.current) is not None:
            self._new.issued(now.access_token)

    async def _adopt_newer(self) -> bool:
        """Use tokens from a sign-in in another process, if there are any; whether there were. Raises StoreFailed."""
        if not await self.tokens.adopt_newer():
            return False
        self._sign_ins.start_over()
        return True
