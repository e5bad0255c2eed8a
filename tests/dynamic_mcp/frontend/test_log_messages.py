"""The log messages of servers, on their way to the client."""

from __future__ import annotations

import json
import logging

import pytest
from msgspec import Raw

from dynamic_mcp.frontend.relay import Relay
from dynamic_mcp.frontend.session import ClientSession
from dynamic_mcp.protocol.jsonrpc import Message
from dynamic_mcp.protocol.pieces import LARGE
from tests.dynamic_mcp.fakes import FakeGroup, named, server

LOGGED = "notifications/message"


def heard(*params: bytes) -> list[object]:
    """The params of the log messages that reach a client, of those with these params."""
    lines: list[bytes] = []
    session, group = ClientSession(lines.append), FakeGroup(server("a"))
    session.initialize(Raw(b'{"protocolVersion":"2025-11-25","capabilities":{}}'))
    session.initialized()
    relay = Relay(session, named(group))
    for one in params:
        relay.on_notification(group, Message(jsonrpc="2.0", method=LOGGED, params=Raw(one)))
    return [json.loads(line)["params"] for line in lines]


async def test_log_message_without_members_does_not_reach_the_client(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    right = b'{"level":"info","data":"x"}'
    assert heard(b"null", b"[]", b'"x"', b"5", b"", right) == [json.loads(right)]
    assert [record.getMessage() for record in caplog.records] == [
        "group a: the server sends log messages whose params are no object, which the proxy drops"
    ]


@pytest.mark.parametrize(
    ("sent", "heard_as"),
    [
        ('{"level":"info","message":"starts"}', {"level": "info", "data": "starts"}),
        ('{"level":"warn","data":1}', {"level": "warning", "data": 1}),
        ('{"level":"INFO","data":1}', {"level": "info", "data": 1}),
        ('{"level":"Fatal","data":1}', {"level": "critical", "data": 1}),
        ('{"level":5,"data":1}', {"level": "info", "data": 1}),
        ('{"data":1}', {"level": "info", "data": 1}),
        ('{"level":"info","data":1,"logger":5,"_meta":[],"x":2}', {"level": "info", "data": 1, "x": 2}),
        ('{"level":"info","data":null}', {"level": "info", "data": None}),
        ('{"level":"info"}', None),
        ('{"level":"error","data":"' + "x" * LARGE + '","logger":5}', None),
    ],
)
async def test_a_wrong_log_message_is_repaired_or_dropped(
    sent: str, heard_as: object, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    found = heard(sent.encode(), sent.encode())
    assert found == ([heard_as] * 2 if heard_as is not None else [])
    assert len(caplog.records) == (sent != '{"level":"info","data":null}'), "one warning of the kind"


async def test_a_right_log_message_keeps_its_bytes() -> None:
    lines: list[bytes] = []
    session, group = ClientSession(lines.append), FakeGroup(server("a"))
    session.initialize(Raw(b'{"protocolVersion":"2025-11-25","capabilities":{}}'))
    session.initialized()
    params = b'{ "level":"info", "data":{"n":1.0}, "logger":null, "more":1e2}'
    message = Message(jsonrpc="2.0", method=LOGGED, params=Raw(params.replace(b' "logger":null,', b"")))
    Relay(session, named(group)).on_notification(group, message)
    assert bytes(message.params) in lines[0]


async def test_nothing_reaches_a_client_before_its_initialize_has_an_answer() -> None:
    lines: list[bytes] = []
    session, group = ClientSession(lines.append), FakeGroup(server("a"))
    session.initialized()
    relay = Relay(session, named(group))
    message = Message(jsonrpc="2.0", method=LOGGED, params=Raw(b'{"level":"error","data":1}'))
    relay.on_notification(group, message)
    assert lines == []
