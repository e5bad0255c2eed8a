"""An HTTP client whose requests all go to respx routes, and the token directory of a test."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
import respx

from dynamic_mcp.clock import Clock
from dynamic_mcp.config.model import RemoteTransport
from dynamic_mcp.oauth.authorization import Authorization
from dynamic_mcp.oauth.reach import NetworkReach
from dynamic_mcp.oauth.store import FileStore, TokenStore
from tests.dynamic_mcp.oauth.kit import Make, User, transport

#: Made once, because it takes longer than a test.
TRUST = ssl.create_default_context()


@pytest.fixture
def routes() -> Iterator[None]:
    """No request leaves the process; an address without a route answers 404."""
    # The first router that has a route answers.
    with respx.mock, respx.mock(assert_all_called=False) as rest:
        rest.route().respond(404)
        yield


@pytest.fixture
def requested() -> list[str]:
    """The addresses that ``http`` has requested, in order."""
    return []


@pytest.fixture
async def http(routes: None, requested: list[str]) -> AsyncIterator[httpx.AsyncClient]:
    async def record(request: httpx.Request) -> None:
        requested.append(str(request.url))

    async with httpx.AsyncClient(verify=TRUST, event_hooks={"request": [record]}) as client:
        yield client


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The directory of the token files of a test, as below a home."""
    return tmp_path / ".dynamic-mcp" / "oauth-servers"


@pytest.fixture
def store(directory: Path) -> FileStore:
    return FileStore("docs", directory)


async def _unresolved(self: NetworkReach, host: str, port: int | None) -> list[str]:
    """Connections go to routes, which know the name only."""
    return [host]


async def _unchecked(self: NetworkReach, url: str) -> None:
    return


@pytest.fixture
async def make(directory: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Make]:
    """Makes authorizations over one token file, like several processes, and closes them at the end."""
    monkeypatch.setattr(ssl, "create_default_context", lambda: TRUST)
    monkeypatch.setattr(NetworkReach, "addresses", _unresolved)
    monkeypatch.setattr(NetworkReach, "check", _unchecked)
    authorizations: list[Authorization] = []

    def make_one(
        user: User | None = None,
        settings: RemoteTransport | None = None,
        store: TokenStore | None = None,
        clock: Clock = time.monotonic,
    ) -> Authorization:
        show_address = None if user is None else user.show_address
        store = store or FileStore("docs", directory)
        authorizations.append(
            Authorization("docs", settings or transport(), store, show_address, clock=clock)
        )
        return authorizations[-1]

    yield make_one
    async with asyncio.timeout(10):
        for authorization in authorizations:
            await authorization.close()
