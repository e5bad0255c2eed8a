"""Converts what tools say about a registered OAuth client: its secret, and the address of its callback."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dynamic_mcp.commands.importing.references import References
from dynamic_mcp.config.oauth import is_redirect_uri

_SECRET = ("clientSecret", "client_secret", "CLIENT_SECRET")
_REDIRECT = ("redirectUri", "redirectUrl", "redirect_uri", "redirect_url")
_PORT = ("callbackPort", "callback_port")


def client_settings(value: dict[str, Any], expand: References, note: Callable[[str], None]) -> dict[str, Any]:
    """The members of the table ``oauth``. Removes what it converts from ``value``."""
    table: dict[str, Any] = {}
    for name in _SECRET:
        if isinstance(value.get(name), str) and value[name]:
            table["client_secret"] = expand(value.pop(name), f"oauth.{name}")
    for name in _PORT:
        port = value.get(name)
        if isinstance(port, int) and not isinstance(port, bool) and 1 <= port <= 65535:
            del value[name]
            # Claude Code and others register this address.
            table["redirect_uri"] = f"http://localhost:{port}/callback"
    for name in _REDIRECT:
        uri = value.get(name)
        if isinstance(uri, str) and is_redirect_uri(uri):
            table["redirect_uri"] = value.pop(name)
        elif isinstance(uri, str):
            del value[name]
            note(
                f"oauth.{name} was left out: the proxy takes the answer only on this machine, at an address without a query, "
                "as in http://localhost:3118/callback"
            )
    return table
