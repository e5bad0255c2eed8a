"""Fixtures: servers from npm, installed once, and a check that no process is left."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import psutil
import pytest

from .programs import EVERYTHING, FILESYSTEM, Mode


@pytest.fixture(scope="session")
def npm_servers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the npm servers, one for all workers of the run; skips the test without Node."""
    if shutil.which("npm") is None:
        pytest.skip("needs Node for its servers")
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "npm"
    folder.mkdir(exist_ok=True)
    installed = folder / "installed"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not installed.exists():
            subprocess.run(
                ["npm", "install", "--no-fund", "--no-audit", "--loglevel=error", EVERYTHING, FILESYSTEM],
                cwd=folder,
                check=True,
                timeout=200,
            )
            installed.touch()
    return folder


@pytest.fixture(params=["auto", "legacy", "2026-07-28"])
def mode(request: pytest.FixtureRequest) -> Mode:
    return request.param  # type: ignore[no-any-return]  # pytest types a parameter as Any


@pytest.fixture(autouse=True)
async def no_process_is_left() -> AsyncIterator[None]:
    """After each test, none of its processes is alive."""
    before = set(psutil.Process().children(recursive=True))
    yield
    with anyio.fail_after(10):
        while living := {p for p in psutil.Process().children(recursive=True) if is_alive(p)} - before:  # noqa: ASYNC110  # there is no event for the end of a process
            await anyio.sleep(0.05)
    assert not living


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
