"""A server that `npx -y` downloads first, with an empty cache: the group says that it is starting, and works as soon as the server does."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import anyio
import pytest

from .programs import EVERYTHING, call, proxy, text_of, write_config

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

WITHIN = 240


@pytest.mark.skipif(shutil.which("npx") is None, reason="needs Node for its server")
async def test_npx_with_an_empty_cache_becomes_usable(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    npm = {name: value for name, value in os.environ.items() if name.lower().startswith("npm_config_")}
    entry = {
        "description": "The reference server",
        "command": "npx",
        "args": ["-y", EVERYTHING],
        "env": {**npm, "npm_config_cache": str(cache)},
    }
    arguments = {"group": "everything"}

    with anyio.fail_after(WITHIN):
        async with proxy(write_config(tmp_path, {"everything": entry}), "auto", **npm) as client:
            while (answer := await client.call_tool("get_dynamic_tools", arguments)).is_error:
                assert "still starting" in text_of(answer)
            assert "héllo" in await call(client, "everything", "echo", {"message": "héllo"})

    assert list(cache.glob("_npx/*/node_modules/.bin/mcp-server-everything"))
