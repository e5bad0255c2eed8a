"""A protected server and its authorization server as respx routes, and the values that appear in them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import msgspec
import respx

from dynamic_mcp.config.model import RemoteTransport
from dynamic_mcp.oauth.authorization import Authorization
from dynamic_mcp.oauth.callback import Callback
from dynamic_mcp.oauth.challenge import Challenge
from dynamic_mcp.oauth.tokens import ClientRegistration, Tokens, expiry
from dynamic_mcp.secret import Secret

URL = "https://mcp.test/public/mcp"
ISSUER = "https://as.test"
RESOURCE_METADATA = "https://mcp.test/.well-known/oauth-protected-resource"
SERVER_METADATA = f"{ISSUER}/.well-known/oauth-authorization-server"
TOKEN = f"{ISSUER}/token"
REGISTER = f"{ISSUER}/register"

#: Secrets that no output may contain.
ACCESS, REFRESH, CODE, KEY = "canary-access", "canary-refresh", "canary-code", "canary-key"

#: Seconds.
DAY = 86400.0

Json = dict[str, object]
#: Makes the authorization of a server, over the token file of the test.
Make = Callable[..., Authorization]


def transport(
    url: str = URL, client_id: str | None = "app", scopes: tuple[str, ...] = (), *headers: str
) -> RemoteTransport:
    """A configured server; ``headers`` are the names of its configured headers."""
    own = tuple((name, Secret("x")) for name in headers)
    return RemoteTransport(Secret(url), own, client_id, scopes)


def server_metadata(**changes: object) -> Json:
    """The metadata of an authorization server, without members that are None."""
    document = {
        "issuer": ISSUER,
        "authorization_endpoint": f"{ISSUER}/authorize?tenant=1",
        "token_endpoint": TOKEN,
        "registration_endpoint": REGISTER,
        "code_challenge_methods_supported": ["S256"],
        **changes,
    }
    return {name: value for name, value in document.items() if value is not None}


def resource_metadata(**changes: object) -> Json:
    """The metadata of the protected server."""
    return {"resource": URL, "authorization_servers": [ISSUER], **changes}


def publish(resource: Json | None = None, server: Json | None = None) -> None:
    """Add routes for both documents, at the first well-known address."""
    address = "https://mcp.test/.well-known/oauth-protected-resource/public/mcp"
    respx.get(address).respond(json=resource or resource_metadata())
    respx.get(SERVER_METADATA).respond(json=server or server_metadata())


def granted(number: int = 1, **changes: object) -> Json:
    """The answer of a token endpoint."""
    return {
        "access_token": f"{ACCESS}-{number}",
        "refresh_token": f"{REFRESH}-{number}",
        "token_type": "Bearer",
        "expires_in": 3600,
        **changes,
    }


def form_of(request: httpx.Request) -> dict[str, str]:
    """The form of a request, in which no name occurs twice."""
    fields = parse_qs(request.content.decode(), keep_blank_values=True, strict_parsing=True)
    assert all(len(values) == 1 for values in fields.values())
    return {name: values[0] for name, values in fields.items()}


def query_of(address: str) -> dict[str, str]:
    """The query of an address, in which no name occurs twice."""
    fields = parse_qs(urlsplit(address).query, keep_blank_values=True, strict_parsing=True)
    assert all(len(values) == 1 for values in fields.values())
    return {name: values[0] for name, values in fields.items()}


async def visit(address: str, data: bytes | None = None) -> str:
    """Request an address on this machine over a plain socket, or send ``data`` there; the whole reply."""
    parts = urlsplit(address)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(data or f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    try:
        async with asyncio.timeout(10):
            return (await reader.read()).decode()
    except ConnectionResetError:
        # The server did not read all of the data.
        return ""
    finally:
        writer.close()


class User:
    """A user with a browser: records the addresses, and gives the same answer at each."""

    def __init__(self, answer: str | None = f"code={CODE}") -> None:
        """``answer`` is the query of the answer without the state; None is a user who never answers."""
        self.answer = answer
        self.addresses: list[str] = []
        self.pages: list[str] = []
        self.shown = asyncio.Event()
        self._visits: set[asyncio.Task[None]] = set()

    async def show_address(self, address: str, server: str, callback: Callback) -> None:
        self.addresses.append(address)
        self.shown.set()
        if self.answer is not None:
            query = query_of(address)
            target = f"{query['redirect_uri']}?{self.answer}&state={query['state']}"
            self._visits.add(asyncio.get_running_loop().create_task(self._visit(target)))

    async def _visit(self, target: str) -> None:
        self.pages.append(await visit(target))

    async def page(self) -> str:
        """The last page in the browser."""
        async with asyncio.timeout(10):
            await asyncio.gather(*self._visits)
        return self.pages[-1]


class SlowAnswer:
    """A respx side effect that waits for ``go`` before it answers."""

    def __init__(self, answer: httpx.Response) -> None:
        self._answer = answer
        self.begun = asyncio.Event()
        self.go = asyncio.Event()

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.begun.set()
        await self.go.wait()
        return self._answer

    async def wait_for_first_request(self) -> None:
        """Wait for the first request."""
        async with asyncio.timeout(10):
            await self.begun.wait()


def stored(left: float | None = 100.0, number: int = 0, **changes: Any) -> Tokens:
    """Tokens of an earlier run, with this many seconds left."""
    expires_at = None if left is None else expiry(time.time(), left)
    tokens = Tokens(
        f"{ACCESS}-{number}",
        f"{REFRESH}-{number}",
        expires_at,
        server="docs",
        resource=URL,
        issuer=ISSUER,
        token_endpoint=TOKEN,
        lifetime=3600.0,
        client=ClientRegistration("app"),
    )
    return msgspec.structs.replace(tokens, **changes)


def renewals(*answers: httpx.Response) -> respx.Route:
    """A token endpoint that gives these answers in order."""
    return respx.post(TOKEN).mock(side_effect=list(answers))


def grant(number: int = 1, **changes: Any) -> httpx.Response:
    return httpx.Response(200, json=granted(number, **changes))


async def handle(
    authorization: Authorization, status: int, used: str | None, challenge: str, kind: str = "tools/call a"
) -> bool:
    """Let the server answer a request of this kind and with this token with this status and challenge."""
    return await authorization.handle_refusal(status, used, challenge, kind)


def accept(authorization: Authorization, used: str, kind: str = "tools/call a") -> None:
    """Let the server accept a request of this kind and with this token."""
    authorization.accepted(used, lambda: kind)


async def refuse(
    authorization: Authorization, used: str | None, challenge: Challenge, kind: str = "tools/call a"
) -> None:
    """Let the server answer 401 to a request of this kind and with this token, with this challenge."""
    parts = [
        f'{name}="{value}"'
        for name in ("resource_metadata", "scope", "error")
        if (value := getattr(challenge, name)) is not None
    ]
    assert await handle(authorization, 401, used, f"Bearer {', '.join(parts)}", kind)
