"""Import of what a decoder would lose: members that are there twice, single backslashes, and switches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dynamic_mcp.commands.importing.command import import_servers
from dynamic_mcp.commands.importing.entries import Imported
from dynamic_mcp.commands.importing.sources import SourceFiles, read_sources
from dynamic_mcp.commands.importing.tools import TOOLS_BY_NAME, Locations
from dynamic_mcp.errors import ConfigError


def imported(folder: Path, tool: str, text: str) -> dict[str, Imported]:
    kind = TOOLS_BY_NAME[tool]
    path = folder / ("config.toml" if tool == "codex" else "settings.json")
    path.write_text(text, encoding="utf-8")
    locations = Locations(folder, folder)
    found = read_sources(kind, SourceFiles((path,)), locations)
    return {server.name: server for server in import_servers(kind, found, locations)}


def mistakes(folder: Path, tool: str, text: str) -> list[tuple[str, str]]:
    with pytest.raises(ConfigError) as caught:
        imported(folder, tool, text)
    return list(caught.value.mistakes)


A, B = '{"command": "one"}', '{"command": "two"}'
TWICE = "is there twice, first at"


@pytest.mark.parametrize(
    ("tool", "text", "expected"),
    [
        (
            "cursor",
            f'{{"mcpServers": {{"a": {A},\n "a": {B}}}}}',
            [("line 2, column 2", f"mcpServers: 'a' {TWICE} line 1, column 17; remove or rename one")],
        ),
        (
            "cursor",
            f'// "a"\n{{mcpServers: {{\'a\': {A}, /* "a" */ a: {B},}},}}',
            [("line 2, column 50", f"mcpServers: 'a' {TWICE} line 2, column 15; remove or rename one")],
        ),
        (
            "cursor",
            f'{{"mcpServers": {{"a": {A}}}, "mcpServers": {{"b": {B}}}}}',
            [
                (
                    "line 1, column 43",
                    f"the top level: 'mcpServers' {TWICE} line 1, column 2; remove or rename one",
                )
            ],
        ),
        (
            "vscode",
            '{"servers": {"a": {"command": "x", "env": {"A": "1", "A": "2"}}}}',
            [("line 1, column 54", f"servers.a.env: 'A' {TWICE} line 1, column 44; remove or rename one")],
        ),
        (
            "codex",
            '[mcp_servers.a]\ncommand = "one"\n\n  [mcp_servers."a"]\ncommand = "two"\n',
            [("line 4, column 3", f'[mcp_servers."a"] {TWICE} line 1, column 1; remove or rename one')],
        ),
        (
            "codex",
            '[x]\ncommand = "x"\n[mcp_servers.a]\ncommand = "one"\ncommand= "two"\n',
            [("line 5, column 1", f"command {TWICE} line 4, column 1; remove or rename one")],
        ),
    ],
)
def test_member_that_is_there_twice(
    tmp_path: Path, tool: str, text: str, expected: list[tuple[str, str]]
) -> None:
    assert mistakes(tmp_path, tool, text) == expected


def test_other_sections_of_the_file_do_not_matter(tmp_path: Path) -> None:
    text = r'{"mcpServers": {"a": {"command": "x"}}, "theme": {"a": 1, "a": 2}, "theme": "C:\Users"}'
    found = imported(tmp_path, "gemini", text)
    assert found["a"].entry == {"command": "x"}


def test_single_backslashes_are_an_error_with_all_places(tmp_path: Path) -> None:
    text = r'{"mcpServers": {"a": {"command": "C:\Users\me", "args": ["D:\\ok", "x86\0"]}}}'
    assert mistakes(tmp_path, "cursor", text) == [
        ("line 1, column 37", _single("mcpServers.a.command", "U")),
        ("line 1, column 43", _single("mcpServers.a.command", "m")),
        ("line 1, column 72", _single("mcpServers.a.args[1]", "0")),
    ]


def _single(path: str, letter: str) -> str:
    return f"{path}: has a single backslash before '{letter}'; write two for each, as in C:\\\\Users"


def test_single_backslashes_that_json_knows_have_a_note(tmp_path: Path) -> None:
    text = '{"mcpServers": {\n "a": {"command": "C:\\tools\\new", "args": ["x", "c:\\temp"], "env": {"A": "a\\tb"}}}}'
    first, second = imported(tmp_path, "cursor", text)["a"].notes

    assert first.startswith("command (line 2, column 19): JSON reads \\t in this Windows path")
    assert second.startswith("args[1] (line 2, column 49): JSON reads \\t in this Windows path")


def test_toml_has_the_same_note(tmp_path: Path) -> None:
    found = imported(tmp_path, "codex", '[mcp_servers.a]\ncommand = "C:\\tools\\new"\n')
    (note,) = found["a"].notes
    assert note.startswith("command: JSON reads \\t in this Windows path")


@pytest.mark.parametrize(
    "fields",
    [
        {"disabled": True},
        {"enabled": False},
        {"isActive": False},
        {"excluded": True},
        {"disabled": "yes"},
        {"enabled": 0},
        {"disabled": False, "enabled": False},
    ],
)
def test_server_that_is_off_stays_off(tmp_path: Path, fields: dict[str, Any]) -> None:
    text = json.dumps(
        {"mcpServers": {"a": {"command": "x", **fields}, "b": {"command": "x", "enabled": True}}}
    )
    found = imported(tmp_path, "cursor", text)
    assert not found["a"].is_on
    assert found["b"].entry == {"command": "x"}


def test_server_of_a_folder_that_hides_another_has_a_note(tmp_path: Path) -> None:
    projects = {str(tmp_path): {"mcpServers": {"a": {"command": "y"}}}}
    text = json.dumps({"mcpServers": {"a": {"command": "x"}}, "projects": projects})
    server = imported(tmp_path, "claude", text)["a"]
    assert server.entry == {"command": "y"}
    assert server.notes == ["is there twice; the one of this folder counts, as for the tool"]
