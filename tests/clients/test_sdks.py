"""Clients that make the calls themselves: the official SDKs, fastmcp, and Mastra with its zod schemas."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .installing import npm_environment, python_environment
from .scenario import NOTE_TEXT, Scene, judge_results

pytestmark = [pytest.mark.clients, pytest.mark.timeout(400)]

WITHIN = 60.0


@pytest.mark.parametrize(
    ("name", "program", "packages"),
    [
        ("sdk-1.9", "sdk1.py", "mcp==1.9.4 pydantic==2.11.7"),
        ("sdk-1.30", "sdk1.py", "mcp==1.30.0"),
        ("sdk-2.3", "sdk2.py", "mcp==2.3.0"),
        ("fastmcp-4.2", "fastmcp_client.py", "fastmcp==4.2.3"),
    ],
)
def test_python_sdk(name: str, program: str, packages: str, clients: Path, now: Scene) -> None:
    environment = python_environment(clients, name, *packages.split())
    judge(environment.run_python(program, now.given(), now.folder / "home", WITHIN), now)


@pytest.mark.parametrize(
    ("name", "program", "packages"),
    [
        ("typescript-1.9", "typescript_sdk.mjs", ["@modelcontextprotocol/sdk@1.9.0"]),
        ("typescript-1.32", "typescript_sdk.mjs", ["@modelcontextprotocol/sdk@1.32.2"]),
        ("mastra-0.14", "mastra.mjs", ["@mastra/mcp@0.14.5", "zod@3.25.76"]),
    ],
)
def test_npm_client(name: str, program: str, packages: list[str], clients: Path, now: Scene) -> None:
    environment = npm_environment(clients, name, *packages)
    judge(environment.run_node(program, now.given(), now.folder / "home", WITHIN), now)


def judge(output: str, now: Scene) -> None:
    """The program printed the two tools, the results of the steps, and the text of the resource and of the prompt."""
    seen = json.loads(output.splitlines()[-1])
    assert [name.removeprefix("dynamic_") for name in seen["tools"]] == [
        "get_dynamic_tools",
        "call_dynamic_tool",
    ]
    judge_results(seen["results"], now)
    assert seen["note"] == NOTE_TEXT
    assert seen["prompt"] == "prompt ask()"
