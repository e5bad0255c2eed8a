"""Import from a tool that merges several files, and from files in another layout than the tool reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dynamic_mcp.commands.importing import command

Import = Callable[..., tuple[dict[str, Any], str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Import:
    """Writes the files (``~`` is the home folder), imports, and returns the servers and the output."""
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("XDG_CONFIG_HOME", "CODEX_HOME", "CLAUDE_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)

    def run(tool: str, files: dict[str, Any], *options: str) -> tuple[dict[str, Any], str]:
        for name, content in files.items():
            file = Path(name).expanduser()
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content if isinstance(content, str) else json.dumps(content))
        command.main([tool, "--yes", *options])
        output = Path("dynamic-mcp.json")
        servers = json.loads(output.read_text())["mcpServers"] if output.exists() else {}
        return servers, capsys.readouterr().err

    return run


def test_opencode_files_are_merged_and_the_last_one_has_precedence(run: Import) -> None:
    servers, output = run(
        "opencode",
        {
            "opencode.json": {
                "mcp": {
                    "danger": {"type": "local", "command": ["danger"], "enabled": True},
                    "a": {"type": "local", "command": ["old"], "environment": {"K": "1"}},
                }
            },
            ".opencode/opencode.jsonc": {
                "mcp": {
                    "danger": {"enabled": False},
                    "a": {"type": "local", "command": ["new"]},
                    "b": {"type": "local", "command": ["b"]},
                },
                "tools": {"b_push": False},
            },
        },
    )

    assert (servers["danger"]["command"], servers["danger"]["enabled"]) == ("danger", False)
    assert (servers["a"]["command"], servers["a"]["env"]) == ("new", {"K": "1"})
    assert servers["b"]["tools"] == {"deny": ["push"]}
    assert "3 servers in opencode.json, .opencode/opencode.jsonc\n" in output
    assert "danger (switched off)\n" in output
    assert output.count("is in opencode.json and .opencode/opencode.jsonc, which are merged") == 2
    assert "Remove the servers from opencode.json too" in output


@pytest.mark.parametrize(
    ("tool", "user_file", "user", "project_file", "project"),
    [
        (
            "opencode",
            "~/.config/opencode/opencode.json",
            {"mcp": {"a": {"command": ["x"], "enabled": False}, "other": {"command": ["y"]}}},
            "opencode.json",
            {"mcp": {"a": {"type": "local", "command": ["x"]}}},
        ),
        (
            "opencode",
            "~/.config/opencode/opencode.jsonc",
            {"mcp": {"a": {"command": ["x"], "enabled": True}}},
            "opencode.json",
            {"mcp": {"servers": {"a": {"disabled": True}}}},
        ),
        (
            "codex",
            "~/.codex/config.toml",
            "[mcp_servers.a]\ncommand = 'x'\nenabled = false\n[mcp_servers.other]\ncommand = 'y'",
            ".codex/config.toml",
            "[mcp_servers.a]\ncommand = 'x'",
        ),
        (
            "gemini",
            "~/.gemini/settings.json",
            {"mcp": {"excluded": ["a"]}},
            ".gemini/settings.json",
            {"mcpServers": {"a": {"command": "x"}}},
        ),
    ],
)
def test_file_of_the_user_counts_for_the_servers_of_a_project(
    run: Import, tool: str, user_file: str, user: Any, project_file: str, project: Any
) -> None:
    servers, _ = run(tool, {user_file: user, project_file: project})

    assert servers.keys() == {"a"}
    assert (servers["a"]["command"], servers["a"]["enabled"]) == ("x", False)


def test_project_switches_a_server_of_the_user_on(run: Import) -> None:
    servers, _ = run(
        "opencode",
        {
            "~/.config/opencode/opencode.json": {
                "mcp": {"servers": {"a": {"command": ["x"], "disabled": True}}}
            },
            "opencode.json": {"mcp": {"a": {"enabled": True}}},
        },
    )

    assert servers["a"]["command"] == "x"
    assert "enabled" not in servers["a"]


def test_layout_of_opencode_2(run: Import) -> None:
    servers, output = run(
        "opencode",
        {
            "opencode.json": {
                "mcp": {
                    "timeout": {"catalog": 5000},
                    "servers": {
                        "docs": {"type": "remote", "url": "https://docs.example/mcp"},
                        "local": {"type": "local", "command": ["npx", "x"], "disabled": True},
                        "timeout": {"type": "local", "command": ["clock"]},
                    },
                    "old": {"type": "local", "command": ["old"]},
                },
                "permissions": [
                    {"action": "docs_*", "resource": "*", "effect": "deny"},
                    {"action": "docs_search", "resource": "*", "effect": "allow"},
                    {"action": "old_*", "resource": "some", "effect": "deny"},
                ],
            }
        },
    )

    assert servers.keys() == {"docs", "local", "timeout", "old"}
    assert servers["docs"]["tools"] == {"allow": ["search"]}
    assert servers["local"]["enabled"] is False
    assert "tools" not in servers["old"]
    assert "mcp.timeout was left out" in output
    assert '{"mcp": {"servers": {"dynamic-mcp": ' in output


def test_server_in_both_layouts_of_opencode_stays_off(run: Import) -> None:
    entry = {"type": "local", "command": ["x"]}
    servers, output = run(
        "opencode",
        {
            "~/.config/opencode/opencode.json": {"mcp": {"a": {**entry, "enabled": False}}},
            "opencode.json": {"mcp": {"servers": {"a": entry}, "a": {**entry, "command": ["C:\tools"]}}},
        },
    )

    assert servers["a"]["enabled"] is False
    assert "is in opencode.json twice; the one in mcp counts" in output
    assert "opencode.json: command[0] (line 1, column " in output


@pytest.mark.parametrize(
    ("tool", "file", "outer", "inner"),
    [
        (
            "opencode",
            "opencode.json",
            {"mcp": {"a": {"type": "local", "command": ["x"]}, "b": {"command": ["y"]}}},
            {"mcp": {"a": {"enabled": False}}},
        ),
        (
            "codex",
            ".codex/config.toml",
            "[mcp_servers.a]\ncommand = 'x'\n[mcp_servers.b]\ncommand = 'y'",
            "[mcp_servers.a]\nenabled = false",
        ),
    ],
)
def test_files_of_the_repository_count_in_its_folders(
    run: Import, tool: str, file: str, outer: Any, inner: Any
) -> None:
    Path("../.git").mkdir()

    servers, _ = run(tool, {f"../{file}": outer, file: inner})

    assert servers.keys() == {"a", "b"}
    assert (servers["a"]["command"], servers["a"]["enabled"]) == ("x", False)


def test_server_of_opencode_named_like_the_layout(run: Import) -> None:
    servers, _ = run("opencode", {"opencode.json": {"mcp": {"servers": {"command": ["x"]}}}})

    assert servers["servers"]["command"] == "x"


@pytest.mark.parametrize(
    ("tool", "file", "content", "note"),
    [
        ("vscode", ".vscode/mcp.json", {"mcpServers": {"a": {"command": "x"}}}, "mcpServers was left out"),
        (
            "vscode",
            ".vscode/mcp.json",
            {"mcp": {"servers": {"a": {"url": "https://a.example"}}}},
            "mcp.servers was left out",
        ),
        ("claude", ".mcp.json", {"a": {"command": "x"}}, "the members of the file were left out"),
        ("codex", ".codex/config.toml", "[mcpServers.a]\ncommand = 'x'", "mcpServers was left out"),
    ],
)
def test_servers_in_another_member_have_a_note(
    run: Import, tool: str, file: str, content: Any, note: str
) -> None:
    servers, output = run(tool, {file: content})

    assert servers == {}
    assert f"  {note}: " in output
    assert "There is nothing to write." in output


def test_file_that_is_not_read_is_named(run: Import) -> None:
    first = "~/.config/Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json"
    second = "~/.cline/data/settings/cline_mcp_settings.json"
    content = {"mcpServers": {"a": {"command": "x"}}}

    _, output = run("cline", {first: content, second: content}, "--global")

    assert f"{Path(second).expanduser()} was not read" in output


@pytest.mark.parametrize(
    ("tool", "text", "expected", "note"),
    [
        ("gemini", "${KEY:-secret}", "${KEY}", "args[0]: the default of ${KEY} is left out"),
        ("cursor", "${KEY:-secret}", "${KEY:-secret}", "args[0]: ${KEY...} is unknown"),
        ("cursor", "${config:a.b}", "${config:a.b}", "args[0]: ${config:a.b} is unknown"),
        ("cursor", "a-${command:x}", "a-${command:x}", "args[0]: ${command:x} is unknown"),
        ("claude", "${A-secret}", "${A-secret}", "args[0]: ${A...} is unknown"),
        ("claude", "{env:KEY}", "{env:KEY}", ""),
    ],
)
def test_unknown_placeholders_have_a_note(
    run: Import, tool: str, text: str, expected: str, note: str
) -> None:
    file = {"gemini": ".gemini/settings.json", "cursor": ".cursor/mcp.json", "claude": ".mcp.json"}[tool]

    servers, output = run(tool, {file: {"mcpServers": {"a": {"command": "x", "args": [text]}}}})

    assert servers["a"]["args"] == [expected]
    notes = output.partition("    stdio")[2].partition("\nWrote")[0].partition("\n")[2]
    assert note in notes
    assert "secret" not in notes
    assert bool(notes) == bool(note)


def test_odd_reference_of_opencode_has_a_note(run: Import) -> None:
    _, output = run("opencode", {"opencode.json": {"mcp": {"a": {"command": ["x", "{env:MY-KEY}"]}}}})

    assert "args[0]: {env:MY-KEY} is unknown, and stays as it is" in output
