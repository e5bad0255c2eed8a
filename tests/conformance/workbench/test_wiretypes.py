"""The version of a request decides the types of its answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from conformance.errors import Violation
from conformance.workbench import wiretypes
from conformance.workbench.transcript import Transcript
from mock_servers.answers import MODERN_VERSION, VERSION_KEY

MODERN_META = {VERSION_KEY: MODERN_VERSION}
TOOLS: dict[str, Any] = {"tools": []}
HINTS = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
INITIALIZED = {"capabilities": {}, "serverInfo": {"name": "x", "version": "1"}}


class Conversation:
    """Builds a transcript."""

    def __init__(self) -> None:
        self.transcript = Transcript()

    def ask(self, method: str, *, id: Any = 1, **params: Any) -> None:
        self.send({"jsonrpc": "2.0", "id": id, "method": method, "params": params})

    def send(self, value: Any) -> None:
        self.transcript.sent(json.dumps(value).encode() + b"\n")

    def hear(self, value: Any) -> None:
        self.transcript.received(json.dumps(value))

    def answer(self, result: Any, *, id: Any = 1) -> None:
        self.hear({"jsonrpc": "2.0", "id": id, "result": result})

    def negotiate(self, version: str) -> None:
        self.ask("initialize", id=0, protocolVersion=version)
        self.answer({"protocolVersion": version, **INITIALIZED}, id=0)

    def judge(self) -> None:
        wiretypes.judge(self.transcript)


@pytest.fixture
def conversation() -> Conversation:
    return Conversation()


def notification(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": method, "params": params}


def test_an_answer_is_judged_by_the_method_of_its_request(conversation: Conversation) -> None:
    conversation.ask("tools/list")
    conversation.answer(TOOLS)
    conversation.judge()
    conversation.ask("prompts/list", id="1")
    conversation.answer(TOOLS, id="1")
    with pytest.raises(
        Violation, match=r"a valid prompts/list result of 2025-11-25[\s\S]*prompts: Field required"
    ):
        conversation.judge()


def test_an_answer_is_judged_by_the_era_of_its_request(conversation: Conversation) -> None:
    conversation.negotiate("2025-06-18")
    conversation.ask("tools/list")
    conversation.answer(TOOLS)
    conversation.ask("tools/list", id=2, _meta=MODERN_META)
    conversation.answer({**TOOLS, **HINTS}, id=2)
    conversation.judge()
    conversation.ask("tools/list", id=3, _meta=MODERN_META)
    conversation.answer(TOOLS, id=3)
    with pytest.raises(Violation, match="a valid tools/list result of 2026-07-28"):
        conversation.judge()


def test_a_result_of_an_unknown_method_of_the_version_is_a_violation(conversation: Conversation) -> None:
    conversation.ask("ping", _meta=MODERN_META)
    conversation.answer(HINTS)
    with pytest.raises(Violation, match="this version has no such message"):
        conversation.judge()


@pytest.mark.parametrize("error", [{"code": "-32601", "message": "x"}, {"code": -32601}, "x", None])
def test_a_faulty_error_is_a_violation(conversation: Conversation, error: Any) -> None:
    conversation.ask("tools/list")
    conversation.hear({"jsonrpc": "2.0", "id": 1, "error": error})
    with pytest.raises(Violation, match="a valid JSON-RPC error"):
        conversation.judge()


@pytest.mark.parametrize(
    "message", [{"id": 1, "result": {}}, {"jsonrpc": "2.0", "id": 1.5, "result": {}}, {}]
)
def test_a_faulty_envelope_is_a_violation(conversation: Conversation, message: Any) -> None:
    conversation.hear(message)
    with pytest.raises(Violation, match="a valid JSON-RPC message"):
        conversation.judge()


def test_the_members_of_a_batch_are_judged_one_by_one(conversation: Conversation) -> None:
    conversation.send([{"jsonrpc": "2.0", "id": id, "method": "tools/list"} for id in (1, 2)])
    conversation.hear([{"jsonrpc": "2.0", "id": id, "result": TOOLS} for id in (1, 2)])
    conversation.judge()
    conversation.hear([{"jsonrpc": "2.0", "id": 1, "result": {}}])
    with pytest.raises(Violation, match="a valid tools/list result"):
        conversation.judge()


def test_a_notification_may_be_of_any_era_in_use(conversation: Conversation) -> None:
    acknowledged = notification("notifications/subscriptions/acknowledged", notifications={})
    conversation.negotiate("2025-11-25")
    conversation.hear(notification("notifications/message", level="info", data=1))
    conversation.judge()
    conversation.hear(acknowledged)
    with pytest.raises(
        Violation, match="notifications/subscriptions/acknowledged notification of 2025-11-25"
    ):
        conversation.judge()


def test_a_request_to_a_modern_client_is_a_violation(conversation: Conversation) -> None:
    conversation.ask("tools/list", _meta=MODERN_META)
    conversation.hear({"jsonrpc": "2.0", "id": 7, "method": "ping"})
    with pytest.raises(Violation, match="a valid ping request of 2026-07-28"):
        conversation.judge()


def test_a_method_that_no_version_has_is_an_extension(conversation: Conversation) -> None:
    conversation.ask("vendor/method")
    conversation.answer({"anything": 1})
    conversation.hear(notification("notifications/vendor", anything=1))
    conversation.judge()


def test_lines_that_are_no_messages_are_not_judged(conversation: Conversation) -> None:
    conversation.transcript.received("not JSON")
    conversation.hear(7)
    conversation.transcript.sent(b"half a li")
    conversation.judge()
    assert [line.text for line in conversation.transcript.lines] == ["not JSON", "7"]


def test_without_the_types_nothing_is_judged(
    conversation: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wiretypes, "official_types", lambda: None)
    conversation.hear({})
    conversation.judge()
    assert conversation.transcript.heard() != []
