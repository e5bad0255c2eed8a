"""A plain OAuth client for the tests, over HTTP."""

from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from mock_servers.oauth_script import CLIENT
from mock_servers.remote.oauth.token_registry import challenge_of

from ..driver import RemoteMockDriver, Response, json_of

VERIFIER = "v" * 43


CALLBACK = "http://127.0.0.1:9/callback"


SERVER = "/.well-known/oauth-authorization-server"


def authorize(mock: RemoteMockDriver, **changes: str | None) -> dict[str, str]:
    """The query of the redirect, or the JSON of a refusal that does not redirect."""
    params = {
        "response_type": "code",
        "client_id": CLIENT,
        "redirect_uri": CALLBACK,
        "state": "s",
        "code_challenge": challenge_of(VERIFIER),
        "code_challenge_method": "S256",
        **changes,
    }
    query = urlencode({name: value for name, value in params.items() if value is not None})
    response = mock.request("GET", f"/authorize?{query}")
    if response.status != 302:
        assert response.status == 400
        return {"refused": json_of(response)["error"]}
    location = urlsplit(response.headers["Location"])
    assert location.geturl().startswith(f"{CALLBACK}?") or changes.get("redirect_uri")
    return dict(parse_qsl(location.query))


def ask_token(mock: RemoteMockDriver, **params: str) -> Response:
    body = urlencode({"client_id": CLIENT, **params}).encode()
    return mock.request("POST", "/token", body, Content_Type="application/x-www-form-urlencoded")


def exchange(mock: RemoteMockDriver, code: str, /, **changes: str) -> dict[str, Any]:
    params = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK}
    return json_of(ask_token(mock, **{**params, "code_verifier": VERIFIER, **changes}))


def refresh(mock: RemoteMockDriver, token: str, **more: str) -> dict[str, Any]:
    return json_of(ask_token(mock, grant_type="refresh_token", refresh_token=token, **more))


def status_with(mock: RemoteMockDriver, token: str, tool: str = "echo") -> int:
    return mock.call(tool, Authorization=f"Bearer {token}").status
