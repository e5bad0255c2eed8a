"""The entry for an AI tool that starts the proxy, in the format of the tool."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dynamic_mcp.commands.importing.tools import Tool

SERVER_NAME = "dynamic-mcp"


def instructions(tool: Tool, source: Path, config: Path) -> Iterator[str]:
    """Instructions for the user: how to change the tool's file ``source``, so that the tool starts the proxy with ``config``."""
    command = [*_program(), str(config.absolute())]
    if tool.name == "claude":
        yield f"In {tool.title}, remove the servers (claude mcp remove NAME) and add the proxy:"
        yield f"  claude mcp add {SERVER_NAME} -- {shlex.join(command)}"
        return
    yield f"In {source}, replace the servers with this:"
    yield from (f"  {line}" for line in _entry(tool, source, command))


def _program() -> list[str]:
    """A command for this program that a client finds: its name if it is on PATH, else the interpreter."""
    return [SERVER_NAME] if shutil.which(SERVER_NAME) else [sys.executable, "-m", "dynamic_mcp"]


def _entry(tool: Tool, source: Path, command: list[str]) -> Iterator[str]:
    entry: dict[str, Any] = {"command": command[0], "args": command[1:]}
    if source.suffix == ".toml":
        # A JSON string is a valid TOML string.
        yield f"[{'.'.join(tool.keys)}.{SERVER_NAME}]"
        yield from (f"{key} = {_json(value)}" for key, value in entry.items())
        return
    if tool.name == "opencode":
        entry = {"type": "local", "command": command}
    elif tool.name == "vscode":
        entry = {"type": "stdio", **entry}
    inside: dict[str, Any] = {SERVER_NAME: entry}
    for key in reversed(tool.keys):
        inside = {key: inside}
    yield _json(inside)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
