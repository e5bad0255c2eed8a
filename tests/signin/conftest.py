"""The folder of the npm packages, which tox keeps between runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def npm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    kept = os.environ.get("SIGNIN_FOLDER")
    return Path(kept) if kept else tmp_path_factory.mktemp("npm")
