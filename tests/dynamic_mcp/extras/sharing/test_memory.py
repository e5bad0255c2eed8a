"""What an attached end remembers, so that another serving process can continue a session."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dynamic_mcp.extras.sharing.memory import LOST, SessionMemory


class Session:
    """A memory, with what goes through it."""

    def __init__(self) -> None:
        self.memory = SessionMemory()

    def client(self, message: object) -> bytes:
        return self.memory.to_server(json.dumps(message).encode() + b"\n")

    def server(self, message: object) -> bytes:
        return self.memory.to_client(json.dumps(message).encode() + b"\n")

    def lost(self, *, continues: bool = True) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.memory.lost(continues=continues)]

    def repeated(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.memory.repeated()]

    def replay(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.memory.replay()]


def request(id: object, method: str, **params: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": params}


def answered(session: Session, id: object, method: str, **params: object) -> None:
    assert session.client(request(id, method, **params))
    assert session.server({"jsonrpc": "2.0", "id": id, "result": {}})


def test_only_requests_without_an_answer_are_lost() -> None:
    session = Session()
    answered(session, 1, "initialize", protocolVersion="2025-03-26")
    session.client(request("a", "tools/call"))
    session.client([request(2, "tools/call"), request(3, "tools/call")])
    session.server([{"jsonrpc": "2.0", "id": 3, "result": {}}])
    session.client({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "a"}})
    (error,) = session.lost()
    assert (error["id"], error["error"]["message"]) == (2, LOST)
    assert session.lost() == []


def test_request_that_changes_nothing_goes_to_one_further_process() -> None:
    session = Session()
    session.client(request(1, "tools/list"))
    session.client(request(2, "tools/call"))
    session.client(request(3, "resources/read", uri="a"))
    session.server({"jsonrpc": "2.0", "id": 3, "result": {}})
    session.client(request("4", "ping"))
    session.client({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "4"}})
    assert [error["id"] for error in session.lost()] == [2]
    assert session.repeated() == [request(1, "tools/list")]
    assert [error["id"] for error in session.lost()] == [1]
    assert session.repeated() == []


def test_no_further_process_means_that_every_request_is_lost() -> None:
    session = Session()
    session.client(request(1, "tools/list"))
    assert [error["id"] for error in session.lost(continues=False)] == [1]


def test_large_request_is_not_kept() -> None:
    session = Session()
    session.client(request(1, "prompts/get", name="x" * (1 << 16)))
    assert [error["id"] for error in session.lost()] == [1]


def test_request_that_the_proxy_refuses_without_its_id_is_not_lost() -> None:
    session = Session()
    answered(session, 1, "initialize", protocolVersion="2025-11-25")
    session.client([request(2, "ping"), request(3, "ping")])
    ids: list[object] = [None, True, False, {}, [], {"a": 1}]
    for id in ids:
        session.client(request(id, "ping"))
    assert session.lost() == []


def test_message_that_is_neither_request_nor_answer_goes_on_so_that_the_proxy_refuses_it() -> None:
    session = Session()
    assert session.client({"id": 7})
    assert session.client({"jsonrpc": "2.0", "id": 7, "params": {}})
    assert not session.client({"jsonrpc": "2.0", "id": 7, "error": {}})


def test_another_process_learns_the_session_and_the_client_gets_none_of_its_answers() -> None:
    session = Session()
    answered(session, 1, "initialize", protocolVersion="2025-11-25")
    session.client({"jsonrpc": "2.0", "method": "notifications/initialized"})
    answered(session, 2, "logging/setLevel", level="error")
    answered(session, 3, "resources/subscribe", uri="x://1")
    answered(session, 4, "resources/subscribe", uri="x://2")
    answered(session, 5, "resources/unsubscribe", uri="x://1")
    assert session.lost() == []
    replay = session.replay()
    assert [(message["method"], message.get("params")) for message in replay] == [
        ("initialize", {"protocolVersion": "2025-11-25"}),
        ("notifications/initialized", None),
        ("logging/setLevel", {"level": "error"}),
        ("resources/subscribe", {"uri": "x://2"}),
    ]
    for message in replay:
        if "id" in message:
            assert b'"id"' not in session.server({"jsonrpc": "2.0", "id": message["id"], "result": {}})
    assert session.server({"jsonrpc": "2.0", "method": "notifications/message", "params": {}})


def test_handshake_that_was_on_its_way_is_made_again_with_its_own_id() -> None:
    session = Session()
    session.client(request("h", "initialize", protocolVersion="x"))
    assert session.lost() == []
    (again,) = session.replay()
    assert again == request("h", "initialize", protocolVersion="x")
    assert session.server({"jsonrpc": "2.0", "id": "h", "result": {}})


def test_question_of_a_dead_process_is_withdrawn_and_its_answer_dropped() -> None:
    session = Session()
    session.server(request(7, "sampling/createMessage"))
    session.server(request(8, "sampling/createMessage"))
    assert session.client({"jsonrpc": "2.0", "id": 8, "result": {}})
    (withdrawn,) = session.lost()
    assert withdrawn["params"]["requestId"] == 7
    assert session.client({"jsonrpc": "2.0", "id": 7, "result": {}}) == b""
    assert session.client({"jsonrpc": "2.0", "id": 8, "result": {}}) == b""


def test_modern_subscription_goes_on_with_the_next_process() -> None:
    session = Session()
    session.client(request("s", "subscriptions/listen", notifications={"toolsListChanged": True}))
    meta = {"io.modelcontextprotocol/subscriptionId": "s"}
    acknowledged = {
        "jsonrpc": "2.0",
        "method": "notifications/subscriptions/acknowledged",
        "params": {"_meta": meta},
    }
    changed = {**acknowledged, "method": "notifications/tools/list_changed"}
    assert session.server(acknowledged)
    for _ in range(2):
        assert session.lost() == []
        (again,) = session.replay()
        assert (again["id"], again["method"]) == ("s", "subscriptions/listen")
        assert again["params"] == {"notifications": {"toolsListChanged": True}}
        # The client has had its acknowledgement.
        assert not session.server(acknowledged)
        assert session.server(changed)
    session.client({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "s"}})
    assert session.replay() == []


def test_line_that_cannot_be_read_goes_on_unchanged() -> None:
    session = Session()
    for line in (b"\n", b"{\n", b"[1]\n", b"[]\n", b'{"id":1}x\n', b"\xff\n", b"[" * 100_000 + b"\n"):
        assert session.memory.to_server(line) == line
        assert session.memory.to_client(line) == line
    assert session.lost() == []


@pytest.mark.parametrize("spelling", ["7.0", '"7"', "0.7E1"])
def test_ids_are_equal_in_every_spelling(spelling: str) -> None:
    session = Session()
    session.server(request(7, "sampling/createMessage"))
    answer = b'{"jsonrpc":"2.0","id":%b,"result":{}}\n' % spelling.encode()
    assert session.memory.to_server(answer) == answer
    assert not session.memory.to_server(answer)
    session.server(request(7, "sampling/createMessage"))
    cancelled = b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":%b}}\n'
    session.memory.to_client(cancelled % spelling.encode())
    assert session.lost() == []


def test_client_cancels_its_request_in_another_spelling() -> None:
    session = Session()
    session.client(request(7, "tools/call"))
    session.client(request("7", "tools/call"))
    session.client({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7.0}})
    assert [error["id"] for error in session.lost()] == ["7"]


def in_place(session: Session, message: dict[str, Any]) -> list[tuple[str, Any]]:
    """What the client gets in place of a message of the serving process: methods and parameters."""
    lines = session.server(message).splitlines()
    return [(one["method"], one.get("params")) for one in map(json.loads, lines)]


def test_next_process_announces_what_may_have_changed() -> None:
    session = Session()
    answered(session, 1, "initialize", protocolVersion="2025-11-25")
    session.client({"jsonrpc": "2.0", "method": "notifications/initialized"})
    answered(session, 2, "tools/list")
    answered(session, 3, "resources/templates/list")
    session.client(request(4, "prompts/list"))
    session.server({"jsonrpc": "2.0", "id": 4, "error": {"code": -32601, "message": "no"}})
    answered(session, 5, "resources/subscribe", uri="x://1")
    for _ in range(2):
        assert session.lost() == []
        hello, _, subscribe = session.replay()
        result: dict[str, Any] = {"jsonrpc": "2.0", "result": {}}
        assert in_place(session, {**result, "id": hello["id"]}) == [
            ("notifications/resources/list_changed", None),
            ("notifications/tools/list_changed", None),
        ]
        # An update that comes before the subscription would be lost.
        assert in_place(session, {**result, "id": subscribe["id"]}) == [
            ("notifications/resources/updated", {"uri": "x://1"})
        ]


def test_client_that_is_not_initialized_hears_nothing() -> None:
    session = Session()
    answered(session, 1, "initialize", protocolVersion="2025-11-25")
    answered(session, 2, "tools/list")
    (hello,) = session.replay()
    assert in_place(session, {"jsonrpc": "2.0", "id": hello["id"], "result": {}}) == []


def test_modern_client_hears_what_may_have_changed_in_its_subscription() -> None:
    session = Session()
    answered(session, 1, "resources/list")
    wanted = {"toolsListChanged": True, "resourcesListChanged": True, "resourceSubscriptions": ["x://1"]}
    session.client(request("s", "subscriptions/listen", notifications=wanted))
    meta = {"_meta": {"io.modelcontextprotocol/subscriptionId": "s"}}
    method = "notifications/subscriptions/acknowledged"
    acknowledged = {"jsonrpc": "2.0", "method": method, "params": {"notifications": wanted, **meta}}
    assert in_place(session, acknowledged) == [(method, acknowledged["params"])]
    assert session.lost() == []
    assert len(session.replay()) == 1
    assert in_place(session, acknowledged) == [
        ("notifications/resources/list_changed", meta),
        ("notifications/resources/updated", {"uri": "x://1", **meta}),
    ]
