"""``dynamic-mcp check``: its text and its JSON, and that neither shows a value."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dynamic_mcp.commands.check import CheckReport, examine, main, report_lines, wrap

MOCK = {"description": "A mock", "command": sys.executable, "args": ["-m", "mock_servers", "stdio"]}
CANARY = "canary-5c1e"


def write(folder: Path, servers: dict[str, Any], **root: Any) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps({"mcpServers": servers, **root}))
    return path


def text_of(report: CheckReport) -> str:
    return "\n".join(report_lines(report))


def test_an_address_that_is_a_reference_is_shown_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADDRESS", f"https://user:{CANARY}@example.com/mcp")
    path = write(tmp_path, {"a": {"description": "Remote", "url": "${ADDRESS}"}})
    assert examine(path, connect=False).servers[0].runs == "${ADDRESS}"


def test_values_are_hidden_and_references_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", CANARY)
    path = write(
        tmp_path,
        {
            "a": {**MOCK, "args": ["--key", "${KEY}"], "env": {"TOKEN": "${KEY}", "LITERAL": CANARY}},
            "b": {
                "description": "Remote",
                "url": f"https://user:{CANARY}@example.com:8443/mcp/${{KEY}}?key={CANARY}",
                "headers": {"Authorization": "Bearer ${KEY}", "X": CANARY},
            },
        },
    )

    report = examine(path, connect=False)

    assert report.ok
    assert CANARY not in text_of(report)
    assert report.servers[0].runs.endswith("--key ${KEY}")
    assert report.servers[0].env == {"TOKEN": "${KEY}", "LITERAL": "(hidden)"}
    assert report.servers[1].runs == "https://example.com:8443/mcp/${KEY}?(hidden)"
    assert report.servers[1].headers == {"Authorization": "Bearer ${KEY}", "X": "(hidden)"}


def test_settings_for_signing_in_are_shown_without_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", CANARY)
    monkeypatch.setenv("ISSUER", f"https://login.test/{CANARY}")
    remote = {"description": "Remote", "url": "https://example.com/mcp"}
    path = write(
        tmp_path,
        {
            "a": {
                **remote,
                "oauth": {
                    "client_id": "app",
                    "client_secret": "${KEY}",
                    "assume_pkce": True,
                    "resource": False,
                    "issuer": "${ISSUER}",
                    "authorization_parameters": {"login_hint": CANARY},
                },
            },
            "b": {**remote, "oauth_client_id": "app", "oauth_client_secret": CANARY},
            "c": remote,
        },
    )

    report = examine(path, connect=False)

    assert CANARY not in text_of(report)
    shown = report.servers[0].oauth
    assert shown["assume_pkce"].startswith("true")
    assert {name: value for name, value in shown.items() if name != "assume_pkce"} == {
        "client_id": "app",
        "client_secret": "${KEY}",
        "resource": "false",
        "issuer": "${ISSUER}",
        "authorization_parameters": "login_hint",
    }
    assert report.servers[1].oauth["client_secret"] == "(hidden)"
    assert report.servers[2].oauth == {}
    assert "  oauth  client_secret=${KEY}" in [*report_lines(report)]


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        ({"command": "no-such-program"}, "mcpServers.a: the command 'no-such-program' is not on PATH"),
        ({"env": {"PATH": "/nonexistent"}, "command": "sh"}, "mcpServers.a: the command 'sh' is not on PATH"),
        ({"description": " "}, "mcpServers.a: the description is empty"),
        ({"cwd": "no-such-folder"}, "mcpServers.a: the folder '"),
        (
            {"command": "./no-such-program", "cwd": "/"},
            "mcpServers.a: the command './no-such-program' is not",
        ),
        ({"args": ["${NEVER_SET_HERE}"]}, "environment variable NEVER_SET_HERE is not set"),
    ],
)
def test_likely_mistakes_are_warnings(change: dict[str, Any], warning: str, tmp_path: Path) -> None:
    report = examine(write(tmp_path, {"a": {**MOCK, **change}}), connect=False)

    assert [text for text in report.warnings if text.startswith(warning)], report.warnings
    assert f"warning  {warning}" in text_of(report)


@pytest.mark.parametrize(
    ("groups", "length", "part"),
    [(9, 100, None), (20, 300, r"at most \d\d characters of each"), (200, 300, "none of the longer ones")],
)
def test_descriptions_that_are_too_long_together_are_a_warning(
    groups: int, length: int, part: str | None, tmp_path: Path
) -> None:
    servers = {f"group{number:03}": {**MOCK, "description": "x" * length} for number in range(groups)}

    warnings = "\n".join(examine(write(tmp_path, servers), connect=False).warnings)

    expected = f"the descriptions are too long together, so agents see {part}; shorten them"
    assert bool(re.search(expected, warnings)) == (part is not None)
    assert ("descriptions" in warnings) == (part is not None)


def test_credentials_in_url_and_header_are_a_warning(tmp_path: Path) -> None:
    servers = {
        name: {"description": "d", "url": url, "headers": headers}
        for name, url, headers in (
            ("both", "https://user:${P}@host/mcp", {"authorization": "Bearer ${P}"}),
            ("header", "https://host/mcp", {"Authorization": "Bearer ${P}"}),
            ("url", "https://user:${P}@host/mcp", {"X": "y"}),
        )
    }

    report = examine(write(tmp_path, servers), connect=False)

    assert [text for text in report.warnings if "hold credentials" in text] == [
        "mcpServers.both: both the url and the Authorization header hold credentials; remove one of them"
    ]


def test_valid_configuration_has_no_warnings(tmp_path: Path) -> None:
    report = examine(write(tmp_path, {"a": MOCK}), connect=False)

    assert (report.ok, report.warnings, report.error) == (True, [], None)


@pytest.mark.parametrize("option", [[], ["--json"]])
def test_control_characters_are_visible(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    evil = "x\x1b[2Jy\x9bz\u202e\u2028Größe\n  FAILED"
    name = {"a\x1b[2J": {**MOCK, "description": evil, "args": [evil], "env": {evil: "1"}}}

    main([str(write(tmp_path, name)), *option])

    shown = capsys.readouterr().out
    assert all(letter.isprintable() or letter == "\n" for letter in shown)
    assert not any(line.strip().startswith("FAILED") for line in shown.splitlines())
    assert "x\\u001b[2Jy\\u009bz\\u202e\\u2028Größe\\n  FAILED" in shown
    if option:
        assert json.loads(shown)["servers"][0]["description"] == evil


def test_disabled_servers_are_named(tmp_path: Path) -> None:
    path = write(tmp_path, {"a": MOCK, "b": {**MOCK, "enabled": False}, "c": {**MOCK, "enabled": False}})

    report = examine(path, connect=False)

    assert report.switched_off == ["b", "c"]
    assert text_of(report).startswith(f"{path}: 1 enabled server, 2 switched off (b, c)\n")


@pytest.mark.parametrize(
    ("line", "rows"),
    [
        ("short", ["short"]),
        (
            "warning  one two three four five six seven eight nine ten",
            ["warning  one two three four five six", "         seven eight nine ten"],
        ),
        (
            "  ok  one two three four five six seven eight nine",
            ["  ok  one two three four five six seven", "      eight nine"],
        ),
        (
            "Now one two three four five six seven eight nine",
            ["Now one two three four five six seven", "eight nine"],
        ),
        ("  try  " + "a " * 40, ["  try  " + "a " * 40]),
        ("x " + "y" * 60, ["x", "y" * 60]),
    ],
)
def test_long_lines_are_wrapped_and_commands_are_not(line: str, rows: list[str]) -> None:
    assert wrap(line, 40) == rows
    assert wrap(line, None) == [line]


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dynamic_mcp", "check", *words]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=40, check=False
    )


@pytest.mark.slow
def test_invalid_configuration(tmp_path: Path) -> None:
    path = write(tmp_path, {"a": {"description": "d"}})

    text, as_json = run(str(path)), run("--json", DYNAMIC_MCP_CONFIG=str(path))

    assert (text.returncode, as_json.returncode) == (2, 2)
    assert text.stdout.startswith(f"unusable  {path}: line 1, column 22: mcpServers.a: needs 'command'")
    assert json.loads(as_json.stdout)["error"].startswith(
        f"{path}: line 1, column 22: mcpServers.a: needs 'command'"
    )
    assert run().returncode == 2


@pytest.mark.slow
def test_strict_makes_a_warning_an_error(tmp_path: Path) -> None:
    path = str(write(tmp_path, {"a": {**MOCK, "command": "no-such-program"}}))

    assert (run(path).returncode, run(path, "--strict").returncode) == (0, 1)


@pytest.mark.slow
def test_connect_starts_each_server_and_shows_what_it_offers(tmp_path: Path) -> None:
    dies = {"description": "d", "command": "sh", "args": ["-c", "echo no key >&2; exit 3"]}
    servers = {"mock": MOCK, "dies": dies, "nowhere": {"description": "d", "url": "http://127.0.0.1:1/mcp"}}
    path = str(write(tmp_path, servers))

    done = run(path, "--connect", "--json")

    report = json.loads(done.stdout)
    mock, died, nowhere = (server["connected"] for server in report["servers"])
    assert done.returncode == 1
    assert mock["ok"]
    assert mock["tools"] > 0
    assert mock["tokens"] > 0
    assert (died["failure"], died["stderr"].strip()) == ("the server process ended (exit code 3)", "no key")
    assert "could not be reached" in nowhere["failure"]
    assert (report["tokens_direct"], report["tokens_proxy"]) == (None, None)
    text = run(path, "--connect").stdout
    assert "side by side" not in text
    assert "FAILED  the server process ended (exit code 3)\n    no key" in text
    assert "  ok  " in text


@pytest.mark.slow
def test_tokens_are_compared_if_every_server_answered(tmp_path: Path) -> None:
    path = str(write(tmp_path, {"mock": MOCK}))

    report = json.loads(run(path, "--connect", "--json").stdout)
    assert report["tokens_direct"] == report["servers"][0]["connected"]["tokens"] > 0
    assert report["tokens_proxy"] > 0
    assert f"{report['tokens_direct']} with these servers side by side" in run(path, "--connect").stdout


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "ascii:strict"])
def test_output_fits_every_encoding_of_a_terminal(tmp_path: Path, encoding: str) -> None:
    name, description = "größe", "Köln 設定 🎉 “x”"
    path = tmp_path / "größe.json"
    config = {"mcpServers": {name: {"description": description, "command": "/bin/nö", "args": ["日本"]}}}
    path.write_text(json.dumps(config, ensure_ascii=False), encoding="utf-8")
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}

    def run(*words: str) -> bytes:
        command = [sys.executable, "-m", "dynamic_mcp", *words]
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
        assert b"Error" not in done.stderr
        return done.stdout + done.stderr

    codec = encoding.partition(":")[0]
    (server,) = json.loads(run("check", str(path), "--json").decode(codec))["servers"]
    assert (server["name"], server["description"]) == (name, description)
    assert "\\u8a2d\\u5b9a" in run("check", str(path)).decode(codec)
    assert b"gr" in run("check", str(tmp_path / "größer.json"))
    assert b"child process" in run("login", name, str(path))
    assert b"invalid choice" in run("import", "größe", "--yes")
