"""One sign-in, from the challenge to the tokens: the authorization code grant of OAuth 2.1 with PKCE.

MCP 2025-11-25, basic/authorization.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl, urlencode, urlsplit

import anyio
import httpx
import msgspec

from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.oauth import address, browser
from dynamic_mcp.oauth.callback import Callback, CallbackAnswer, listening
from dynamic_mcp.oauth.challenge import Challenge
from dynamic_mcp.oauth.configured import configured_client, named_resource
from dynamic_mcp.oauth.issuer import is_same_issuer
from dynamic_mcp.oauth.metadata import Discovered, NoSignIn, discover
from dynamic_mcp.oauth.pkce import Pkce, new_pkce, new_state
from dynamic_mcp.oauth.reach import TooInward
from dynamic_mcp.oauth.registration import register
from dynamic_mcp.oauth.request import TransientFailure
from dynamic_mcp.oauth.scopes import allowed_scope, covers, needs_consent, wanted_scope
from dynamic_mcp.oauth.server_words import advice_for, words_of
from dynamic_mcp.oauth.sign_in_request import SignInRequest
from dynamic_mcp.oauth.token_endpoint import GrantRefused, request_tokens
from dynamic_mcp.oauth.tokens import ClientRegistration, Tokens

#: Seconds that the user may take in the browser.
SIGN_IN_TIMEOUT = 300.0
#: what the user can do if the server has forgotten a registration
_OLD_CLIENT = (
    "; if its page refused the client, which an earlier sign-in registered, "
    "dynamic-mcp logout makes the next sign-in register another one"
)

#: Shows the address to the user. The callback is for an answer that comes without the browser.
ShowAddress = Callable[[str, str, Callback], Awaitable[None]]


async def _open_browser(page: str, server: str, callback: Callback) -> None:
    await browser.show(page, server)


async def sign_in(
    http: httpx.AsyncClient,
    request: SignInRequest,
    challenge: Challenge,
    show_address: ShowAddress | None = None,
) -> Tokens:
    """Send the user to the browser and wait for the tokens.

    Raises UpstreamFailed with the reason, and NoSignIn before the browser opens.
    """
    found = await discover(http, request.url, challenge, request.oauth)
    endpoint = address.base_of(found.server.authorization_endpoint)
    if request.reach is not None:
        try:
            await request.reach.check(endpoint)
        except TooInward as refusal:
            raise UpstreamFailed(f"its authorization endpoint {refusal}") from None
    state, pkce = new_state(), new_pkce()
    is_known = request.issuer is not None and is_same_issuer(request.issuer, found.server.issuer)
    known = request.client if request.client_id is None and is_known else None
    if known is not None and known.is_expired(time.time() + SIGN_IN_TIMEOUT):
        # The secret would expire during the sign-in, which would then fail at its end.
        known = None
    scope = wanted_scope(request, challenge, found)
    redirect_uri = request.oauth.redirect_uri
    async with listening(request.server, state, redirect_uri, _port_of(known)) as callback:
        try:
            client = await _client(http, request, found, callback.redirect_uri, scope, known)
        except UpstreamFailed as refusal:
            if found.published:
                raise
            # Without metadata, its authorization server was only an assumption.
            raise NoSignIn(str(refusal)) from None
        attempt = _Attempt(http, request, found, client, callback, allowed_scope(client, scope), pkce)
        page = attempt.authorization_url(endpoint, state)
        await (show_address or _open_browser)(page, request.server, callback)
        try:
            tokens = await attempt.tokens()
        except UpstreamFailed as error:
            callback.finish(str(error))
            raise
        callback.finish(None)
    return request.label(tokens, found, client, attempt.scope)


class _Attempt(msgspec.Struct):
    """One sign-in whose client is known, and whose callback listens."""

    http: httpx.AsyncClient
    request: SignInRequest
    found: Discovered
    client: ClientRegistration
    callback: Callback
    #: the requested scope
    scope: str | None
    pkce: Pkce

    def authorization_url(self, endpoint: str, state: str) -> str:
        """The authorization request (RFC 6749, section 4.1.1). The endpoint's own query stays (section 3.1). Raises UpstreamFailed."""
        query_of_endpoint = urlsplit(self.found.server.authorization_endpoint).query
        parameters = {
            "response_type": "code",
            "client_id": self.client.client_id,
            "redirect_uri": self.callback.redirect_uri,
            "state": state,
            "code_challenge": self.pkce.challenge,
            "code_challenge_method": "S256",
            **named_resource(self.request.oauth, self.found.resource),
            **({"scope": self.scope} if self.scope else {}),
            **({"prompt": "consent"} if needs_consent(self.found.server, self.client, self.scope) else {}),
            **dict(self.request.oauth.parameters),
        }
        own = [
            (name, value)
            for name, value in parse_qsl(query_of_endpoint, keep_blank_values=True)
            if name not in parameters
        ]
        query = urlencode([*own, *parameters.items()], errors="replace")
        return address.checked(f"{endpoint}?{query}")

    async def tokens(self) -> Tokens:
        """The tokens, once the user has signed in. Raises UpstreamFailed."""
        try:
            with anyio.fail_after(SIGN_IN_TIMEOUT):
                answer = await self.callback.wait()
        except TimeoutError:
            hint = _OLD_CLIENT if self.client is self.request.client else ""
            raise UpstreamFailed(
                f"the user did not sign in within {SIGN_IN_TIMEOUT / 60:g} minutes{hint}"
            ) from None
        form = {
            "grant_type": "authorization_code",
            "code": self._code_of(answer),
            "redirect_uri": self.callback.redirect_uri,
            "code_verifier": self.pkce.verifier,
            **named_resource(self.request.oauth, self.found.resource),
        }
        try:
            return await request_tokens(self.http, self.found.server.token_endpoint, self.client, form)
        except GrantRefused as refusal:
            raise GrantRefused(f"the sign-in did not succeed: {refusal}", code=refusal.code) from None
        except TransientFailure as failure:
            # Not transient for the caller: the code may be used up, and the user has already signed in.
            raise UpstreamFailed(f"the sign-in did not succeed: {failure}") from None

    def _code_of(self, answer: CallbackAnswer) -> str:
        """The authorization code. Raises UpstreamFailed for the answer of another server, and GrantRefused for a refusal."""
        server = self.found.server
        # This check comes first, because even an error of another server means nothing (RFC 9207, section 2.4).
        if answer.iss != server.issuer and (
            answer.iss is not None or server.authorization_response_iss_parameter_supported
        ):
            raise UpstreamFailed(
                "the answer to the sign-in came from another authorization server than "
                f"{address.shown(server.issuer)} (RFC 9207)"
            )
        if answer.error is not None or answer.code is None:
            words = words_of(answer.error, answer.description, self.request.hidden)
            said = f"{words or 'no reason given'}{advice_for(words)}"
            endpoint = address.shown(server.authorization_endpoint)
            text = f"the sign-in was refused by its authorization endpoint {endpoint} ({said})"
            raise GrantRefused(text, code=answer.error or "")
        return answer.code


async def _client(
    http: httpx.AsyncClient,
    request: SignInRequest,
    found: Discovered,
    redirect_uri: str,
    scope: str | None,
    known: ClientRegistration | None,
) -> ClientRegistration:
    if request.client_id is not None:
        return configured_client(request.client_id, request.oauth, found.server)
    if known is not None and known.redirect_uri == redirect_uri and covers(known, scope):
        return known
    return await register(http, found.server, redirect_uri, scope, request.hidden)


def _port_of(client: ClientRegistration | None) -> int:
    """The port of a registration, because an authorization server may insist on it; 0 without one."""
    if client is None or client.redirect_uri is None:
        return 0
    return urlsplit(client.redirect_uri).port or 0
