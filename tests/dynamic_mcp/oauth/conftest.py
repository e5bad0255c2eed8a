"""An HTTP client whose every request goes to a respx route, and the token directory of a test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
import respx

from dynamic_mcp.oauth.store import Store


@pytest.fixture
def routes() -> Iterator[None]:
    """No request leaves; addresses without a route are a 404."""
    with respx.mock(assert_all_called=False, assert_all_mocked=False):
        yield


@pytest.fixture
async def http(routes: None) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as client:
        yield client


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where the token files of a test are, as below a home."""
    return tmp_path / ".dynamic-mcp" / "oauth-servers"


@pytest.fixture
def store(directory: Path) -> Store:
    return Store("docs", directory)
