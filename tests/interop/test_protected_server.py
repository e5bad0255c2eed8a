"""The official SDK's OAuth-protected server behind the proxy: one sign-in, renewals, revocations, a wrong audience."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import anyio
import httpx
import pytest
from mcp import Client
from mcp.server.mcpserver import MCPServer
from mcp.types import CallToolResult
from starlette.types import ASGIApp

from conformance.workbench.browsers import Browser

from .programs import proxy, text_of, tools_of, write_config
from .sdk_auth import Memory, serving, settings
from .sdk_server import Legacy

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]

WITHIN = 60
Era = Literal["legacy", "2026-07-28"]


@dataclass
class Desk:
    """A user at a desk: a home folder, a browser, and the proxy in front of a protected server."""

    home: Path
    browser: Browser
    memory: Memory
    era: Era
    url: str

    def proxy(self) -> Client:
        config = write_config(self.home, {"sdk": {"description": "Wants to know you", "url": self.url}})
        return proxy(config, self.era, HOME=str(self.home), **self.browser.environment)

    @property
    def counts(self) -> tuple[int, int, int]:
        """Pages opened, sign-ins completed, renewals."""
        return len(self.browser.openings), self.memory.signed_in, self.memory.renewed

    async def revoke(self, *tokens: str) -> None:
        """As somebody does who owns the client: at the server's own endpoint (RFC 7009)."""
        (client,) = self.memory.clients.values()
        name, secret = client.client_id, client.client_secret or ""
        async with httpx.AsyncClient(trust_env=False, auth=(name, secret)) as http:
            for token in tokens:
                form = {"token": token, "client_id": name, "client_secret": secret}
                response = await http.post(self.url.replace("/mcp", "/revoke"), data=form)
                assert response.status_code == 200, response.text
        assert not {*tokens} & {*self.memory.access, *self.memory.refresh}


def hello(name: str) -> str:
    """Say hello."""
    return f"Grüße, {name}"


@asynccontextmanager
async def desk(home: Path, era: Era, memory: Memory | None = None) -> AsyncIterator[Desk]:
    memory = memory or Memory()

    def protected(origin: str) -> ASGIApp:
        server = MCPServer("sdk", log_level="ERROR", auth=settings(origin), auth_server_provider=memory)
        server.add_tool(hello, name="greet")
        app: ASGIApp = server.streamable_http_app()
        return Legacy(app) if era == "legacy" else app

    (home / "browser").mkdir()
    browser = Browser(home / "browser", "sdk", [], works=True)
    try:
        with anyio.fail_after(WITHIN):
            async with serving(protected) as url:
                yield Desk(home, browser, memory, era, url)
    finally:
        browser.stop()


@pytest.fixture(params=["legacy", "2026-07-28"])
def era(request: pytest.FixtureRequest) -> Era:
    return request.param  # type: ignore[no-any-return]  # pytest types a parameter as Any


async def greet(client: Client) -> CallToolResult:
    arguments = {"group": "sdk", "name": "greet", "args": {"name": "you"}}
    return await client.call_tool("call_dynamic_tool", arguments)


async def is_greeted(client: Client) -> None:
    """A call is answered at once."""
    answer = await greet(client)
    assert text_of(answer) == "Grüße, you"


async def is_greeted_after_sign_in(client: Client) -> None:
    """A call is answered once the user has come back; before, the answer says what it waits for."""
    while "waits for you to sign in" in text_of(answer := await greet(client)):  # noqa: ASYNC110  # the user is the event
        await anyio.sleep(0.1)
    assert text_of(answer) == "Grüße, you"


async def test_one_sign_in_serves_all_calls_and_the_next_proxy(tmp_path: Path, era: Era) -> None:
    async with desk(tmp_path, era) as at:
        async with at.proxy() as client:
            await is_greeted_after_sign_in(client)
            assert await tools_of(client, "sdk") == ["greet"]
            await is_greeted(client)
        async with at.proxy() as client:
            await is_greeted(client)

        assert at.counts == (1, 1, 0)
        assert [token.resource for token in at.memory.access.values()] == [at.url]


async def test_a_token_that_expires_is_renewed_without_the_user(tmp_path: Path, era: Era) -> None:
    async with desk(tmp_path, era, Memory(lifetime=2)) as at, at.proxy() as client:
        await is_greeted_after_sign_in(client)
        # The server counts whole seconds: only then is the token over for it too.
        await anyio.sleep(3.1)
        await is_greeted(client)

        pages, signed_in, renewed = at.counts
        assert (pages, signed_in) == (1, 1)
        assert renewed >= 1


async def test_an_access_token_that_is_revoked_is_renewed_without_the_user(tmp_path: Path, era: Era) -> None:
    async with desk(tmp_path, era) as at, at.proxy() as client:
        await is_greeted_after_sign_in(client)
        await at.revoke(*at.memory.access)
        await is_greeted(client)

        assert at.counts == (1, 1, 1)


async def test_a_grant_that_is_revoked_asks_the_user_once_more(tmp_path: Path, era: Era) -> None:
    async with desk(tmp_path, era) as at, at.proxy() as client:
        await is_greeted_after_sign_in(client)
        await at.revoke(*at.memory.access, *at.memory.refresh)
        await is_greeted_after_sign_in(client)

        assert at.counts == (2, 2, 0)
        assert len(at.memory.clients) == 1


async def test_a_client_that_is_forgotten_registers_again(tmp_path: Path, era: Era) -> None:
    async with desk(tmp_path, era) as at, at.proxy() as client:
        await is_greeted_after_sign_in(client)
        at.memory.forget()
        await is_greeted_after_sign_in(client)

        assert at.counts == (2, 2, 0)
        assert len(at.memory.clients) == 1


async def test_tokens_for_another_audience_do_not_bring_the_user_back(tmp_path: Path, era: Era) -> None:
    async with desk(tmp_path, era, Memory(audience="http://127.0.0.1:1/mcp")) as at, at.proxy() as client:
        # With the connection that is tried again comes another renewal, as useless as the first.
        while at.memory.renewed < 2:  # noqa: ASYNC110  # what a server remembers is no event
            await anyio.sleep(0.1)
        answer = await greet(client)

        assert answer.is_error
        assert "an authorization that it did not get (HTTP 401)" in text_of(answer)
        pages, signed_in, _ = at.counts
        assert (pages, signed_in) == (1, 1)
