"""The log messages of servers, on their way to the client."""

from __future__ import annotations

import json
import logging

import pytest
from msgspec import Raw

from dynamic_mcp.frontend.relay import Relay
from dynamic_mcp.frontend.session import ClientSession
from dynamic_mcp.protocol.jsonrpc import Message
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
