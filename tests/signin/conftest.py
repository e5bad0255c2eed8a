"""The folder with oidc-provider, installed once for all workers; tox keeps it between runs."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from conformance.official.node import Node

OIDC_PROVIDER = ("oidc-provider", "9.13.3")
_PROGRAM = Path(__file__).with_name("oidc_provider.mjs")


@pytest.fixture(scope="session")
def npm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the program and its package."""
    folder = Path(os.environ.get("SIGNIN_FOLDER") or tmp_path_factory.mktemp("npm"))
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        Node.find().add(OIDC_PROVIDER, folder)
        # Node looks for packages beside the program. The name changes at once, because another worker may start it now.
        new = folder / "new.mjs"
        new.write_bytes(_PROGRAM.read_bytes())
        new.rename(folder / _PROGRAM.name)
    return folder
