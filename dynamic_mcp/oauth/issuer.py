"""Whether two texts name one authorization server."""

from __future__ import annotations


def is_same_issuer(one: str, other: str) -> bool:
    """Whether two texts name one issuer: they are equal, but for a final slash after the host."""
    return _without_slash(one) == _without_slash(other)


def _without_slash(issuer: str) -> str:
    """An issuer without the slash of an empty path, which the library of many servers adds."""
    scheme, separator, rest = issuer.partition("://")
    is_bare = separator and rest.endswith("/") and not set(rest[:-1]) & set("/?#")
    return f"{scheme}://{rest[:-1]}" if is_bare else issuer
