"""The ``WWW-Authenticate`` header of a server (RFC 9110, section 11.6.1; RFC 6750, section 3; RFC 9728, section 5.1)."""

from __future__ import annotations

import re

import msgspec

_WORD = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_GAP = re.compile(r"[\s,]*")
_PARAMETER = re.compile(rf'({_WORD})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"=][^\s,"]*)(?=[\s,]|$))', re.DOTALL)
#: A scheme, the single token of some schemes ("Negotiate YII=="), or anything else.
_SCHEME = re.compile(rf"({_WORD})(?=[\s,]|$)")
_OTHER = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s,]+', re.DOTALL)


class Challenge(msgspec.Struct, frozen=True):
    """The Bearer challenge of a 401 or 403."""

    resource_metadata: str | None = None
    scope: str | None = None
    error: str | None = None
    #: the level of the server that sent it (``reach.AddressLevel``); None if unknown
    level: int | None = None


def challenge_of(header: str | None) -> Challenge:
    """The first Bearer challenge of a ``WWW-Authenticate`` header; text in quotes never counts as a challenge."""
    text, at = header or "", 0
    found: dict[str, str] = {}
    in_bearer = seen = False
    while (at := _end(_GAP.match(text, at), at)) < len(text):
        if parameter := _PARAMETER.match(text, at):
            name, quoted, plain = parameter.groups()
            if in_bearer:
                value = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL)
                found.setdefault(name.lower(), value)
            at = parameter.end()
        elif scheme := _SCHEME.match(text, at):
            in_bearer = scheme[1].lower() == "bearer" and not seen
            seen = seen or in_bearer
            at = scheme.end()
        else:
            at = _end(_OTHER.match(text, at), len(text))
    return Challenge(found.get("resource_metadata"), found.get("scope"), found.get("error"))


def _end(match: re.Match[str] | None, otherwise: int) -> int:
    return otherwise if match is None else match.end()
