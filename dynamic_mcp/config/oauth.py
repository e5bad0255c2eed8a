"""The ``oauth`` table of a server: how the proxy is known at the authorization server, and what that server needs.

``oauth_client_id``, ``oauth_client_secret`` and ``oauth_scopes`` beside the table are short forms of three of its members.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Literal, TypeAlias
from urllib.parse import urlsplit

import msgspec

from dynamic_mcp.config.expand import Expander, beside
from dynamic_mcp.config.model import OAuthSettings, SigningKey
from dynamic_mcp.config.places import Path, text_of
from dynamic_mcp.origin import is_loopback
from dynamic_mcp.secret import Secret

#: The path of the callback if only its port is configured.
CALLBACK_PATH = "/oauth/callback"
#: Parameters of the authorization request that keep a sign-in safe, or have a setting of their own.
OWN_PARAMETERS = frozenset(
    {
        "response_type",
        "client_id",
        "redirect_uri",
        "state",
        "code_challenge",
        "code_challenge_method",
        "scope",
        "resource",
        "response_mode",
        "request",
        "request_uri",
    }
)
#: The URL of an authorization server.
ISSUER = re.compile(r"https?://[^/?#\\@\s]+(/[^?#\s]*)?")

_Port: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=65535)]


class KeyEntry(msgspec.Struct, forbid_unknown_fields=True):
    """``private_key_jwt`` in the file."""

    file: str | None = None
    key: str | None = None
    algorithm: Literal["RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA"] | None = None
    key_id: str | None = None


class OAuthEntry(msgspec.Struct, forbid_unknown_fields=True):
    """``oauth`` in the file."""

    client_id: str | None = None
    client_secret: str | None = None
    private_key_jwt: KeyEntry | None = None
    grant: Literal["authorization_code", "client_credentials"] = "authorization_code"
    scopes: list[str] = []
    redirect_port: _Port | None = None
    redirect_uri: str | None = None
    resource: bool | str = True
    authorization_parameters: dict[str, str] = {}
    issuer: str | None = None
    assume_pkce: bool = False


class ShortForms(msgspec.Struct):
    """The members beside the table."""

    client_id: str | None
    client_secret: str | None
    scopes: list[str]


class Converted(msgspec.Struct):
    """The settings of both places, expanded."""

    client_id: str | None
    scopes: tuple[str, ...]
    oauth: OAuthSettings


#: Takes the problem, and the members that lead to it.
Wrong: TypeAlias = Callable[..., None]


def oauth(
    entry: OAuthEntry, short: ShortForms, path: Path, expand: Expander, wrong: Wrong, file: str
) -> Converted:
    """Merge and expand both places; ``path`` is that of the server in ``file``. ``wrong`` gets each mistake."""
    for field in ("client_id", "client_secret", "scopes"):
        if getattr(entry, field) and getattr(short, field):
            wrong(f"is there twice, also as oauth.{field}; remove one", f"oauth_{field}")

    def text(name: str, value: str | None, beside: str | None = None) -> str | None:
        place = (*path, f"oauth_{name}") if value is None else (*path, "oauth", name)
        value = beside if value is None else value
        return None if value is None else expand(value, text_of(place))

    client_id = text("client_id", entry.client_id, short.client_id)
    secret = text("client_secret", entry.client_secret, short.client_secret)
    result = OAuthSettings(
        client_secret=None if secret is None else Secret(secret),
        key=_key(entry.private_key_jwt, path, expand, wrong, file),
        grant=entry.grant,
        redirect_uri=_redirect_uri(entry, wrong),
        resource=_resource(entry.resource, path, expand, wrong),
        parameters=_parameters(entry.authorization_parameters, path, expand, wrong),
        issuer=_issuer(text("issuer", entry.issuer), wrong),
        assume_pkce=entry.assume_pkce,
    )
    if secret == "":
        wrong("is empty; write the secret as ${NAME}, or remove it", *_place("client_secret", entry))
    if result.client_secret is not None and result.key is not None:
        wrong("has both 'client_secret' and 'private_key_jwt'; a client proves itself in one way", "oauth")
    if client_id is None and (result.client_secret is not None or result.key is not None):
        wrong("has a secret or a key, and no 'client_id' to which it belongs", "oauth")
    if result.is_machine and result.client_secret is None and result.key is None:
        wrong(
            "'client_credentials' needs 'client_id', and 'client_secret' or 'private_key_jwt'",
            "oauth",
            "grant",
        )
    # One variable may hold several scopes, or none.
    places = ("oauth", "scopes") if entry.scopes else ("oauth_scopes",)
    scopes = tuple(
        scope
        for n, written in enumerate(entry.scopes or short.scopes)
        for scope in expand(written, text_of((*path, *places, n))).split()
    )
    return Converted(client_id, scopes, result)


def _place(name: str, entry: OAuthEntry) -> tuple[str, ...]:
    return (f"oauth_{name}",) if getattr(entry, name) is None else ("oauth", name)


def _key(
    entry: KeyEntry | None, path: Path, expand: Expander, wrong: Wrong, config: str
) -> SigningKey | None:
    if entry is None:
        return None
    place = (*path, "oauth", "private_key_jwt")
    if (not entry.file) == (not entry.key):
        wrong(
            "needs either 'file' or 'key': where the private key is, or its PEM text",
            "oauth",
            "private_key_jwt",
        )
    return SigningKey(
        pem=None if entry.key is None else Secret(expand(entry.key, text_of((*place, "key")))),
        file=None if not entry.file else beside(config, expand.path(entry.file, text_of((*place, "file")))),
        algorithm=entry.algorithm,
        key_id=None if entry.key_id is None else expand(entry.key_id, text_of((*place, "key_id"))),
    )


def _redirect_uri(entry: OAuthEntry, wrong: Wrong) -> str | None:
    if entry.redirect_uri is None:
        port = entry.redirect_port
        return None if port is None else f"http://127.0.0.1:{port}{CALLBACK_PATH}"
    if entry.redirect_port is not None:
        wrong("has both 'redirect_port' and 'redirect_uri'; remove one", "oauth")
    if not is_redirect_uri(entry.redirect_uri):
        wrong(
            "is not an address on this machine; write it as it is registered, as in 'http://localhost:3118/callback'",
            "oauth",
            "redirect_uri",
        )
    return entry.redirect_uri


def is_redirect_uri(uri: str) -> bool:
    """Whether the proxy can take the answer of a sign-in at this address: on this machine, without a query."""
    try:
        parts = urlsplit(uri)
        return (
            parts.scheme == "http"
            and is_loopback(parts.hostname or "")
            and parts.port != 0
            and "@" not in parts.netloc
            and not parts.query
            and not parts.fragment
        )
    except ValueError:
        return False


def _resource(value: bool | str, path: Path, expand: Expander, wrong: Wrong) -> bool | str:
    if not isinstance(value, str):
        return value
    if not value:
        wrong("is empty; write false to leave the parameter out", "oauth", "resource")
    return expand(value, text_of((*path, "oauth", "resource")))


def _parameters(
    values: dict[str, str], path: Path, expand: Expander, wrong: Wrong
) -> tuple[tuple[str, str], ...]:
    for name in values:
        if name in OWN_PARAMETERS:
            wrong(
                f"{name!r} is set by the proxy itself; remove it",
                "oauth",
                "authorization_parameters",
                name=name,
            )
    place = (*path, "oauth", "authorization_parameters")
    return tuple((name, expand(value, text_of((*place, name)))) for name, value in values.items())


def _issuer(value: str | None, wrong: Wrong) -> str | None:
    # A reference that is left may stand for anything.
    if value is not None and "${" not in value and not ISSUER.fullmatch(value):
        wrong(
            "is not the address of an authorization server, as in 'https://login.example'", "oauth", "issuer"
        )
    return value
