"""Legitimate designs: how a proxy signs in."""

from __future__ import annotations

import re
import zlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import httpx

from conformance.mutants import legitimate, replace
from conformance.mutants.oauth_callback import states_of_callbacks
from conformance.mutants.oauth_discovery import names_another_issuer
from conformance.mutants.oauth_signin import alter_authorization_requests, alter_token_requests, without
from dynamic_mcp.oauth import callback, request
from dynamic_mcp.oauth.authorization import Authorization
from dynamic_mcp.oauth.callback import Callback

_NOWHERE = """
[absent]
OAUTH = "it signs in nowhere"
TOK = "it keeps no tokens"
"""


@legitimate("SEC-001", "SEC-004", "SEC-023", "HARD-003", "HARD-005", profile=_NOWHERE)
def signs_in_nowhere() -> None:
    """A server that requires a token has failed."""

    async def refused(
        self: Authorization, status: int, bearer: str | None, challenge: str, kind: str
    ) -> bool:
        return False

    replace(Authorization.handle_refusal, refused)


@legitimate(
    "OAUTH-001",
    "OAUTH-012",
    "OAUTH-013",
    "OAUTH-014",
    "OAUTH-020",
    "OAUTH-022",
    "OAUTH-028",
    "SEC-003",
    "SEC-011",
)
def has_one_callback_port() -> None:
    """The same for all servers; while it is taken, another one."""
    right = callback.listening

    def listening(
        server_name: str, state: str, redirect_uri: str | None = None, preferred: int = 0
    ) -> AbstractAsyncContextManager[Callback]:
        return right(server_name, state, redirect_uri, preferred or 33418)

    replace(right, listening)


@legitimate("OAUTH-012", "OAUTH-013", "OAUTH-014", "OAUTH-028")
def has_a_callback_port_for_each_server() -> None:
    """The same at each sign-in; RFC 8252 lets the client choose the port, and nothing forbids the same choice."""
    right = callback.listening

    def listening(
        server_name: str, state: str, redirect_uri: str | None = None, preferred: int = 0
    ) -> AbstractAsyncContextManager[Callback]:
        return right(
            server_name, state, redirect_uri, preferred or 20000 + zlib.crc32(server_name.encode()) % 10000
        )

    replace(right, listening)


@legitimate("OAUTH-001", "OAUTH-013", "OAUTH-014")
def listens_at_one_address_of_localhost() -> None:
    """A browser tries the other address of the name too, and goes on to this one."""
    right = callback.listening

    @asynccontextmanager
    async def listening(
        server_name: str, state: str, redirect_uri: str | None = None, preferred: int = 0
    ) -> AsyncIterator[Callback]:
        async with right(server_name, state, redirect_uri, preferred) as found:
            if redirect_uri is None:
                found.redirect_uri = found.redirect_uri.replace("127.0.0.1", "localhost")
            yield found

    replace(right, listening)


@legitimate("OAUTH-001", "OAUTH-009", "OAUTH-011", "OAUTH-014", "OAUTH-028")
def protects_its_sign_ins_with_pkce_alone() -> None:
    """The authorization request has no `state`. RFC 9700 (section 2.1) allows this with PKCE."""
    judge, states = Callback.judge, states_of_callbacks()

    def accept(self: Callback, method: str, target: str) -> tuple[int, str | None]:
        path, _, query = target.partition("?")
        others = [pair for pair in query.split("&") if not pair.startswith("state=")]
        return judge(self, method, f"{path}?{'&'.join([*others, f'state={states[self]}'])}")

    alter_authorization_requests(lambda url: re.sub(r"&state=[^&]*", "", url))
    replace(judge, accept)


@legitimate("OAUTH-001", "OAUTH-014", "OAUTH-017")
def leaves_the_redirect_uri_out_of_the_exchange() -> None:
    """As OAuth 2.1 section 10.2 says."""
    alter_token_requests("authorization_code", without("redirect_uri"))


@legitimate("OAUTH-005", "OAUTH-006")
def looks_further_after_metadata_of_another_issuer() -> None:
    """RFC 8414 (section 3.3) forbids to use these metadata, and not to use others."""
    right = request.fetch

    async def fetch(http: httpx.AsyncClient, what: str, url: str) -> tuple[int, bytes]:
        status, body = await right(http, what, url)
        return (404, b"") if names_another_issuer(url, body) else (status, body)

    replace(right, fetch)
