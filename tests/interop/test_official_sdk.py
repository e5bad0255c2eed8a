"""The official SDK client drives the proxy in front of real third-party servers, in both protocol eras."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import pytest

from .programs import (
    EVERYTHING,
    FILESYSTEM,
    Mode,
    npm_server,
    proxy,
    text_of,
    time_server,
    tools_of,
    write_config,
)

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]


async def test_client_sees_two_tools_and_calls_a_time_server(tmp_path: Path, mode: Mode) -> None:
    config = write_config(tmp_path, {"time": time_server()})

    with anyio.fail_after(60):
        async with proxy(config, mode) as client:
            listed = await client.list_tools()
            names = await tools_of(client, "time")
            answer = await client.call_tool(
                "call_dynamic_tool",
                {"group": "time", "name": "get_current_time", "args": {"timezone": "UTC"}},
            )

    assert [tool.name for tool in listed.tools] == ["get_dynamic_tools", "call_dynamic_tool"]
    assert "get_current_time" in names
    assert not answer.is_error
    assert json.loads(text_of(answer))["timezone"] == "UTC"


async def test_two_npm_servers_list_and_answer(tmp_path: Path, npm_servers: Path, mode: Mode) -> None:
    (tmp_path / "note.txt").write_text("hello from a file")
    config = write_config(
        tmp_path,
        {
            "everything": npm_server(npm_servers, EVERYTHING),
            "files": npm_server(npm_servers, FILESYSTEM, str(tmp_path)),
        },
    )

    with anyio.fail_after(60):
        async with proxy(config, mode) as client:
            everything = await tools_of(client, "everything")
            files = await tools_of(client, "files")
            echoed = await client.call_tool(
                "call_dynamic_tool", {"group": "everything", "name": "echo", "args": {"message": "héllo"}}
            )
            read = await client.call_tool(
                "call_dynamic_tool",
                {"group": "files", "name": "read_text_file", "args": {"path": str(tmp_path / "note.txt")}},
            )

    assert "echo" in everything
    assert "read_text_file" in files
    assert "héllo" in text_of(echoed)
    assert "hello from a file" in text_of(read)
