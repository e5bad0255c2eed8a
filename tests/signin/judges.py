"""Protected servers behind authorization servers that other projects wrote, each as a context that yields where it is."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
from fastmcp import FastMCP
from fastmcp.server.auth import OAuthProxy
from fastmcp.server.auth.auth import ClientRegistrationOptions, RevocationOptions
from fastmcp.server.auth.providers import in_memory
from fastmcp.server.auth.providers.introspection import IntrospectionTokenVerifier
from key_value.aio.stores.memory import MemoryStore
from mcp.server.auth.provider import AccessToken, TokenVerifier
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer
from pydantic import AnyHttpUrl
from starlette.types import ASGIApp

from conformance.official.node import Node
from tests.interop.sdk_auth import serving

#: seconds until an access token expires
LIFETIME = 3
METHODS = "none,client_secret_basic,client_secret_post"
_RESOURCE = ("resource", "resource-secret")


@dataclass(frozen=True)
class Judge:
    """A protected server, and the address at which its authorization server revokes tokens."""

    url: str
    revocation: str
    #: seconds until an access token expires
    lifetime: float = LIFETIME


def hello(name: str) -> str:
    """Say hello."""
    return f"Grüße, {name}"


class Introspection(TokenVerifier):
    """Asks the authorization server about each token (RFC 7662)."""

    def __init__(self, issuer: str) -> None:
        self._endpoint = f"{issuer}/token/introspection"

    async def verify_token(self, token: str) -> AccessToken | None:
        async with httpx.AsyncClient(trust_env=False, auth=_RESOURCE) as http:
            answer = (await http.post(self._endpoint, data={"token": token})).json()
        if not answer["active"]:
            return None
        return AccessToken(
            token=token,
            client_id=answer["client_id"],
            scopes=answer.get("scope", "").split(),
            expires_at=answer["exp"],
            resource=answer["aud"],
        )


@asynccontextmanager
async def oidc_provider(folder: Path, *, path: str = "", methods: str = METHODS) -> AsyncIterator[str]:
    """Run oidc-provider; yields its issuer, which has this path. `methods` are those of the token endpoint."""
    process = await asyncio.create_subprocess_exec(
        Node.find().node,
        str(folder / "oidc_provider.mjs"),
        str(LIFETIME),
        path,
        methods,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "NODE_ENV": "test"},
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        issuer = ""
        while not issuer.startswith("http://"):
            line = await process.stdout.readline()
            assert line, "oidc-provider did not start"
            issuer = line.decode().strip()
        yield issuer
    finally:
        process.stdin.close()
        await process.wait()


@asynccontextmanager
async def sdk_behind_oidc_provider(folder: Path, **options: str) -> AsyncIterator[Judge]:
    """A server of the official SDK that introspects tokens of oidc-provider, which is another origin."""
    async with oidc_provider(folder, **options) as issuer:

        def protected(origin: str) -> ASGIApp:
            settings = AuthSettings(
                issuer_url=AnyHttpUrl(issuer),
                resource_server_url=AnyHttpUrl(f"{origin}/mcp"),
                validate_token_resource=True,
                required_scopes=["user"],
            )
            server = MCPServer("sdk", log_level="ERROR", auth=settings, token_verifier=Introspection(issuer))
            server.add_tool(hello, name="greet")
            return server.streamable_http_app()

        async with serving(protected) as url:
            yield Judge(url, f"{issuer}/token/revocation")


def sdk_behind_tenant(folder: Path) -> AbstractAsyncContextManager[Judge]:
    """The same, where the issuer has a path, and clients have to have a secret."""
    return sdk_behind_oidc_provider(folder, path="/tenant", methods="client_secret_basic")


@asynccontextmanager
async def fastmcp_in_memory(folder: Path) -> AsyncIterator[Judge]:
    """FastMCP's own provider, on the origin of the server."""

    def protected(origin: str) -> ASGIApp:
        auth = in_memory.InMemoryOAuthProvider(
            base_url=origin,
            client_registration_options=ClientRegistrationOptions(enabled=True, valid_scopes=["user"]),
            revocation_options=RevocationOptions(enabled=True),
            required_scopes=["user"],
        )
        return _fastmcp(auth)

    with patch.object(in_memory, "DEFAULT_ACCESS_TOKEN_EXPIRY_SECONDS", LIFETIME):
        async with serving(protected) as url:
            yield Judge(url, url.replace("/mcp", "/revoke"))


@asynccontextmanager
async def fastmcp_proxy(folder: Path) -> AsyncIterator[Judge]:
    """FastMCP's OAuth proxy, which asks for consent and sends the user on to oidc-provider, as to GitHub or Google."""
    async with oidc_provider(folder) as issuer:

        def protected(origin: str) -> ASGIApp:
            id, secret = _RESOURCE
            verifier = IntrospectionTokenVerifier(
                introspection_url=f"{issuer}/token/introspection",
                client_id=id,
                client_secret=secret,
                required_scopes=["user"],
            )
            auth = OAuthProxy(
                upstream_authorization_endpoint=f"{issuer}/auth",
                upstream_token_endpoint=f"{issuer}/token",
                upstream_revocation_endpoint=f"{issuer}/token/revocation",
                upstream_client_id="registered",
                upstream_client_secret="registered-secret",
                token_verifier=verifier,
                base_url=origin,
                client_storage=MemoryStore(),
            )
            return _fastmcp(auth)

        async with serving(protected) as url:
            yield Judge(url, url.replace("/mcp", "/revoke"))


def _fastmcp(auth: Any) -> ASGIApp:
    server = FastMCP("fastmcp", auth=auth)
    server.tool(hello, name="greet")
    app: ASGIApp = server.http_app(path="/mcp")
    return app
