"""Fixtures: the folder of the clients, the proxy with its servers, and a check that no process is left."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from .scenario import Scene, scene

_END_WITHIN = 10.0


@pytest.fixture(scope="session")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the clients, one for all workers of the run."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "clients"
    folder = Path(os.environ.get("CLIENTS_FOLDER") or shared)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def now(tmp_path: Path) -> Iterator[Scene]:
    with scene(tmp_path) as running:
        yield running


@pytest.fixture(autouse=True)
def no_proxy_is_left(tmp_path: Path) -> Iterator[None]:
    """After each test, no proxy that a client started is alive."""
    yield
    deadline = time.monotonic() + _END_WITHIN
    while living := [process for process in psutil.process_iter(["cmdline"]) if _is_of(process, tmp_path)]:
        assert time.monotonic() < deadline, living
        time.sleep(0.05)


def _is_of(process: psutil.Process, folder: Path) -> bool:
    return any(word.startswith(f"{folder}/") for word in process.info["cmdline"] or ())
