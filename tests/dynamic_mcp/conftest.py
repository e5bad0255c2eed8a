"""Fixtures for several modules."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from dynamic_mcp.log import log
from dynamic_mcp.process.guard import Guard
from tests.dynamic_mcp.helpers import WITHIN


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    """What a command in the process of the tests changes about the log ends with its test."""
    handlers, level, propagates = list(log.handlers), log.level, log.propagate
    last_resort, raises, warn = (
        logging.lastResort,
        logging.raiseExceptions,
        logging.getLevelName(logging.WARNING),
    )
    yield
    log.handlers[:], log.propagate = handlers, propagates
    log.setLevel(level)
    logging.lastResort, logging.raiseExceptions = last_resort, raises
    logging.addLevelName(logging.WARNING, warn)


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
