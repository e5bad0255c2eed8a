"""What the file of a tool switches off stays off: tools and servers, in the entry of a server and elsewhere."""

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


def imported(folder: Path, entry: Any, tool: str = "cursor", name: str = "git", **file: Any) -> Imported:
    """The server ``name`` of a tool's file with this entry, and ``file`` beside its servers."""
    content: dict[str, Any] = {name: entry if isinstance(entry, dict) else {}}
    for key in reversed(TOOLS_BY_NAME[tool].keys):
        content = {key: content}
    path = folder / "file.json"
    path.write_text(json.dumps({**file, **content}))
    locations = Locations(folder, folder / "home", {}, "linux")
    (result,) = import_servers(
        TOOLS_BY_NAME[tool], read_sources(TOOLS_BY_NAME[tool], SourceFiles((path,)), locations), locations
    )
    return result


NONE: dict[str, list[str]] = {"allow": []}


@pytest.mark.parametrize(
    ("lists", "tools"),
    [
        ({"includeTools": ["a", "b_*"]}, {"allow": ["a", "b_*"]}),
        ({"includeTools": ["a"], "excludeTools": ["b"]}, {"allow": ["a"], "deny": ["b"]}),
        ({"enabled_tools": ["a"], "disabled_tools": ["b"]}, {"allow": ["a"], "deny": ["b"]}),
        ({"allowedTools": ["a"]}, {"allow": ["a"]}),
        ({"disabledTools": ["a"], "disabled_tools": ["a", "b"]}, {"deny": ["a", "b"]}),
        ({"excludeTools": "a"}, {"deny": ["a"]}),
        ({"tools": ["a"]}, {"allow": ["a"]}),
        ({"tools": ["*"]}, None),
        ({"tools": "*"}, None),
        ({"tools": True}, None),
        ({"tools": False}, NONE),
        ({"tools": {"allow": ["a"], "deny": ["b"]}}, {"allow": ["a"], "deny": ["b"]}),
        ({"tools": {"include": ["a"], "exclude": ["b"]}}, {"allow": ["a"], "deny": ["b"]}),
        (
            {"tools": {"a": False, "b": {"enabled": False}, "c": {"disabled": True}, "d": True}},
            {"deny": ["a", "b", "c"]},
        ),
        ({"tools": {"a": {"approval_mode": "approve"}}}, None),
        ({"includeTools": ["a(b)"]}, {"allow": ["a"]}),
        ({"disabledTools": ["mcp__git__a"]}, {"deny": ["a"]}),
        ({"includeTools": []}, NONE),
        ({"includeTools": [""]}, NONE),
        ({"includeTools": None, "excludeTools": None, "tools": None}, None),
        ({"excludeTools": []}, None),
        ({"includeTools": ["a", "b"], "tools": ["b", "c"]}, {"allow": ["b"]}),
        ({"includeTools": {"a": 1}}, NONE),
        ({"excludeTools": ["a", 5]}, NONE),
        ({"excludeTools": True}, NONE),
        ({"alwaysAllow": ["a"], "autoApprove": ["a"]}, None),
    ],
)
def test_lists_of_an_entry(lists: dict[str, Any], tools: dict[str, list[str]] | None, tmp_path: Path) -> None:
    result = imported(tmp_path, {"command": "x", **lists})

    assert (result.entry or {}).get("tools") == tools
    assert result.is_on


@pytest.mark.parametrize(
    ("lists", "note"),
    [
        ({"includeTools": []}, "includeTools names no tool, so none is allowed"),
        ({"excludeTools": 5}, "excludeTools must be a list of names; no tool is allowed until"),
        ({"includeTools": ["a(b)"]}, "includeTools: a restriction of the arguments in parentheses"),
        ({"includeTools": ["a"], "tools": ["a"]}, "tools: there are several lists of allowed tools"),
        ({"tools": {"a": {"approval_mode": "x"}}}, "tools: settings of single tools other than switches"),
        ({"alwaysAllow": ["a"]}, "alwaysAllow was left out: the agent handles approvals"),
    ],
)
def test_notes_about_lists(lists: dict[str, Any], note: str, tmp_path: Path) -> None:
    (found,) = imported(tmp_path, {"command": "x", **lists}).notes

    assert found.startswith(note)


@pytest.mark.parametrize(
    ("file", "is_on"),
    [
        ({"mcp": {"excluded": ["other", "GIT"]}}, False),
        ({"mcp": {"excluded": ["other"], "allowed": ["git"]}}, True),
        ({"mcp": {"allowed": ["other"]}}, False),
        ({"mcp": {"allowed": []}}, False),
        ({"excludeMCPServers": ["git"]}, False),
        ({"allowMCPServers": ["other"]}, False),
    ],
)
def test_servers_that_gemini_switches_off(file: dict[str, Any], is_on: bool, tmp_path: Path) -> None:
    assert imported(tmp_path, {"command": "x"}, "gemini", **file).is_on == is_on


@pytest.mark.parametrize(
    ("tool", "file", "tools"),
    [
        ("gemini", {"tools": {"exclude": ["git__push", "run_shell_command"]}}, {"deny": ["push"]}),
        ("gemini", {"excludeTools": ["mcp_git_push"]}, {"deny": ["push"]}),
        ("opencode", {"tools": {"git_push": False, "other_push": False, "bash": False}}, {"deny": ["push"]}),
        ("opencode", {"tools": {"git*": False}}, NONE),
        ("opencode", {"tools": {"git_*": False, "git_log": True}}, {"allow": ["log"]}),
        ("opencode", {"tools": {"*": False, "gi*_log": True}}, {"allow": ["*_log", "log"]}),
        ("opencode", {"tools": {"*push": False}}, {"deny": ["*push"]}),
        ("opencode", {"tools": {"g?t_push": False}}, {"deny": ["push"]}),
        ("opencode", {"tools": {"git_push": False, "git_*": True}}, None),
        ("opencode", {"permission": {"git_push": "deny", "git_log": "ask"}}, {"deny": ["push"]}),
        ("opencode", {"permission": {"git_*": {"*": "deny"}}}, NONE),
        ("opencode", {"permission": "allow"}, None),
        ("opencode", {"permission": "deny"}, NONE),
        ("claude", {"permissions": {"deny": ["mcp__git__push", "Bash"]}}, {"deny": ["push"]}),
        ("claude", {"permissions": {"deny": ["mcp__git"]}}, NONE),
        ("claude", {"permissions": {"deny": ["mcp__git__*"]}}, NONE),
        ("claude", {"permissions": {"deny": ["mcp__github", "mcp__git__push(force)"]}}, None),
        ("cursor", {"tools": {"git_push": False}}, None),
    ],
)
def test_tools_that_the_file_switches_off(
    tool: str, file: dict[str, Any], tools: dict[str, list[str]] | None, tmp_path: Path
) -> None:
    result = imported(tmp_path, {"command": ["x"]} if tool == "opencode" else {"command": "x"}, tool, **file)

    assert (result.entry or {}).get("tools") == tools
    assert len(result.notes) == (tools is not None)


def test_names_are_compared_as_opencode_writes_them(tmp_path: Path) -> None:
    result = imported(tmp_path, {"command": ["x"]}, "opencode", "my git", tools={"my_git_push": False})

    assert (result.entry or {})["tools"] == {"deny": ["push"]}


def test_list_of_the_entry_stays_beside_that_of_the_file(tmp_path: Path) -> None:
    entry = {"command": "x", "includeTools": ["a", "b"], "excludeTools": ["b"]}

    result = imported(tmp_path, entry, "gemini", tools={"exclude": ["git__c"]})

    assert (result.entry or {})["tools"] == {"allow": ["a", "b"], "deny": ["b", "c"]}


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("home/.claude.json", {"projects": {"FOLDER": {"disabledMcpServers": ["git"]}}}, (False, None)),
        ("home/.claude.json", {"projects": {"/other": {"disabledMcpServers": ["git"]}}}, (True, None)),
        (".claude/settings.local.json", {"disabledMcpjsonServers": ["git"]}, (False, None)),
        (".claude/settings.json", {"permissions": {"deny": ["mcp__git__a"]}}, (True, {"deny": ["a"]})),
        ("home/.claude/settings.json", {"permissions": {"deny": ["mcp__git__a"]}}, (True, {"deny": ["a"]})),
    ],
)
def test_settings_of_claude_code_count_too(file: str, content: Any, expected: Any, tmp_path: Path) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content).replace("FOLDER", str(tmp_path)))

    result = imported(tmp_path, {"command": "x"}, "claude")

    assert (result.is_on, (result.entry or {}).get("tools")) == expected


def test_unreadable_settings_are_an_error(tmp_path: Path) -> None:
    (tmp_path / ".claude").mkdir()
    (tmp_path / ".claude" / "settings.json").write_text("{")

    with pytest.raises(ConfigError, match=r"settings\.json: line 1"):
        imported(tmp_path, {"command": "x"}, "claude")
