"""What ``check`` shows of values that may be secrets: references, names, and the harmless parts of addresses."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from dynamic_mcp.config.model import RemoteTransport
from dynamic_mcp.origin import origin_of, without_user
from dynamic_mcp.secret import Secret

_REFERENCES_ONLY = re.compile(r"((Bearer|Basic) )?(\$\{[A-Za-z_][A-Za-z0-9_]*\})+")


def word(word: str) -> str:
    """A word of a command line. Of a program in the text of an argument, only the first line is shown."""
    first, *more = word.splitlines() or [""]
    shown = f"{first} ... ({counted('more line', len(more))})" if more else word
    return shown if re.fullmatch(r"[\w@%+=:,./${}-]+", shown) else repr(shown)


def hidden(value: Secret) -> str:
    """A value that consists only of references, or "(hidden)"."""
    text = value.reveal()
    return text if not text or _REFERENCES_ONLY.fullmatch(text) else "(hidden)"


def without_secrets(url: str) -> str:
    """Host and path of an address."""
    try:
        origin_of(url)
        parts = urlsplit(without_user(url))
    except ValueError:
        return "(invalid address)"
    # A reference can stand for the whole beginning, and capitals count in its name.
    origin = f"{parts.scheme}://{parts.netloc}" if parts.scheme or parts.netloc else ""
    return f"{origin}{parts.path}" + ("?(hidden)" if parts.query else "")


def counted(what: str, number: int) -> str:
    """A number with the noun for it, as in "2 lines"."""
    return f"{number} {what}{'s' * (number != 1)}"


def oauth_lines(transport: RemoteTransport) -> dict[str, str]:
    """The settings of a server for signing in that differ from the defaults."""
    oauth = transport.oauth
    key = oauth.key
    shown = {
        "client_id": transport.oauth_client_id,
        "client_secret": None if oauth.client_secret is None else hidden(oauth.client_secret),
        "private_key_jwt": None if key is None else key.file or hidden(key.pem or Secret("")),
        "grant": oauth.grant if oauth.is_machine else None,
        "scopes": " ".join(transport.oauth_scopes) or None,
        "redirect_uri": oauth.redirect_uri,
        "resource": None if oauth.resource is True else str(oauth.resource or "false"),
        "authorization_parameters": ", ".join(name for name, _ in oauth.parameters) or None,
        "issuer": None if oauth.issuer is None else without_secrets(oauth.issuer),
        "assume_pkce": "true (used with a server that does not say that it supports PKCE)"
        if oauth.assume_pkce
        else None,
    }
    return {name: value for name, value in shown.items() if value is not None}
