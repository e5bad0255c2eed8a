"""What an import keeps of a registered OAuth client."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from dynamic_mcp.commands.importing.entries import convert
from dynamic_mcp.commands.importing.references import References
from dynamic_mcp.config.load import parse


@pytest.mark.parametrize(
    ("oauth", "entry", "note"),
    [
        (
            {"clientId": "a", "clientSecret": "${env:S}", "callbackPort": 3118},
            {
                "oauth_client_id": "a",
                "oauth": {"client_secret": "${S}", "redirect_uri": "http://localhost:3118/callback"},
            },
            None,
        ),
        (
            {"client_id": "a", "redirectUri": "http://127.0.0.1:1/cb", "scope": "x y"},
            {
                "oauth_client_id": "a",
                "oauth_scopes": ["x", "y"],
                "oauth": {"redirect_uri": "http://127.0.0.1:1/cb"},
            },
            None,
        ),
        (
            {"clientId": "a", "redirectUrl": "https://e.org/cb"},
            {"oauth_client_id": "a"},
            "only on this machine",
        ),
        *(
            ({"clientId": "a", "redirectUri": uri}, {"oauth_client_id": "a"}, "without a query")
            for uri in (
                "http://localhost:3118/callback?app=1",
                "http://localhost:3118/callback#x",
                "http://u@localhost/callback",
                "http://localhost:${PORT}/callback",
            )
        ),
        ({"clientSecret": "canary"}, {}, "there is no client id for it"),
        ({"clientId": "a", "callbackPort": True}, {"oauth_client_id": "a"}, "oauth.callbackPort"),
        ({"clientId": "a", "clientSecret": 5}, {"oauth_client_id": "a"}, "oauth.clientSecret"),
    ],
)
def test_oauth_client(oauth: dict[str, Any], entry: dict[str, Any], note: str | None) -> None:
    kinds = frozenset({"dollar-env"})
    result = convert(
        "s",
        {"url": "https://e.org/mcp", "oauth": oauth},
        lambda note: References(kinds, Path("/p"), Path("/h"), note),
        None,
    )

    assert result.entry == {"url": "https://e.org/mcp", **entry}
    assert note is None or any(note in one for one in result.notes)
    assert "canary" not in "".join(result.notes)
    config = msgspec.json.encode({"mcpServers": {"s": {"description": "d", **result.entry}}})
    assert parse(config, "f", {"S": "x"}).servers
