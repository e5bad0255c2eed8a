"""Incoming messages: what the mock refuses, and which rule serves a message."""

from pathlib import Path
from typing import Any

import pytest

from mock_servers.incoming import RuleMatcher
from mock_servers.script import Rule, Script, error, on_call, reply, request

from .driver import running

DONE = reply({})


def rule_for(params: Any, pattern: dict[str, Any]) -> bool:
    rules = RuleMatcher([Rule("x/y", [DONE], params=pattern)])
    return rules.actions_for({"jsonrpc": "2.0", "id": 1, "method": "x/y", "params": params}) is not None


@pytest.mark.parametrize(
    ("params", "pattern", "serves"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": 1}, {"a": 2}, False),
        ({"a": {"b": {"c": 1}, "d": 2}}, {"a": {"b": {"c": 1}}}, True),
        ({"a": {}}, {"a": {}}, True),
        ({"a": 1}, {"a": {}}, False),
        ({}, {"a": {}}, False),
        ({}, {"a": None}, True),
        ({"a": 1}, {"a": None}, False),
        ([], {}, False),
        (None, {"a": None}, False),
    ],
)
def test_rule_matches_parameters_that_contain_its_pattern(
    params: Any, pattern: dict[str, Any], serves: bool
) -> None:
    assert rule_for(params, pattern) is serves


def test_rule_matches_tool_and_occurrence(tmp_path: Path) -> None:
    script = Script(on=[on_call("echo", error(1, "second"), nth=2), on_call("add", error(2, "add"))])
    with running(tmp_path, script) as mock:
        answers = [mock.call(), mock.call("add", a=1, b=1), mock.call(), mock.call()]
    assert [answer.get("error", {}).get("code") for answer in answers] == [None, 2, 1, None]


def test_rule_serves_a_notification(tmp_path: Path) -> None:
    script = Script(on=[Rule("notifications/initialized", [request("roots/list")])])
    with running(tmp_path, script) as mock:
        mock.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        assert mock.next()["method"] == "roots/list"


def test_wildcard_rule_serves_any_request(tmp_path: Path) -> None:
    with running(tmp_path, Script(on=[Rule("*", [error(5, "closed")])])) as mock:
        assert mock.ask("initialize")["error"]["code"] == 5
        assert mock.ask("tools/list")["error"]["code"] == 5


@pytest.mark.parametrize(
    ("line", "code", "identity"),
    [
        (b"hello", -32700, None),
        (b"\xff", -32700, None),
        (b"[" * 100_000, -32700, None),
        (b"[]", -32600, None),
        (b'{"id":3,"method":"ping"}', -32600, 3),
        (b'{"jsonrpc":"2.0","id":4}', -32600, 4),
    ],
)
def test_invalid_message_is_refused(tmp_path: Path, line: bytes, code: int, identity: int | None) -> None:
    with running(tmp_path) as mock:
        mock.write(line + b"\n")
        answer = mock.next()
        assert (answer["error"]["code"], answer["id"]) == (code, identity)
        assert mock.ask("ping")["result"] == {}


def test_notifications_and_blank_lines_get_no_answer(tmp_path: Path) -> None:
    with running(tmp_path) as mock:
        mock.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        mock.send({"jsonrpc": "2.0", "method": "tools/list"})
        mock.write(b"\n  \r\n")
        assert mock.ask("ping")["result"] == {}


def test_message_can_arrive_in_pieces(tmp_path: Path) -> None:
    with running(tmp_path) as mock:
        for piece in (b'{"jsonrpc":"2.0","id"', b':"x","method":"pi', b'ng"}\n{"jsonrpc":"2.0","id":"y",'):
            mock.write(piece)
        assert mock.next()["id"] == "x"
        mock.write(b'"method":"ping"}\n')
        assert mock.next()["id"] == "y"
