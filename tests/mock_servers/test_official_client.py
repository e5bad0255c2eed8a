"""The client of the official SDK accepts the well-behaved mock in each of its modes."""

from pathlib import Path
from typing import Literal

import anyio
import pytest
from mcp import Client, MCPError, StdioServerParameters

from mock_servers.journal import read_journal
from mock_servers.script import Era, Script, default_tools, tool

from .driver import COMMAND

# In automatic mode, the client probes for the modern era and falls back; with a pinned version, it does neither.
ACCEPTED: list[tuple[Era, Literal["auto", "legacy", "2026-07-28"]]] = [
    ("legacy", "auto"),
    ("legacy", "legacy"),
    ("modern", "auto"),
    ("modern", "2026-07-28"),
    ("both", "auto"),
    ("both", "legacy"),
    ("both", "2026-07-28"),
]


def server(folder: Path, script: Script) -> StdioServerParameters:
    files = ["--script", str(script.save(folder / "script.json")), "--journal", str(folder / "journal.jsonl")]
    args = [*COMMAND[1:], *files, "--max-life", "60"]
    return StdioServerParameters(command=COMMAND[0], args=args)


@pytest.mark.parametrize(("era", "mode"), ACCEPTED)
async def test_official_client_lists_and_calls(tmp_path: Path, era: Era, mode: str) -> None:
    script = Script(
        era=era,
        page_size=1,
        tools=[*default_tools(), tool("third")],
        resources=[{"uri": "r://a", "name": "a"}],
        templates=[{"uriTemplate": "t://{x}", "name": "t"}],
        prompts=[{"name": "p"}],
    )
    with anyio.fail_after(30):
        async with Client(server(tmp_path, script), mode=mode) as client:
            names, cursor = [], None
            while True:
                page = await client.list_tools(cursor=cursor)
                names += [listed.name for listed in page.tools]
                cursor = page.next_cursor
                if cursor is None:
                    break
            assert names == ["echo", "add", "third"]
            called = await client.call_tool("echo", {"x": [1, None, "é"]})
            assert called.structured_content == {"arguments": {"x": [1, None, "é"]}}
            assert not called.is_error
            assert [str(r.uri) for r in (await client.list_resources()).resources] == ["r://a"]
            assert len((await client.list_resource_templates()).resource_templates) == 1
            assert len((await client.read_resource("r://a")).contents) == 1
            assert [prompt.name for prompt in (await client.list_prompts()).prompts] == ["p"]
            assert len((await client.get_prompt("p")).messages) == 1
            with pytest.raises(MCPError):
                await client.call_tool("nobody", {})
    methods = [(entry.message or {}).get("method") for entry in read_journal(tmp_path / "journal.jsonl")]
    handshake = era == "legacy" or mode == "legacy"
    assert ("initialize" in methods, "notifications/initialized" in methods) == (handshake, handshake)


async def test_modern_server_refuses_the_official_client_in_legacy_mode(tmp_path: Path) -> None:
    with anyio.fail_after(30):
        with pytest.raises((MCPError, ExceptionGroup)):
            async with Client(server(tmp_path, Script(era="modern")), mode="legacy") as client:
                await client.list_tools()
