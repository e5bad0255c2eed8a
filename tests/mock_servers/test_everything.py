"""The script that has everything, and what it needs of the mocks; the official suite judges the rest (tests/official)."""

from pathlib import Path
from typing import Any

import pytest

from mock_servers.everything import everything
from mock_servers.incoming import RuleMatcher
from mock_servers.script import Http, Rule, Script, reply

from .driver import ENVELOPE, running
from .remote_driver import META, json_of, remote

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
def test_a_rule_serves_messages_whose_parameters_hold_its_pattern(
    params: Any, pattern: dict[str, Any], serves: bool
) -> None:
    assert rule_for(params, pattern) is serves


def test_everything_survives_its_file(tmp_path: Path) -> None:
    script = everything()

    assert Script.load(script.save(tmp_path / "s.json")) == script


def test_over_stdio_nothing_needs_an_event_stream() -> None:
    over_http, over_stdio = everything(), everything(streams=False)

    assert {action["do"] for rule in over_http.on for action in rule.actions} >= {"end_stream"}
    assert "end_stream" not in {action["do"] for rule in over_stdio.on for action in rule.actions}


def test_a_question_is_asked_until_it_is_answered_with_its_state(tmp_path: Path) -> None:
    name = "test_input_required_result_tampered_state"
    answers = {"confirm": {"action": "accept", "content": {"name": "x"}}}
    with running(tmp_path, everything(streams=False)) as mock:

        def call(**more: Any) -> Any:
            return mock.ask("tools/call", {"name": name, "arguments": {}, **ENVELOPE, **more})

        asked = call()["result"]
        done = call(inputResponses=answers, requestState=asked["requestState"])
        tampered = call(inputResponses=answers, requestState="other")

    assert asked["resultType"] == "input_required"
    assert done["result"]["resultType"] == "complete"
    assert tampered["error"]["code"] == -32602


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://localhost:1234"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "evil.example"}, 403),
        ({"Host": "[::1]:80"}, 200),
    ],
)
def test_a_local_server_is_for_this_machine_only(
    tmp_path: Path, headers: dict[str, str], status: int
) -> None:
    with remote(tmp_path, "http", Script(http=Http(local_only=True))) as mock:
        ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        assert mock.request("POST", "/mcp", ping, **headers).status == status


class TestBothErasOnOneUrl:
    script = Script(era="both", http=Http(sessions=True))

    def test_the_header_tells_a_broken_modern_request_from_a_legacy_one(self, tmp_path: Path) -> None:
        with remote(tmp_path, "http", self.script) as mock:
            modern = mock.post("tools/list", MCP_Protocol_Version="2026-07-28", Mcp_Method="tools/list")
            legacy = mock.post("tools/list", MCP_Protocol_Version="2025-11-25")

            assert (modern.status, json_of(modern)["error"]["code"]) == (400, -32602)
            assert (legacy.status, json_of(legacy)["error"]["code"]) == (400, -32000)

    def test_a_version_that_contradicts_its_header_is_a_mismatch(self, tmp_path: Path) -> None:
        unknown = {**META, "io.modelcontextprotocol/protocolVersion": "2030-01-01"}
        with remote(tmp_path, "http", self.script) as mock:
            response = mock.post(
                "server/discover",
                {"_meta": unknown},
                MCP_Protocol_Version="2026-07-28",
                Mcp_Method="server/discover",
            )

            assert (response.status, json_of(response)["error"]["code"]) == (400, -32020)
