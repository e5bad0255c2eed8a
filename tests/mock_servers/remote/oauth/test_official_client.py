"""The client of the official SDK signs in to the protected mock."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import anyio
import httpx2
import pytest
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthToken,
)
from pydantic import AnyUrl

from mock_servers.oauth_script import OAuth
from mock_servers.script import Script

from ..driver import remote
from .driver import CALLBACK


@dataclass
class StorageAndUser:
    """The storage of the SDK's client, and a user who approves at once."""

    tokens: OAuthToken | None = None
    client: OAuthClientInformationFull | None = None
    answer: dict[str, str] = field(default_factory=dict)

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info

    async def visit(self, url: str) -> None:
        async with httpx2.AsyncClient() as browser:
            location = (await browser.get(url)).headers["Location"]
        self.answer = dict(parse_qsl(urlsplit(location).query))

    async def wait_for_callback(self) -> AuthorizationCodeResult:
        return AuthorizationCodeResult(**self.answer)


@asynccontextmanager
async def official_client(url: str, storage: StorageAndUser) -> AsyncIterator[Client]:
    metadata = OAuthClientMetadata(
        client_name="test", redirect_uris=[AnyUrl(CALLBACK)], token_endpoint_auth_method="none"
    )
    auth = OAuthClientProvider(url, metadata, storage, storage.visit, storage.wait_for_callback)
    with anyio.fail_after(30):
        async with (
            httpx2.AsyncClient(auth=auth) as http,
            Client(streamable_http_client(url, http_client=http), mode="legacy") as client,
        ):
            yield client


@pytest.mark.parametrize(
    "oauth",
    [
        OAuth(registration=True),
        OAuth(registration=True, own_origin=True, issuer_path="/tenant"),
        OAuth(registration=True, own_origin=True, server_metadata=["/.well-known/openid-configuration"]),
        OAuth(registration=True, resource_metadata=["/custom/prm.json"]),
        OAuth(
            registration=True,
            resource_metadata=["/.well-known/oauth-protected-resource"],
            challenges=["Bearer"],
        ),
        OAuth(registration=True, resource_metadata=[]),
        OAuth(registration=True, resource_required=True),
        OAuth(
            registration=True,
            iss="$issuer",
            server_fields={"authorization_response_iss_parameter_supported": True},
        ),
    ],
    ids=["default", "tenant", "openid", "custom", "root", "legacy", "resource", "iss"],
)
async def test_signs_in(tmp_path: Path, oauth: OAuth) -> None:
    with remote(tmp_path, "http", Script(oauth=oauth)) as mock:
        async with official_client(mock.url, StorageAndUser()) as client:
            called = await client.call_tool("echo", {"x": 1})
        assert called.structured_content == {"arguments": {"x": 1}}
        (registered,) = mock.events("register")
        (authorized,) = mock.events("authorize")
        (exchanged,) = mock.events("token")
        assert [entry.data["problem"] for entry in (registered, authorized, exchanged)] == [None] * 3
        assert dict(exchanged.data["params"])["code"] == authorized.data["issued"]["code"]


@pytest.mark.slow
async def test_refreshes_an_expired_token(tmp_path: Path) -> None:
    oauth = OAuth(registration=True, lifetimes=[1, 3600])
    storage = StorageAndUser()
    with remote(tmp_path, "http", Script(oauth=oauth)) as mock:
        async with official_client(mock.url, storage) as client:
            await anyio.sleep(1.1)
            assert not (await client.call_tool("echo", {})).is_error
        grants = [dict(entry.data["params"])["grant_type"] for entry in mock.events("token")]
        assert grants == ["authorization_code", "refresh_token"]
        assert storage.tokens and storage.tokens.refresh_token
        assert storage.tokens.refresh_token.startswith("refresh-2-")


async def test_steps_up_to_more_scopes(tmp_path: Path) -> None:
    challenges = ['Bearer scope="a", resource_metadata="$metadata"']
    oauth = OAuth(registration=True, tool_scopes={"echo": "b"}, challenges=challenges)
    with remote(tmp_path, "http", Script(oauth=oauth)) as mock:
        async with official_client(mock.url, StorageAndUser()) as client:
            assert not (await client.call_tool("echo", {})).is_error
        scopes = [dict(entry.data["params"])["scope"] for entry in mock.events("authorize")]
        assert scopes[0] == "a"
        assert set(scopes[1].split()) == {"a", "b"}
