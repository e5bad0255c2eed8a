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
class ProtectedSetup:
    """A user with a home folder and a browser, and the proxy in front of a protected server."""

    home: Path
    browser: Browser
    memory: Memory
    era: Era
    url: str

    def proxy(self) -> Client:
        config = write_config(self.home, {"sdk": {"description": "Requires a sign-in", "url": self.url}})
        return proxy(config, self.era, HOME=str(self.home), **self.browser.environment)

    @property
    def counts(self) -> tuple[int, int, int]:
        """Pages opened, sign-ins completed, renewals."""
        return len(self.browser.openings), self.memory.signed_in, self.memory.renewed

    async def revoke(self, *tokens: str) -> None:
        """Revoke tokens at the server's own endpoint, as the client's owner can (RFC 7009)."""
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
async def protected_setup(
    home: Path, era: Era, memory: Memory | None = None, *, metadata: bool = True
) -> AsyncIterator[ProtectedSetup]:
    memory = memory or Memory()

    def protected(origin: str) -> ASGIApp:
        auth = settings(origin, metadata=metadata)
        server = MCPServer("sdk", log_level="ERROR", auth=auth, auth_server_provider=memory)
        server.add_tool(hello, name="greet")
        app: ASGIApp = server.streamable_http_app()
        return Legacy(app) if era == "legacy" else app

    (home / "browser").mkdir()
    browser = Browser(home / "browser", "sdk", [], works=True)
    try:
        with anyio.fail_after(WITHIN):
            async with serving(protected) as url:
                yield ProtectedSetup(home, browser, memory, era, url)
    finally:
        browser.stop()


@pytest.fixture(params=["legacy", "2026-07-28"])
def era(request: pytest.FixtureRequest) -> Era:
    return request.param  # type: ignore[no-any-return]  # pytest types a parameter as Any


async def greet(client: Client) -> CallToolResult:
    arguments = {"group": "sdk", "name": "greet", "args": {"name": "you"}}
    return await client.call_tool("call_dynamic_tool", arguments)


async def assert_greeted(client: Client) -> None:
    """The server answers a call at once."""
    answer = await greet(client)
    assert text_of(answer) == "Grüße, you"


async def assert_greeted_after_sign_in(client: Client) -> None:
    """The server answers a call after the sign-in; until then, the answer names the sign-in as the reason."""
    while "waits for you to sign in" in text_of(answer := await greet(client)):  # noqa: ASYNC110  # there is no event for the user's sign-in
        await anyio.sleep(0.1)
    assert text_of(answer) == "Grüße, you"


async def test_one_sign_in_serves_all_calls_and_the_next_proxy(tmp_path: Path, era: Era) -> None:
    async with protected_setup(tmp_path, era) as setup:
        async with setup.proxy() as client:
            await assert_greeted_after_sign_in(client)
            assert await tools_of(client, "sdk") == ["greet"]
            await assert_greeted(client)
        async with setup.proxy() as client:
            await assert_greeted(client)

        assert setup.counts == (1, 1, 0)
        assert [token.resource for token in setup.memory.access.values()] == [setup.url]


async def test_expired_token_is_renewed_without_the_user(tmp_path: Path, era: Era) -> None:
    async with protected_setup(tmp_path, era, Memory(lifetime=2)) as setup, setup.proxy() as client:
        await assert_greeted_after_sign_in(client)
        # The server counts whole seconds, so the token has expired for the server too only after 3 s.
        await anyio.sleep(3.1)
        await assert_greeted(client)

        pages, signed_in, renewed = setup.counts
        assert (pages, signed_in) == (1, 1)
        assert renewed >= 1


async def test_revoked_access_token_is_renewed_without_the_user(tmp_path: Path, era: Era) -> None:
    async with protected_setup(tmp_path, era) as setup, setup.proxy() as client:
        await assert_greeted_after_sign_in(client)
        await setup.revoke(*setup.memory.access)
        await assert_greeted(client)

        assert setup.counts == (1, 1, 1)


async def test_revoked_grant_needs_a_new_sign_in(tmp_path: Path, era: Era) -> None:
    async with protected_setup(tmp_path, era) as setup, setup.proxy() as client:
        await assert_greeted_after_sign_in(client)
        await setup.revoke(*setup.memory.access, *setup.memory.refresh)
        await assert_greeted_after_sign_in(client)

        assert setup.counts == (2, 2, 0)
        assert len(setup.memory.clients) == 1


async def test_server_without_resource_metadata_needs_one_sign_in_and_one_more(
    tmp_path: Path, era: Era
) -> None:
    async with protected_setup(tmp_path, era, metadata=False) as setup, setup.proxy() as client:
        await assert_greeted_after_sign_in(client)
        await setup.revoke(*setup.memory.access)
        await assert_greeted(client)
        assert setup.counts == (1, 1, 1)
        await setup.revoke(*setup.memory.access, *setup.memory.refresh)
        await assert_greeted_after_sign_in(client)

        assert setup.counts == (2, 2, 1)
        assert len(setup.memory.clients) == 1


async def test_forgotten_client_registers_again(tmp_path: Path, era: Era) -> None:
    async with protected_setup(tmp_path, era) as setup, setup.proxy() as client:
        await assert_greeted_after_sign_in(client)
        setup.memory.forget()
        await assert_greeted_after_sign_in(client)

        assert setup.counts == (2, 2, 0)
        assert len(setup.memory.clients) == 1


async def test_wrong_audience_does_not_repeat_the_sign_in(tmp_path: Path, era: Era) -> None:
    async with (
        protected_setup(tmp_path, era, Memory(audience="http://127.0.0.1:1/mcp")) as setup,
        setup.proxy() as client,
    ):
        refused = "it refuses the tokens of the sign-in that just succeeded"
        while refused not in text_of(answer := await greet(client)):  # noqa: ASYNC110  # there is no event for a refusal
            await anyio.sleep(0.1)

        assert answer.is_error
        # Another token just after the sign-in would be for the same audience.
        assert setup.counts == (1, 1, 0)
