"""Requests to a token endpoint, with a code or a refresh token (RFC 6749, sections 4.1.3 and 6)."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import msgspec

from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.oauth.address import shown
from dynamic_mcp.oauth.registration import authenticate, is_encoded
from dynamic_mcp.oauth.request import TransientFailure, Unreadable, send_request
from dynamic_mcp.oauth.server_words import advice_for
from dynamic_mcp.oauth.token_answer import TokenAnswer, read_answer
from dynamic_mcp.oauth.tokens import ClientRegistration, Tokens, expiry

_WHAT = "its token endpoint"
#: Statuses that are a refusal even with an empty body; many servers refuse a refresh token like that.
_VERDICTS = (400, 401)
#: Refusals of the client rather than of the grant. They use up no code and no refresh token. Some servers take HTTP Basic and a client id
#: in the form for two authentications (invalid_request), and 401 without a code is about the client (RFC 6749, section 5.2).
_ABOUT_THE_CLIENT = frozenset({"invalid_client", "invalid_request", "HTTP 401"})
#: Refusals of the parameter ``resource`` (RFC 8707, section 2; Entra ID).
_ABOUT_THE_RESOURCE = frozenset({"invalid_target", "invalid_resource", "invalid_request"})


class GrantRefused(UpstreamFailed):
    """The authorization server refuses this grant, now and later. ``code`` is its error code (RFC 6749, section 5.2)."""

    def __init__(self, message: str, *, code: str = "", reason: str = "") -> None:
        """``reason`` is the code, or the status of an answer without one."""
        super().__init__(message)
        self.code = code
        self.reason = reason or code

    @property
    def ends_the_grant(self) -> bool:
        """Whether a refresh token has no use any more. Another client, or another ``resource``, does not change that."""
        return self.code not in _ABOUT_THE_CLIENT | _ABOUT_THE_RESOURCE | {"unauthorized_client"}


class NoTokenEndpoint(TransientFailure):
    """What answered is no token endpoint: it is something in between, or the endpoint has moved."""


class _Variant(msgspec.Struct):
    """One form of a token request, and the reasons of a refusal after which this form may succeed."""

    client: ClientRegistration
    form: dict[str, str]
    after: frozenset[str]


async def request_tokens(
    http: httpx.AsyncClient, endpoint: str, client: ClientRegistration, form: dict[str, str]
) -> Tokens:
    """Send a token request. Raises TransientFailure, also NoTokenEndpoint, and GrantRefused.

    After a refusal that is not about the grant, the same request follows in other forms, at most four times. No further one follows as soon
    as the server may have used up the code or the refresh token. The tokens have no members that only the caller knows. Their client is set
    if the endpoint wants another form of authentication.
    """
    try:
        return await _request_once(http, endpoint, client, form)
    except GrantRefused as refusal:
        first = last = refusal
    for variant in _variants(client, endpoint, form):
        if last.reason not in variant.after:
            continue
        try:
            tokens = await _request_once(http, endpoint, variant.client, variant.form)
        except GrantRefused as refusal:
            last = refusal
            if refusal.reason not in _ABOUT_THE_CLIENT | _ABOUT_THE_RESOURCE:
                raise
            continue
        return tokens if variant.client is client else msgspec.structs.replace(tokens, client=variant.client)
    raise first


def _variants(client: ClientRegistration, endpoint: str, form: dict[str, str]) -> Iterator[_Variant]:
    """The other forms of this request that servers want, in the order of the attempts."""
    if form["grant_type"] == "refresh_token" and "resource" in form:
        # Entra ID takes it in the sign-in, and refuses it here. The refresh token is for this resource alone.
        yield _Variant(client, {n: v for n, v in form.items() if n != "resource"}, _ABOUT_THE_RESOURCE)
    for other in _other_clients(client, endpoint):
        yield _Variant(other, form, _ABOUT_THE_CLIENT)


def _other_clients(client: ClientRegistration, endpoint: str) -> Iterator[ClientRegistration]:
    """Other ways to authenticate, which some servers want."""
    if client.method == "client_secret_basic" and client.client_secret is not None:
        if client.id_in_form:
            yield msgspec.structs.replace(client, id_in_form=False)
        if client.is_guess:
            yield msgspec.structs.replace(client, method="client_secret_post")
        # Without percent-encoding, an id with a colon would end there.
        if not client.is_raw and is_encoded(client) and ":" not in client.client_id:
            yield msgspec.structs.replace(client, is_raw=True)
    if client.key is not None and client.audience != endpoint:
        # The issuer is right, and some servers know only the older rule (RFC 7523, section 3).
        yield msgspec.structs.replace(client, audience=endpoint)


def _advice(client: ClientRegistration, answer: TokenAnswer) -> str:
    """What the user can do if the endpoint does not accept a client of the configuration."""
    if client.registered or answer.code not in ("invalid_client", "unauthorized_client"):
        return ""
    if client.method == "none":
        return "; if this client has a secret, write it into the configuration as client_secret"
    return "; check the client_id and its secret or key in the configuration"


async def _request_once(
    http: httpx.AsyncClient, endpoint: str, client: ClientRegistration, form: dict[str, str]
) -> Tokens:
    form, basic = authenticate(client, form)
    sent_at = time.time()
    status, body = await send_request(http, _WHAT, "POST", endpoint, form=form, basic=basic)
    what = f"{_WHAT} ({shown(endpoint)})"
    if 300 <= status < 400:
        raise NoTokenEndpoint(f"{what} answered with a redirect (HTTP {status})")
    is_success = 200 <= status < 300
    try:
        answer = read_answer(body)
    except Unreadable:
        if is_success:
            raise NoTokenEndpoint(f"the answer of {what} cannot be read") from None
        answer = TokenAnswer()
    is_verdict = is_success or answer.is_error or status in _VERDICTS
    if not is_verdict and form["grant_type"] != "authorization_code":
        # It may come from a firewall, a gateway or a proxy. A code is used up either way; tokens would be lost.
        raise NoTokenEndpoint(f"{what} answered with HTTP {status} and no OAuth error")
    if answer.may_pass:
        raise TransientFailure(f"{what} cannot answer now ({answer.code})")
    if answer.is_error or not is_success:
        reason = answer.code or f"HTTP {status}"
        words = ", ".join(filter(None, (reason, answer.entra_number)))
        advice = advice_for(words) or _advice(client, answer)
        raise GrantRefused(f"{what} refuses the request ({words}){advice}", code=answer.code, reason=reason)
    if answer.access_token is None:
        raise TransientFailure(f"the answer of {what} cannot be read")
    if not answer.access_token or answer.token_type.lower() not in ("", "bearer"):
        raise GrantRefused(f"{what} gave no bearer token")
    return Tokens(
        access_token=answer.access_token,
        refresh_token=answer.refresh_token,
        expires_at=None if answer.lifetime is None else expiry(sent_at, answer.lifetime),
        lifetime=answer.lifetime,
        scope=answer.scope,
    )
