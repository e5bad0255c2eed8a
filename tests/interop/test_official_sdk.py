"""The official SDK client drives the proxy in front of real third-party servers, in both protocol eras."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import anyio
import psutil
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]

EVERYTHING = "@modelcontextprotocol/server-everything"
FILESYSTEM = "@modelcontextprotocol/server-filesystem"

Mode = Literal["auto", "legacy"]


def time_server() -> dict[str, Any]:
    return {
        "description": "Time and time zones",
        "command": sys.executable,
        "args": ["-m", "mcp_server_time"],
    }


def write_config(folder: Path, servers: dict[str, Any]) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps({"mcpServers": servers}))
    return path


@pytest.fixture(scope="session")
def npm_servers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the npm servers; skips where there is no Node."""
    if shutil.which("npm") is None:
        pytest.skip("Node is not present, so its servers cannot run")
    folder = tmp_path_factory.mktemp("npm")
    subprocess.run(
        ["npm", "install", "--no-fund", "--no-audit", "--loglevel=error", EVERYTHING, FILESYSTEM],
        cwd=folder,
        check=True,
        timeout=200,
    )
    return folder


def npm_server(folder: Path, package: str, *args: str) -> dict[str, Any]:
    program = folder / "node_modules" / ".bin" / ("mcp-" + package.partition("/")[2])
    assert program.exists()
    return {"description": package, "command": str(program), "args": list(args)}


@pytest.fixture(params=["auto", "legacy"])
def mode(request: pytest.FixtureRequest) -> Mode:
    return request.param  # type: ignore[no-any-return]  # pytest types a parameter as Any


@pytest.fixture(autouse=True)
async def nothing_is_left() -> AsyncIterator[None]:
    """After each test no process that it started is alive."""
    before = set(psutil.Process().children(recursive=True))
    yield
    with anyio.fail_after(10):
        while living := {p for p in psutil.Process().children(recursive=True) if is_alive(p)} - before:  # noqa: ASYNC110  # no event tells of a process that ended
            await anyio.sleep(0.05)
    assert not living


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def proxy(config: Path, mode: Mode) -> Client:
    command = StdioServerParameters(command=sys.executable, args=["-m", "dynamic_mcp", str(config)])
    return Client(stdio_client(command), mode=mode)


def text_of(result: Any) -> str:
    return "".join(block.text for block in result.content)


async def tools_of(client: Client, group: str) -> list[str]:
    result = await client.call_tool("get_dynamic_tools", {"group": group})
    assert not result.is_error, text_of(result)
    return [tool["name"] for tool in json.loads(text_of(result))]


async def test_the_client_sees_two_tools_and_calls_a_time_server(tmp_path: Path, mode: Mode) -> None:
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


async def test_servers_from_npm_list_and_answer_beside_each_other(
    tmp_path: Path, npm_servers: Path, mode: Mode
) -> None:
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
