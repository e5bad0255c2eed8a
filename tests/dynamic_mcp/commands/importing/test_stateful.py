"""Servers that sessions must not share are known by the names of their packages."""

from __future__ import annotations

import pytest

from dynamic_mcp.commands.importing.stateful import keeps_state


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("npx -y @playwright/mcp@latest --headless", True),
        ("npx chrome-devtools-mcp@latest", True),
        ("npx -y @modelcontextprotocol/server-puppeteer", True),
        ("docker run -i --rm mcp/playwright", True),
        ("/opt/bin/playwright-mcp", True),
        ("npx -y @modelcontextprotocol/server-filesystem /home/me", True),
        ("npx -y @modelcontextprotocol/server-github", False),
        ("uvx mcp-server-git --repository /home/me/playwright", False),
        ("uvx mcp-server-git --repository ~/puppeteer", False),
        ("/home/me/playwright/venv/bin/python server.py", False),
        ("uvx mcp-server-git --playwright", False),
    ],
)
def test_server_that_keeps_state(command: str, expected: bool) -> None:
    assert keeps_state(command.split()) is expected
