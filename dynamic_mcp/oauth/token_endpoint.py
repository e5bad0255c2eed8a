"""Requests to a token endpoint, with a code or a refresh token (RFC 6749, sections 4.1.3 and 6)."""

from __future__ import annotations

import re
import time

import httpx
import msgspec

from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.oauth.registration import authenticate
from dynamic_mcp.oauth.request import TransientFailure, Unreadable, decode, send_request
from dynamic_mcp.oauth.tokens import ClientRegistration, Tokens, expiry

_CODE = re.compile(r"[a-z0-9_.-]{1,40}", re.IGNORECASE)
#: Seconds in a hundred years. The expiry of a token that lives longer may be no valid date.
_MAX_LIFETIME = 100 * 365 * 86400.0


class GrantRefused(UpstreamFailed):
    """The token endpoint refuses this grant, now and later. ``code`` is its error code (RFC 6749, section 5.2)."""

    def __init__(self, message: str, stderr_tail: str = "", *, code: str = "") -> None:
        super().__init__(message, stderr_tail)
        self.code = code


class _Answer(msgspec.Struct):
    access_token: str
    token_type: str = "Bearer"  # noqa: S105  # the name of a scheme
    expires_in: float | str | None = None
    refresh_token: str | None = None
    scope: str | None = None


class _Refusal(msgspec.Struct):
    error: str = ""


async def request_tokens(
    http: httpx.AsyncClient, endpoint: str, client: ClientRegistration, form: dict[str, str]
) -> Tokens:
    """Send one token request; the tokens, without the members that only the caller knows. Raises TransientFailure, GrantRefused."""
    form, basic = authenticate(client, form)
    sent_at = time.time()
    status, body = await send_request(http, "its token endpoint", "POST", endpoint, form=form, basic=basic)
    if status != 200:
        code = _error_code(body)
        shown = code or f"HTTP {status}"
        raise GrantRefused(f"its token endpoint refuses the request ({shown})", code=code)
    try:
        answer = decode(body, _Answer)
        lifetime = None if answer.expires_in is None else float(answer.expires_in)
    except (Unreadable, ValueError):
        raise TransientFailure("the answer of its token endpoint cannot be read") from None
    if not answer.access_token or answer.token_type.lower() != "bearer":
        raise GrantRefused("its token endpoint gave no bearer token")
    if lifetime is not None and not 0 <= lifetime <= _MAX_LIFETIME:
        lifetime = None
    return Tokens(
        access_token=answer.access_token,
        refresh_token=answer.refresh_token or None,
        expires_at=None if lifetime is None else expiry(sent_at, lifetime),
        lifetime=lifetime,
        scope=answer.scope,
    )


def _error_code(body: bytes) -> str:
    """The error code of a refusal, or "" if it does not look like a code; no other text of the server is shown."""
    try:
        code = decode(body, _Refusal).error
    except Unreadable:
        return ""
    return code if _CODE.fullmatch(code) else ""
