"""The answer of a token endpoint (RFC 6749, sections 5.1 and 5.2), also of endpoints that are not by the book.

Some endpoints answer with another status of success, with a form instead of JSON, with a byte order mark, or with an error and status
200. Their answer may also have a lifetime as text or 0, a list of scopes, or no token type.
"""

from __future__ import annotations

import math
import re
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from dynamic_mcp.oauth.request import decode
from dynamic_mcp.oauth.server_words import entra_number

_CODE = re.compile(r"[a-z0-9_.-]{1,40}", re.IGNORECASE)
#: The first members of forms in the field.
_FORM_BEGINS = (b"access_token=", b"error=", b"token_type=", b"expires_in=", b"scope=", b"refresh_token=")
_MAX_FIELDS = 50
#: Seconds in a hundred years. The expiry of a token that lives longer may be no valid date.
_MAX_LIFETIME = 100 * 365 * 86400.0
#: Error codes for a failure that may pass (RFC 6749, section 4.1.2.1; RFC 8628, section 3.5).
_PASSING = frozenset({"server_error", "temporarily_unavailable", "slow_down"})


class TokenAnswer(msgspec.Struct):
    """What an answer says; members of a wrong type count as missing."""

    access_token: str | None = None
    token_type: str = ""
    #: seconds; None if unknown
    lifetime: float | None = None
    refresh_token: str | None = None
    scope: str | None = None
    #: the error code, or "" if it does not look like a code; no other text of the server is shown
    code: str = ""
    is_error: bool = False
    #: the number of the error, if the words of the server have one of Entra ID
    entra_number: str = ""

    @property
    def may_pass(self) -> bool:
        """Whether the same request may succeed later."""
        return self.code in _PASSING


class _Members(msgspec.Struct):
    access_token: Any = None
    token_type: Any = None
    expires_in: Any = None
    refresh_token: Any = None
    scope: Any = None
    error: Any = None
    error_description: Any = None


def read_answer(body: bytes) -> TokenAnswer:
    """Read the body of an answer. Raises Unreadable."""
    form = _form_of(body)
    members = decode(body, _Members) if form is None else msgspec.convert(form, _Members)
    code = members.error if isinstance(members.error, str) else ""
    return TokenAnswer(
        access_token=members.access_token if isinstance(members.access_token, str) else None,
        token_type=_text(members.token_type) or "",
        lifetime=_lifetime(members.expires_in),
        refresh_token=_text(members.refresh_token),
        scope=_scope(members.scope),
        code=code if _CODE.fullmatch(code) else "",
        is_error=bool(members.error),
        entra_number=entra_number(members.error_description),
    )


def _form_of(body: bytes) -> dict[str, str] | None:
    """The members of a form; None if the body is none."""
    if not body.strip().lower().startswith(_FORM_BEGINS):
        return None
    try:
        return dict(parse_qsl(body.strip().decode("ascii"), max_num_fields=_MAX_FIELDS))
    except ValueError:
        return None


def _text(value: Any) -> str | None:
    return value or None if isinstance(value, str) else None


def _scope(value: Any) -> str | None:
    if isinstance(value, list):
        value = " ".join(part for part in value if isinstance(part, str))
    return _text(value)


def _lifetime(value: Any) -> float | None:
    """Seconds. Zero counts as unknown: a server that sends it for a token without an end would never be usable."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) and 0 < seconds <= _MAX_LIFETIME else None
