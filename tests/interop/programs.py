"""The third-party programs of these tests: servers, and the official SDK client in front of the proxy."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Literal

from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

EVERYTHING = "@modelcontextprotocol/server-everything"
FILESYSTEM = "@modelcontextprotocol/server-filesystem"

Mode = Literal["auto", "legacy", "2026-07-28"]


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


def npm_program(folder: Path, package: str) -> str:
    program = folder / "node_modules" / ".bin" / ("mcp-" + package.partition("/")[2])
    assert program.exists()
    return str(program)


def npm_server(folder: Path, package: str, *args: str) -> dict[str, Any]:
    return {"description": package, "command": npm_program(folder, package), "args": list(args)}


def proxy(config: Path, mode: Mode, **environment: str) -> Client:
    """The SDK's client in front of the proxy. The proxy gets the few variables that the SDK passes on, and these."""
    arguments = ["-m", "dynamic_mcp", str(config)]
    command = StdioServerParameters(command=sys.executable, args=arguments, env=environment)
    return Client(stdio_client(command), mode=mode)


def text_of(result: Any) -> str:
    return "".join(block.text for block in result.content)


async def tools_of(client: Client, group: str) -> list[str]:
    result = await client.call_tool("get_dynamic_tools", {"group": group})
    assert not result.is_error, text_of(result)
    return [tool["name"] for tool in json.loads(text_of(result))["tools"]]


async def call(client: Client, group: str, name: str, args: dict[str, Any], **more: Any) -> str:
    """The text of a result, which must not be an error."""
    arguments = {"group": group, "name": name, "args": args}
    result = await client.call_tool("call_dynamic_tool", arguments, **more)
    assert not result.is_error, text_of(result)
    return text_of(result)
