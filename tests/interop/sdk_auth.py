"""A server that the official SDK protects, and that is its own authorization server. It runs inside the test.

The SDK implements metadata, registration, PKCE, client authentication, the checks of the bearer token and its audience, and revocation.
This module adds the parts of the application: storage, lifetimes, and a user who approves. It works with the SDK 2.x and the last 1.x,
which differ only in the construction of a server.
"""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import uvicorn
from mcp.server.auth.provider import (
    AccessToken,
    AuthorizationCode,
    AuthorizationParams,
    OAuthAuthorizationServerProvider,
    RefreshToken,
    construct_redirect_uri,
)
from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions, RevocationOptions
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from pydantic import AnyHttpUrl
from starlette.types import ASGIApp

SCOPE = "user"


@asynccontextmanager
async def serving(app_at: Callable[[str], ASGIApp]) -> AsyncIterator[str]:
    """Run the application that `app_at` makes for an origin, and yield its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        origin = f"http://127.0.0.1:{listening.getsockname()[1]}"
        server = uvicorn.Server(
            uvicorn.Config(app_at(origin), log_level="error", timeout_graceful_shutdown=1)
        )
        async with anyio.create_task_group() as group:
            group.start_soon(server.serve, [listening])
            try:
                yield f"{origin}/mcp"
            finally:
                server.should_exit = True


def settings(origin: str, *, metadata: bool = True) -> AuthSettings:
    """Settings with every feature on: audience, scope, registration, revocation.

    Without `metadata`, the resource names no authorization server, as in MCP 2025-03-26.
    """
    return AuthSettings(
        issuer_url=AnyHttpUrl(origin),
        resource_server_url=AnyHttpUrl(f"{origin}/mcp") if metadata else None,
        validate_token_resource=metadata,
        required_scopes=[SCOPE],
        client_registration_options=ClientRegistrationOptions(
            enabled=True, valid_scopes=[SCOPE], default_scopes=[SCOPE]
        ),
        revocation_options=RevocationOptions(enabled=True),
    )


@dataclass
class Memory(OAuthAuthorizationServerProvider[AuthorizationCode, RefreshToken, AccessToken]):
    """Keeps everything in memory, and counts sign-ins and renewals."""

    #: the lifetime of an access token in seconds
    lifetime: int = 3600
    #: the resource of every token, instead of the requested one
    audience: str | None = None
    signed_in: int = 0
    renewed: int = 0
    clients: dict[str, OAuthClientInformationFull] = field(default_factory=dict)
    codes: dict[str, AuthorizationCode] = field(default_factory=dict)
    access: dict[str, AccessToken] = field(default_factory=dict)
    refresh: dict[str, RefreshToken] = field(default_factory=dict)

    def forget(self) -> None:
        """Delete everything, as a restart does."""
        for known in (self.clients, self.codes, self.access, self.refresh):
            known.clear()

    async def get_client(self, client_id: str) -> OAuthClientInformationFull | None:
        return self.clients.get(client_id)

    async def register_client(self, client_info: OAuthClientInformationFull) -> None:
        self.clients[client_info.client_id] = client_info

    async def authorize(self, client: OAuthClientInformationFull, params: AuthorizationParams) -> str:
        code = AuthorizationCode(
            code=secrets.token_urlsafe(),
            client_id=client.client_id,
            # Without a requested scope, the registered one is the default (RFC 6749, section 3.3).
            scopes=params.scopes or (client.scope or "").split(),
            expires_at=time.time() + 60,
            code_challenge=params.code_challenge,
            redirect_uri=params.redirect_uri,
            redirect_uri_provided_explicitly=params.redirect_uri_provided_explicitly,
            resource=params.resource,
        )
        self.codes[code.code] = code
        return construct_redirect_uri(str(params.redirect_uri), code=code.code, state=params.state)

    async def load_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: str
    ) -> AuthorizationCode | None:
        return self.codes.get(authorization_code)

    async def exchange_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: AuthorizationCode
    ) -> OAuthToken:
        del self.codes[authorization_code.code]
        self.signed_in += 1
        return self._issue(client, authorization_code.scopes, authorization_code.resource)

    async def load_refresh_token(
        self, client: OAuthClientInformationFull, refresh_token: str
    ) -> RefreshToken | None:
        return self.refresh.get(refresh_token)

    async def exchange_refresh_token(
        self, client: OAuthClientInformationFull, refresh_token: RefreshToken, scopes: list[str]
    ) -> OAuthToken:
        del self.refresh[refresh_token.token]
        self.renewed += 1
        return self._issue(client, scopes, refresh_token.resource)

    async def load_access_token(self, token: str) -> AccessToken | None:
        return self.access.get(token)

    async def revoke_token(self, token: AccessToken | RefreshToken) -> None:
        self.access.pop(token.token, None)
        self.refresh.pop(token.token, None)

    def _issue(
        self, client: OAuthClientInformationFull, scopes: list[str], resource: str | None
    ) -> OAuthToken:
        what: dict[str, Any] = {
            "client_id": client.client_id,
            "scopes": scopes,
            "resource": self.audience or resource,
        }
        access = AccessToken(
            token=secrets.token_urlsafe(), expires_at=int(time.time()) + self.lifetime, **what
        )
        refresh = RefreshToken(token=secrets.token_urlsafe(), **what)
        self.access[access.token], self.refresh[refresh.token] = access, refresh
        return OAuthToken(
            access_token=access.token,
            expires_in=self.lifetime,
            scope=" ".join(scopes),
            refresh_token=refresh.token,
        )
