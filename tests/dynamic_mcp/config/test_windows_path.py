"""Windows paths with single backslashes, as JSON decodes them."""

from __future__ import annotations

import json

import pytest

from dynamic_mcp.config.load import parse
from dynamic_mcp.config.windows_path import broken_escape


@pytest.mark.parametrize(
    ("written", "escape"),
    [
        (r"c:\temp\bvb", r"\t"),
        (r"C:\\Program Files\new", r"\n"),
        (r"--dir=D:\\data\bin", r"\b"),
        (r"\\\\server\\share\total", r"\t"),
        (r"..\tools\\x.js", r"\t"),
        (r".\\tools\\new\run", r"\r"),
        (r"dist\\main\next.js", r"\n"),
        (r"x\f", r"\f"),
    ],
)
def test_path_that_lost_a_backslash(written: str, escape: str) -> None:
    assert broken_escape(json.loads(f'"{written}"')) == escape


@pytest.mark.parametrize(
    "written",
    [
        r"C:\\temp\\bvb",
        r"\\\\server\\temp",
        r"-----BEGIN PRIVATE KEY-----\nMII\nABC\n-----END PRIVATE KEY-----\n",
        r"import re\nprint(re.match('a\\d', 'C:\\\\x'))\nexit()",
        r"Accept: text/html\nX-Name:\tvalue",
        r"a\tb",
        r"see http://example.com:\nline",
        "",
    ],
)
def test_other_text(written: str) -> None:
    assert broken_escape(json.loads(f'"{written}"')) is None


def test_name_of_a_program_has_no_control_character() -> None:
    assert broken_escape("bin\node.exe", is_program=True) == "\\n"


def test_loading_warns_with_the_place() -> None:
    text = (
        rb'{"mcpServers": {"a": {"description": "d", "command": "C:\tools\run", "args": ["x", "c:\temp"]}}}'
    )

    first, second = parse(text, "f", {}).warnings

    problem = "JSON reads \\t in this Windows path as one character; write two backslashes for each"
    assert first.startswith(f"mcpServers.a.command: {problem}")
    assert second.startswith(f"mcpServers.a.args[1]: {problem}")
