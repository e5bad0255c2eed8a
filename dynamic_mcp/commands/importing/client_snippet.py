"""What an AI tool starts in the place of its own servers once they are in a configuration of this proxy, in the tool's own form."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dynamic_mcp.commands.importing.tools import Tool

NAME = "dynamic-mcp"


def instructions(tool: Tool, source: Path, config: Path) -> Iterator[str]:
    """Lines that say what to do with the tool's file ``source``, so that it starts the proxy with ``config``."""
    command = [*_program(), str(config.resolve())]
    if tool.name == "claude":
        yield f"In {tool.title}, remove the servers (claude mcp remove NAME) and add the proxy:"
        yield f"  claude mcp add {NAME} -- {shlex.join(command)}"
        return
    yield f"In {source}, put this in the place of the servers:"
    yield from (f"  {line}" for line in _entry(tool, source, command))


def _program() -> list[str]:
    """A command for this program that a client finds, too: by its name only where that leads somewhere."""
    return [NAME] if shutil.which(NAME) else [sys.executable, "-m", "dynamic_mcp"]


def _entry(tool: Tool, source: Path, command: list[str]) -> Iterator[str]:
    entry: dict[str, Any] = {"command": command[0], "args": command[1:]}
    if source.suffix == ".toml":
        # A string of JSON is one of TOML, too.
        yield f"[{'.'.join(tool.keys)}.{NAME}]"
        yield from (f"{key} = {_json(value)}" for key, value in entry.items())
        return
    if tool.name == "opencode":
        entry = {"type": "local", "command": command}
    elif tool.name == "vscode":
        entry = {"type": "stdio", **entry}
    inside: dict[str, Any] = {NAME: entry}
    for key in reversed(tool.keys):
        inside = {key: inside}
    yield _json(inside)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
