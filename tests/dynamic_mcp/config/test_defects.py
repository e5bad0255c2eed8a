"""Settings that no program and no HTTP request can carry are warnings, and the failure of their own server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dynamic_mcp.config.load import parse

CHILD: dict[str, Any] = {"description": "d", "command": "true"}
REMOTE: dict[str, Any] = {"description": "d", "url": "https://a.test/mcp"}
SECRET = "s3cr3t"


def warnings(entry: dict[str, Any], **environment: str) -> tuple[str, ...]:
    """The warnings about one server."""
    return parse(json.dumps({"mcpServers": {"a": entry}}).encode(), "config.json", environment).warnings


@pytest.mark.parametrize(
    ("entry", "place", "says"),
    [
        ({**CHILD, "env": {f"A={SECRET}": "1"}}, "env.A...", "not the name of a variable"),
        ({**CHILD, "env": {f"A\0{SECRET}": "1"}}, "env.A...", "not the name of a variable"),
        ({**CHILD, "env": {"": SECRET}}, "env", "a variable without a name"),
        ({**CHILD, "env": {"A": f"{SECRET}\0"}}, "env.A", "NUL character"),
        ({**CHILD, "args": ["x", f"{SECRET}\0"]}, "args[1]", "NUL character"),
        ({**CHILD, "command": "a\0b"}, "command", "NUL character"),
        ({**CHILD, "cwd": "/a\0b"}, "cwd", "NUL character"),
        ({**CHILD, "security": {"command_prefix": ["nice", "\0"]}}, "security.command_prefix[1]", "NUL"),
        ({**REMOTE, "headers": {f"X: {SECRET}": "1"}}, "headers.X...", "not the name of a header"),
        ({**REMOTE, "headers": {"X Y": SECRET}}, "headers.X...", "not the name of a header"),
        ({**REMOTE, "headers": {"\u00e9": SECRET}}, "headers....", "not the name of a header"),
        ({**REMOTE, "headers": {"": SECRET}}, "headers", "a header without a name"),
        ({**REMOTE, "headers": {"X": f"{SECRET}\r\nY: 1"}}, "headers.X", "line end"),
        ({**REMOTE, "headers": {"X": f"{SECRET}\n"}}, "headers.X", "line end"),
        ({**REMOTE, "headers": {"X": f"{SECRET}\0"}}, "headers.X", "control character"),
        ({**REMOTE, "headers": {"X": f"{SECRET}\u20ac"}}, "headers.X", "beyond Latin-1"),
        ({**REMOTE, "headers": {"content-length": "3"}}, "headers.content-length", "remove it"),
        ({**REMOTE, "headers": {"Transfer-Encoding": "chunked"}}, "headers.Transfer-Encoding", "remove it"),
    ],
)
def test_setting_that_cannot_work_has_a_warning(entry: dict[str, Any], place: str, says: str) -> None:
    (warning,) = warnings(entry)
    assert warning.startswith(f"mcpServers.a.{place} ")
    assert says in warning
    assert SECRET not in warning


def test_the_value_of_a_variable_is_judged_too() -> None:
    (warning,) = warnings({**REMOTE, "headers": {"X": "Bearer ${TOKEN}"}}, TOKEN=f"{SECRET}\r")
    assert warning.startswith("mcpServers.a.headers.X has a line end")


@pytest.mark.parametrize(
    "entry",
    [
        {**CHILD, "env": {"a.b-c d": "x=y\n", "\u00e9": "\u20ac"}, "args": ["", "a=b\n"]},
        {**REMOTE, "headers": {"X-A_b.c!": "a\tb", "Host": "x", "Connection": "close", "Y": "h\u00e9"}},
    ],
)
def test_what_can_work_has_none(entry: dict[str, Any]) -> None:
    assert warnings(entry) == ()


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (
            f"${{X:-{SECRET}}}",
            "${X...} is left as it is, because the proxy has no default values; write ${X}",
        ),
        (f"a${{X-{SECRET}}}", "${X...} is left as it is"),
        ("${X:?no}", "${X...} is left as it is"),
        (
            "${env:HOME}",
            "${env:HOME} is left as it is, because the proxy replaces only ${NAME}; write ${HOME}",
        ),
        (
            "${input:key}",
            "${input:key} is left as it is, because the proxy replaces only ${NAME}; write ${NAME}",
        ),
    ],
)
def test_reference_of_another_syntax_has_a_warning_and_stays(text: str, warning: str) -> None:
    entry = {**CHILD, "args": [text, text]}
    first, second = warnings(entry, X="x", HOME="/h")
    assert first.startswith(f"mcpServers.a.args[0]: {warning}")
    assert second.startswith("mcpServers.a.args[1]: ")
    assert SECRET not in first
    config = parse(json.dumps({"mcpServers": {"a": entry}}).encode(), "config.json", {"X": "x", "HOME": "/h"})
    assert config.servers[0].transport.args == (text, text)  # type: ignore[union-attr]


@pytest.mark.parametrize("text", ["$X", "${}", "${A B}", "${1}", "$(x)", "{env:X}", "%X%"])
def test_other_text_with_a_dollar_has_none(text: str) -> None:
    assert warnings({**CHILD, "args": [text]}) == ()


def test_the_script_of_a_shell_has_references_of_its_own() -> None:
    assert warnings({**CHILD, "command": "/bin/sh", "args": ["-c", "echo ${X:-y}"]}) == ()
    assert len(warnings({**CHILD, "command": "/bin/sh", "env": {"A": "${X:-y}"}})) == 1


def test_the_other_servers_of_the_file_stay() -> None:
    file = {"mcpServers": {"a": {**CHILD, "args": ["\0"]}, "b": CHILD}}
    config = parse(json.dumps(file).encode(), "config.json", {})
    assert [server.name for server in config.servers] == ["a", "b"]
