"""The two requests to a token endpoint: a code for tokens, and a refresh token for new ones (RFC 6749, sections 4.1.3 and 6)."""

from __future__ import annotations

import re
import time

import httpx
import msgspec

from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.oauth.registration import authenticate
from dynamic_mcp.oauth.request import TransientFailure, Unreadable, ask, read
from dynamic_mcp.oauth.tokens import ClientRegistration, Tokens, expiry

_CODE = re.compile(r"[a-z0-9_.-]{1,40}", re.IGNORECASE)
#: Seconds that a token may live at most for its expiry to be a date (a hundred years).
_MAX_LIFE = 100 * 365 * 86400.0


class GrantRefused(UpstreamFailed):
    """The token endpoint will not take this grant, now or later; ``code`` is its error code (RFC 6749, section 5.2)."""

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
    """Send one token request; the tokens without what only the caller knows. Raises TransientFailure and GrantRefused."""
    form, basic = authenticate(client, form)
    asked_at = time.time()
    status, body = await ask(http, "its token endpoint", "POST", endpoint, form=form, basic=basic)
    if status != 200:
        code = _error_code(body)
        shown = code or f"HTTP {status}"
        raise GrantRefused(f"its token endpoint refuses the request ({shown})", code=code)
    try:
        answer = read(body, _Answer)
        lifetime = None if answer.expires_in is None else float(answer.expires_in)
    except (Unreadable, ValueError):
        raise TransientFailure("the answer of its token endpoint cannot be read") from None
    if not answer.access_token or answer.token_type.lower() != "bearer":
        raise GrantRefused("its token endpoint gave no bearer token")
    if lifetime is not None and not 0 <= lifetime <= _MAX_LIFE:
        lifetime = None
    return Tokens(
        access_token=answer.access_token,
        refresh_token=answer.refresh_token or None,
        expires_at=None if lifetime is None else expiry(asked_at, lifetime),
        lifetime=lifetime,
        scope=answer.scope,
    )


def _error_code(body: bytes) -> str:
    """The error code of a refusal, if it looks like one: other words of a server are not shown."""
    try:
        code = read(body, _Refusal).error
    except Unreadable:
        return ""
    return code if _CODE.fullmatch(code) else ""
