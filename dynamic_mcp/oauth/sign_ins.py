"""The sign-ins of one server. One serves all callers that wait for it.

A sign-in that failed does not start again by itself. ``sign_in_limit`` bounds the number of those that do.
"""

from __future__ import annotations

import asyncio
import time

import msgspec

from dynamic_mcp.clock import Clock
from dynamic_mcp.config.model import RemoteTransport
from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.events import Record
from dynamic_mcp.oauth.challenge import Challenge
from dynamic_mcp.oauth.fresh_tokens import CLOSED, FreshTokens
from dynamic_mcp.oauth.reach import NetworkReach
from dynamic_mcp.oauth.sign_in_limit import SignInLimit
from dynamic_mcp.oauth.waiting import Declined, SignInWait
from dynamic_mcp.tasks import joined

#: Seconds before a machine asks again for a token that was refused.
REFUSED_PAUSE = 10.0


class SignIns:
    """The sign-ins of one server, one after the other."""

    def __init__(
        self,
        server: str,
        transport: RemoteTransport,
        reach: NetworkReach,
        tokens: FreshTokens,
        wait: SignInWait,
        record: Record,
        clock: Clock,
    ) -> None:
        self._server = server
        self._transport = transport
        self._reach = reach
        self._tokens = tokens
        self._wait = wait
        self._record = record
        self._clock = clock
        self._limit = SignInLimit(clock)
        self._signing_in: asyncio.Task[None] | None = None
        #: the time of the clock until which a machine does not ask again, and why
        self._refused: tuple[float, str] | None = None
        #: why the last sign-in failed, or None
        self._declined: str | None = None
        #: the scopes for which the user has signed in again, because the server asked for them; None without such a step-up
        self._stepped_up: frozenset[str] | None = None

    @property
    def are_pending(self) -> bool:
        """Whether a sign-in goes on."""
        return self._signing_in is not None and not self._signing_in.done()

    @property
    def is_declined(self) -> bool:
        """Whether the last sign-in failed, so that no other one begins by itself."""
        return self._declined is not None

    def has_stepped_up(self, challenge: Challenge) -> bool:
        """Whether the user has signed in again for all scopes of this challenge."""
        return self._stepped_up is not None and _scopes(challenge) <= self._stepped_up

    def start_over(self) -> None:
        """Forget how the sign-ins ended, because the user has signed in elsewhere."""
        self._declined = self._stepped_up = None

    async def join(self, challenge: Challenge) -> None:
        """Join the sign-in in progress, or start one. Raises UpstreamFailed if it does not succeed."""
        if self._declined is not None:
            raise self._refusal()
        if not self.are_pending:
            self._limit.check(self._wait.login)
        await self._join(challenge)

    async def join_as_machine(self, challenge: Challenge) -> None:
        """Join the request for tokens of a machine, or start one. Raises UpstreamFailed if it does not succeed."""
        if not self.are_pending and self._refused is not None and self._clock() < self._refused[0]:
            # One attempt to connect has several requests, and a wrong secret may lock the client out.
            raise UpstreamFailed(self._refused[1])
        try:
            await self._join(challenge)
        except UpstreamFailed as refusal:
            self._refused = self._clock() + REFUSED_PAUSE, str(refusal)
            raise

    async def close(self) -> None:
        """End a sign-in at once. The caller shields this from cancellation."""
        if self._signing_in is not None:
            self._signing_in.cancel()
            await asyncio.wait({self._signing_in})

    async def _join(self, challenge: Challenge) -> None:
        if self._signing_in is None or self._signing_in.done():
            # A separate task, because the cancellation of one caller must not end it for the others.
            self._signing_in = asyncio.get_running_loop().create_task(self._sign_in_and_record(challenge))
        await joined(self._signing_in, UpstreamFailed(CLOSED))

    def _refusal(self) -> UpstreamFailed:
        return UpstreamFailed(self._declined or "").with_remedy(f"To try again, run: {self._wait.login}")

    async def _sign_in_and_record(self, challenge: Challenge) -> None:
        began, outcome = time.monotonic(), "failed"
        reason = None
        self._record("sign_in_began", server=self._server)
        try:
            # So that tokens which are in the store already do not count as new ones.
            await self._tokens.load()
            if self._transport.oauth.is_machine:
                await self._sign_in(challenge)
            else:
                await self._wait.run(lambda: self._sign_in(challenge))
            outcome = "ok"
        except Declined as error:
            self._declined = reason = str(error)
            raise self._refusal() from None
        except UpstreamFailed as error:
            reason = str(error)
            raise
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        finally:
            self._record("sign_in", server=self._server, outcome=outcome, began=began, reason=reason)

    async def _sign_in(self, challenge: Challenge) -> None:
        from dynamic_mcp.oauth.machine import obtain
        from dynamic_mcp.oauth.metadata import NoSignIn
        from dynamic_mcp.oauth.own_headers import client_for
        from dynamic_mcp.oauth.request import TransientFailure
        from dynamic_mcp.oauth.scopes import NothingToAsk
        from dynamic_mcp.oauth.sign_in_request import SignInRequest
        from dynamic_mcp.oauth.signin import sign_in

        self._limit.begins()
        before = self._tokens.current or await self._tokens.stored()
        request = SignInRequest(
            self._server,
            self._transport.url.reveal(),
            self._transport.oauth_client_id,
            self._transport.oauth_scopes,
            granted=None if before is None else before.scope,
            requested=None if before is None else before.requested,
            client=None if before is None else before.registration,
            issuer=None if before is None else before.issuer,
            reach=self._reach,
            oauth=self._transport.oauth,
            hidden=self._transport.hidden(),
        )
        try:
            async with client_for(self._transport, self._reach) as http:
                if request.oauth.is_machine:
                    tokens = await obtain(http, request, challenge)
                else:
                    tokens = await sign_in(http, request, challenge, self._wait.show)
        except (TransientFailure, NothingToAsk):
            # The browser is not open yet, so another attempt does not disturb the user.
            self._limit.did_not_begin()
            raise
        except NoSignIn as reason:
            # The server may have been behind a gateway that was down, so this is no refusal for good.
            self._limit.did_not_begin()
            raise UpstreamFailed(
                "it asks for an authorization and does not say how to sign in; its 'headers' may lack a token "
                f"or a key ({reason})"
            ) from None
        except UpstreamFailed as error:
            if request.oauth.is_machine:
                # No person is disturbed, so the next attempt of the group tries again.
                raise
            await self._tokens.forget_registration(error, before)
            raise Declined(str(error)) from None
        configured = " ".join(self._transport.oauth_scopes) or None
        signed_in_at = None if request.oauth.is_machine else time.time()
        await self._tokens.keep_locked(
            msgspec.structs.replace(tokens, configured_scope=configured, signed_in_at=signed_in_at)
        )
        self._declined = None
        if challenge.error == "insufficient_scope":
            self._stepped_up = _scopes(challenge) | (self._stepped_up or frozenset())


def _scopes(challenge: Challenge) -> frozenset[str]:
    return frozenset((challenge.scope or "").split())
