"""What a server says about the authorization that it wants (RFC 9110, section 11.6.1; RFC 6750, section 3; RFC 9728, section 5.1)."""

from __future__ import annotations

import re

import msgspec

_WORD = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PARAMETER = re.compile(rf'\s*,?\s*({_WORD})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_WORD}|[^\s,]+))')


class Challenge(msgspec.Struct, frozen=True):
    """What a 401 or 403 says about the authorization that it wants."""

    resource_metadata: str | None = None
    scope: str | None = None
    error: str | None = None


def challenge_of(header: str | None) -> Challenge:
    """The Bearer challenge among those of a ``WWW-Authenticate`` header (RFC 9110, section 11.6.1)."""
    found: dict[str, str] = {}
    text = header or ""
    start = re.search(r"(?:^|,|\s)bearer(?:\s+|$)", text, re.IGNORECASE)
    at = start.end() if start else len(text)
    while (parameter := _PARAMETER.match(text, at)) is not None:
        name, quoted, plain = parameter.groups()
        found.setdefault(name.lower(), plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted))
        at = parameter.end()
    return Challenge(found.get("resource_metadata"), found.get("scope"), found.get("error"))
