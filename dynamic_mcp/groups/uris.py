"""Equivalent spellings of a URI (RFC 3986, section 6.2). Libraries of clients change the spelling: they encode a space, for example."""

from __future__ import annotations

import re
from functools import lru_cache

#: What two spellings of one URI can differ in: characters that have to be encoded, and an encoded one (RFC 3986, section 6.2.2).
_VARIANT = re.compile(r"%[0-9a-fA-F]{2}|[^-A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%]+")
_UNRESERVED = re.compile(r"[-A-Za-z0-9._~]")
#: the scheme, and the authority if there is one
_BEGINNING = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?://[^/?#]*)?")
_DEFAULT_PORTS = {"http:": ":80", "https:": ":443", "ws:": ":80", "wss:": ":443", "ftp:": ":21"}
#: The longest URI that has other spellings here, because each kilobyte takes a fifth of a millisecond.
MAX_NORMAL = 4096
#: The longest URI that is remembered with its normal form.
_MAX_REMEMBERED = 1024


def normal_text(text: str) -> str:
    """The text with the same spelling of each character: encoded where a URI needs that, and nowhere else."""
    return _VARIANT.sub(_spelled, text)


def with_lower_beginning(uri: str) -> str:
    """The URI with its scheme and its authority in lower case. In a template, an expression may follow them."""
    return uri if (found := _BEGINNING.match(uri)) is None else found[0].lower() + uri[found.end() :]


def normal_uri(uri: str) -> str:
    """The same text for equivalent URIs. A URI beyond ``MAX_NORMAL`` characters is equivalent to no other one."""
    if len(uri) > MAX_NORMAL:
        return uri
    return _remembered(uri) if len(uri) <= _MAX_REMEMBERED else _normal(uri)


def _normal(uri: str) -> str:
    uri = normal_text(uri)
    if (found := _BEGINNING.match(uri)) is None:
        return uri
    beginning, rest = found[0].lower(), uri[found.end() :]
    scheme, slashes, authority = beginning.partition("//")
    if not slashes:
        return beginning + rest
    authority = authority.removesuffix(":").removesuffix(_DEFAULT_PORTS.get(scheme, ":"))
    return f"{scheme}//{authority}{rest if rest.startswith('/') else '/' + rest}"


_remembered = lru_cache(maxsize=1024)(_normal)


def _spelled(found: re.Match[str]) -> str:
    variant = found[0]
    return _decoded(variant) if variant[0] == "%" else "%" + variant.encode(errors="replace").hex("%").upper()


@lru_cache(maxsize=1024)
def _decoded(encoded: str) -> str:
    character = chr(int(encoded[1:], 16))
    return character if _UNRESERVED.fullmatch(character) else encoded.upper()
