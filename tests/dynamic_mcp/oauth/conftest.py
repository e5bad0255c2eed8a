"""An HTTP client whose every request goes to a respx route, and the token directory of a test."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
import respx

from dynamic_mcp.config.model import HttpTransport
from dynamic_mcp.oauth.authorization import Authorization
from dynamic_mcp.oauth.store import FileStore, TokenStore
from tests.dynamic_mcp.oauth.kit import Make, User, transport

#: Made once: it takes longer than a test.
TRUST = ssl.create_default_context()


@pytest.fixture
def routes() -> Iterator[None]:
    """No request leaves; addresses without a route are a 404."""
    # The first router that has a route answers.
    with respx.mock, respx.mock(assert_all_called=False) as rest:
        rest.route().respond(404)
        yield


@pytest.fixture
def asked() -> list[str]:
    """The addresses that ``http`` asked, in order."""
    return []


@pytest.fixture
async def http(routes: None, asked: list[str]) -> AsyncIterator[httpx.AsyncClient]:
    async def keep(request: httpx.Request) -> None:
        asked.append(str(request.url))

    async with httpx.AsyncClient(verify=TRUST, event_hooks={"request": [keep]}) as client:
        yield client


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where the token files of a test are, as below a home."""
    return tmp_path / ".dynamic-mcp" / "oauth-servers"


@pytest.fixture
def store(directory: Path) -> FileStore:
    return FileStore("docs", directory)


@pytest.fixture
async def make(directory: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Make]:
    """Authorizations over one token file, as of several processes; all are closed."""
    monkeypatch.setattr(ssl, "create_default_context", lambda: TRUST)
    made: list[Authorization] = []

    def one(
        user: User | None = None, settings: HttpTransport | None = None, kept: TokenStore | None = None
    ) -> Authorization:
        present = None if user is None else user.present
        store = kept or FileStore("docs", directory)
        made.append(Authorization("docs", settings or transport(), store, present))
        return made[-1]

    yield one
    async with asyncio.timeout(10):
        for authorization in made:
            await authorization.close()
