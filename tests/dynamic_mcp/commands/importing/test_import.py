"""``dynamic-mcp import``: the files of ten tools, and their conversion."""

from __future__ import annotations

import json
import os
import pty
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamic_mcp.commands.importing import client_snippet, command
from dynamic_mcp.commands.importing.command import import_servers, shorten, summarize
from dynamic_mcp.commands.importing.entries import convert
from dynamic_mcp.commands.importing.references import References
from dynamic_mcp.commands.importing.sources import SourceFiles, find, read_sources
from dynamic_mcp.commands.importing.tools import KNOWN_TOOLS, TOOLS_BY_NAME, Locations, Tool
from dynamic_mcp.config.load import parse
from dynamic_mcp.errors import ConfigError

if TYPE_CHECKING:
    from syrupy.assertion import SnapshotAssertion

SOURCES = Path(__file__).parent / "sources"
#: The folders that the test files refer to.
PROJECT, HOME = Path("/srv/project"), Path("/home/user")


def converted(tool: Tool, *, is_global: bool) -> dict[str, Any]:
    folder = SOURCES / tool.name
    sources = find(tool, Locations(folder / "project", folder / "home", {}, "linux"), is_global=is_global)
    locations = Locations(PROJECT, HOME, {}, "linux")
    return {
        server.name: {"entry": server.entry, "description": server.description, "notes": server.notes}
        for server in import_servers(tool, read_sources(tool, sources, locations), locations)
    }


@pytest.mark.parametrize("tool", KNOWN_TOOLS, ids=lambda tool: tool.name)
def test_typical_file_of_each_tool(tool: Tool, snapshot: SnapshotAssertion) -> None:
    servers = converted(tool, is_global=False)

    assert servers == snapshot
    assert "canary" not in str([server["notes"] for server in servers.values()])
    kept = {
        name: {"description": "", **server["entry"]} for name, server in servers.items() if server["entry"]
    }
    assert kept
    parse(json.dumps({"mcpServers": kept}).encode(), "", {})


def test_user_file_has_global_and_folder_servers() -> None:
    assert converted(TOOLS_BY_NAME["claude"], is_global=True).keys() == {"everywhere", "here"}


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {}, "/home/user/.config/Claude/claude_desktop_config.json"),
        ("linux", {"XDG_CONFIG_HOME": "/x"}, "/x/Claude/claude_desktop_config.json"),
        ("darwin", {}, "/home/user/Library/Application Support/Claude/claude_desktop_config.json"),
        ("win32", {"APPDATA": "/appdata"}, "/appdata/Claude/claude_desktop_config.json"),
    ],
)
def test_folder_of_application_settings(platform: str, environment: dict[str, str], expected: str) -> None:
    locations = Locations(PROJECT, HOME, environment, platform)

    assert TOOLS_BY_NAME["claude-desktop"].files(locations, is_global=True) == [Path(expected)]


def test_environment_may_name_another_folder() -> None:
    locations = Locations(PROJECT, HOME, {"CODEX_HOME": "/x"}, "linux")

    assert TOOLS_BY_NAME["codex"].files(locations, is_global=True) == [Path("/x/config.toml")]


def test_missing_file_names_the_other_file(tmp_path: Path) -> None:
    (tmp_path / "home" / ".cursor").mkdir(parents=True)
    is_global = tmp_path / "home" / ".cursor" / "mcp.json"
    is_global.write_text("{}")

    with pytest.raises(ConfigError, match=rf"no configuration of Cursor; .*with --global it is {is_global}$"):
        find(TOOLS_BY_NAME["cursor"], Locations(tmp_path, tmp_path / "home"), is_global=False)


BROKEN: dict[str, list[tuple[str | bytes, str]]] = {
    "cursor/.cursor/mcp.json": [
        ('{"mcpServers": {"a": {"command": "canary"}', "line 1"),
        ('{"mcpServers": []}', "mcpServers is not an object"),
        ("[]", "is not an object with servers"),
        (b'{"mcpServers": "\xff"}', "is not UTF-8"),
        ("{'a': " * 3000, "nested too deeply"),
        (f'{{"mcpServers": {{"a": {{"b": {"[" * 700}{"]" * 700}}}}}}}', "nested too deeply"),
    ],
    "codex/.codex/config.toml": [
        ("[mcp_servers.a\ncommand = 'canary'", "is not TOML: .*line 1"),
        (f"a = {'[' * 3000}", "nested too deeply"),
        (f"a = {'[' * 300}{']' * 300}", "nested too deeply"),
        (f"a = {'1' * 5000}", "is not TOML: .*digits"),
    ],
}


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [(file, text, message) for file, cases in BROKEN.items() for text, message in cases],
)
def test_broken_file_is_reported_with_its_location(
    file: str, text: str | bytes, message: str, tmp_path: Path
) -> None:
    tool, _, name = file.partition("/")
    path = tmp_path / name
    path.parent.mkdir()
    path.write_bytes(text if isinstance(text, bytes) else text.encode())

    with pytest.raises(ConfigError, match=message) as caught:
        read_sources(TOOLS_BY_NAME[tool], SourceFiles((path,)), Locations(tmp_path, tmp_path))
    assert str(caught.value).startswith(f"{path}: ")
    assert "canary" not in str(caught.value)


def convert_entry(source: object, tool: str = "cursor") -> Any:
    kinds = TOOLS_BY_NAME[tool].references
    return convert(
        "a", source, lambda note: References(kinds, PROJECT, HOME, note), TOOLS_BY_NAME[tool].timeout_unit
    )


@pytest.mark.parametrize(
    ("source", "note"),
    [
        (5, "is not an object"),
        ({}, "neither a command nor an address"),
        ({"command": 7}, "must be strings|neither a command"),
        ({"command": ["x", 7]}, "must be strings"),
        ({"command": "x", "args": "--y"}, "args must be a list"),
        ({"command": "x", "env": {"A": [1]}}, r"env\.A must be a string"),
        ({"command": "x", "url": "https://example.com"}, "the address was left out"),
        ({"command": "x", "headers": {"A": "b"}}, "headers was left out"),
        ({"url": "https://example.com", "type": "carrier-pigeon"}, "type is unknown"),
        ({"command": "x", "disabled": "yes"}, "disabled must be true or false"),
        ({"command": "/usr/bin/dmcp"}, "starts this proxy itself"),
        ({"command": "python3.12", "args": ["-m", "dynamic_mcp", "c.json"]}, "starts this proxy itself"),
        ({"command": "npx", "args": ["-y", "dynamic-mcp@1.2"]}, "starts this proxy itself"),
    ],
)
def test_lost_settings_have_a_note(source: object, note: str) -> None:
    assert [text for text in convert_entry(source).notes if re.search(note, text)]


@pytest.mark.parametrize("program", ["git", "dynamic-mcp-tools", "/opt/dmcp/server"])
def test_only_proxies_are_recognized_as_proxies(program: str) -> None:
    assert convert_entry({"command": program, "args": ["dmcp"]}).entry is not None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
#: Each line lists synonyms: the first one in the entry counts, and the others get a note.
SYNONYMS = [
    ["command"],
    ["args"],
    ["env", "environment"],
    ["url", "serverUrl", "httpUrl"],
    ["headers", "http_headers"],
    ["env_http_headers"],
    ["bearer_token_env_var"],
    ["timeout", "tool_timeout_sec"],
    ["oauth", "auth"],
    ["scopes"],
    ["cwd"],
    ["disabled"],
    ["includeTools", "allowedTools"],
    ["excludeTools", "disabled_tools"],
    ["surprise"],
]
values = json_values | st.sampled_from(
    ["x", "https://example.com/", ["x"], {"x": "y"}, {"clientId": "x"}, True, 5]
)
#: Only texts here, because another value drops both fields with a single note; the test above covers that.
texts = st.lists(st.text(min_size=1), min_size=1, max_size=3)
names = st.lists(st.sampled_from(["a", "b_*"]), min_size=1) | st.integers() | st.just({"a": 1})
TOOL_LISTS = dict.fromkeys(("includeTools", "allowedTools", "excludeTools", "disabled_tools"), names)
VALUES: dict[str, st.SearchStrategy[Any]] = {"command": texts | st.text(), "args": texts, **TOOL_LISTS}
entries = st.lists(st.sampled_from(SYNONYMS), unique_by=tuple, max_size=6).flatmap(
    lambda chosen: st.fixed_dictionaries({field: VALUES.get(field, values) for field, *_ in chosen})
)


@given(entries)
@settings(max_examples=200)
def test_no_field_is_lost_without_a_note(source: dict[str, Any]) -> None:
    result = convert_entry(source)

    for name, value in source.items():
        is_trivial = value in (None, "", [], {}) or (name == "disabled" and value is False)
        if result.entry is not None and not is_trivial:
            without = convert_entry({field: value for field, value in source.items() if field != name})
            assert (without.entry, without.notes) != (result.entry, result.notes), name


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("# Files\n\nReads files.", "Files"),
        ("Reads files. And writes them.", "Reads files."),
        ("\n\n", ""),
        ("word " * 100, "word " * 39 + "word ..."),
        ("a\x1b[31mb", "a [31mb"),
    ],
)
def test_description_is_one_short_line(text: str, short: str) -> None:
    assert shorten(text) == short


def test_server_without_a_description_is_described_by_its_tools() -> None:
    assert summarize("Time", ["now", "convert"]) == "Time with now, convert"
    assert summarize("Time", []) == "Time"
    assert summarize("", []) == ""
    assert shorten(summarize("Many", [f"tool_{n:03}" for n in range(99)])).endswith(", ...")


@pytest.mark.parametrize("tool", KNOWN_TOOLS, ids=lambda tool: tool.name)
def test_entry_for_each_tool(
    tool: Tool, snapshot: SnapshotAssertion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "dynamic_mcp.commands.importing.client_snippet.shutil.which", lambda name: f"/bin/{name}"
    )
    source = tool.files(Locations(PROJECT, HOME, {}, "linux"), is_global=not tool.project_files)[0]

    assert list(client_snippet.instructions(tool, source, Path("/srv/project/dynamic-mcp.json"))) == snapshot


def test_program_outside_of_path_is_named_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dynamic_mcp.commands.importing.client_snippet.shutil.which", lambda name: None)

    _, entry = client_snippet.instructions(TOOLS_BY_NAME["cursor"], Path("mcp.json"), Path("/c.json"))

    assert json.loads(entry)["mcpServers"]["dynamic-mcp"] == {
        "command": sys.executable,
        "args": ["-m", "dynamic_mcp", "/c.json"],
    }


def start(folder: Path, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dynamic_mcp", "import", *words]
    environment = {**os.environ, "HOME": str(folder)}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=30, check=False, **more
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / ".cursor").mkdir()
    mock = {"command": sys.executable, "args": ["-m", "mock_servers", "stdio"]}
    servers = {
        "mock": mock,
        "gone": {"command": "/nonexistent/program"},
        "off": {"command": "/nonexistent/program", "disabled": True},
    }
    (tmp_path / ".cursor" / "mcp.json").write_text(json.dumps({"mcpServers": servers}))
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("options", [("--yes",), ("--yes", "--offline"), ("--yes", "--global")])
def test_yes_alone_starts_nothing_and_shows_what_would_run(folder: Path, options: tuple[str, ...]) -> None:
    witness = folder / "started"
    servers = {
        "evil\x1b[2J\u202e": {"command": "touch", "args": [str(witness), "a b\x1b[31m\r\u202e"]},
        "off": {"command": "touch", "args": [str(witness)], "disabled": True},
        "leak": {"url": "https://u:canary@host.example/mcp?key=canary", "headers": {"X-Key": "canary"}},
        "injected": {"command": "node", "env": {"NODE_OPTIONS": "canary"}},
        "long": {"command": "x" * 5000},
    }
    (folder / ".cursor" / "mcp.json").write_text(json.dumps({"mcpServers": servers}))

    done = start(folder, "cursor", *options, stdin=subprocess.DEVNULL)

    assert done.returncode == 0, done.stderr
    assert not witness.exists()
    assert f"stdio  touch {witness} 'a b" in done.stderr
    assert "https://host.example/mcp" in done.stderr
    assert "env  NODE_OPTIONS" in done.stderr
    assert "(4000 more characters)" in done.stderr
    assert "--start" in done.stderr
    assert all(letter.isprintable() or letter == "\n" for letter in done.stderr)
    assert "canary" not in done.stderr
    written = json.loads((folder / "dynamic-mcp.json").read_text())["mcpServers"]
    assert written.keys() == servers.keys()
    assert all("features" not in entry for entry in written.values()), "all features"
    assert written["leak"]["description"] == "Tools of leak"


@pytest.mark.slow
def test_start_takes_the_descriptions_of_the_servers(folder: Path) -> None:
    done = start(folder, "cursor", "--yes", "--start", stdin=subprocess.DEVNULL)

    assert done.returncode == 0, done.stderr
    assert "gone: the command '/nonexistent/program' could not be started" in done.stderr
    output = folder / "dynamic-mcp.json"
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    written = json.loads(output.read_text())["mcpServers"]
    assert written["gone"]["description"] == "Tools of gone"
    assert written["off"]["enabled"] is False
    assert "  off (switched off)" in done.stderr
    assert written["mock"]["description"] == "mock with echo, add"
    assert "[1/2]" in done.stderr
    assert "[2/2]" in done.stderr
    assert parse(output.read_bytes(), "", {}).servers


@pytest.mark.slow
def test_existing_file_is_replaced_only_with_consent(folder: Path) -> None:
    output = folder / "mine.json"
    output.write_text("mine")

    refused = start(folder, "cursor", "--yes", "--offline", "--output", "mine.json", stdin=subprocess.DEVNULL)
    assert (refused.returncode, output.read_text()) == (1, "mine")
    assert "--force" in refused.stderr

    forced = start(folder, "cursor", "--yes", "--offline", "-f", "-o", "mine.json", stdin=subprocess.DEVNULL)
    assert forced.returncode == 0
    assert parse(output.read_bytes(), "", {}).servers
    assert [path.name for path in folder.iterdir() if path.name.endswith(".tmp")] == []


@pytest.mark.parametrize("exists", [True, False])
def test_link_stays_and_its_file_is_replaced(
    folder: Path, monkeypatch: pytest.MonkeyPatch, exists: bool
) -> None:
    (folder / "kept").mkdir()
    place, link = folder / "kept" / "real.json", folder / "mine.json"
    if exists:
        place.write_text("mine")
    link.symlink_to(Path("kept", "real.json"))
    monkeypatch.chdir(folder)

    assert command.main(["cursor", "--yes", "--offline", "--force", "--output", "mine.json"]) == 0

    assert link.is_symlink()
    assert parse(place.read_bytes(), "", {}).servers


def test_output_that_is_no_file_stays(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(folder / "pipe")
    monkeypatch.chdir(folder)

    with pytest.raises(SystemExit):
        command.main(["cursor", "--yes", "--offline", "--force", "--output", "pipe"])

    assert "pipe: is no file; name a file with --output" in capsys.readouterr().err
    assert (folder / "pipe").is_fifo()


@pytest.mark.slow
def test_missing_terminal_needs_yes(folder: Path) -> None:
    done = start(folder, "cursor", stdin=subprocess.DEVNULL)

    assert done.returncode == 2
    assert "--yes" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answers", "status"),
    [("\nMy server\n\n\nn\nn\ny\nn\n\n\n", 0), ("n\nMy server\n", 1)],
    ids=["answered", "ended before the last question"],
)
def test_dialog_at_a_terminal(folder: Path, answers: str, status: int) -> None:
    controller, terminal = pty.openpty()
    try:
        os.write(controller, answers.encode() + (b"\x04" if status else b""))
        done = start(folder, "cursor", stdin=terminal)
    finally:
        os.close(terminal)
        os.close(controller)

    assert done.returncode == status, done.stderr
    output = folder / "dynamic-mcp.json"
    assert output.exists() == (status == 0)
    if status == 0:
        written = json.loads(output.read_text())["mcpServers"]
        assert written["mock"]["description"] == "My server"
        assert "features" not in written["mock"]
        assert written["gone"]["features"] == {"tools": False, "prompts": False}
