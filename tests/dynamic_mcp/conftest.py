"""Fixtures for several modules."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest

from dynamic_mcp.process.guard import Guard
from tests.dynamic_mcp.helpers import WITHIN


@pytest.fixture
async def guard() -> AsyncIterator[Guard]:
    guard = Guard()
    yield guard
    # Also without a helper, because one may be about to start.
    await guard.close()
    end = time.monotonic() + WITHIN
    while guard.pid is not None:
        assert time.monotonic() < end
        await guard.close()
