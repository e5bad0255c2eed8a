"""A group: a list that changes during the start of its upstream is listed again, and a failed start keeps its remedy."""

from __future__ import annotations

import asyncio

import anyio
import pytest
from msgspec import Raw

from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.frontend.relay import Relay
from dynamic_mcp.frontend.session import ClientSession
from dynamic_mcp.groups.group import Group
from dynamic_mcp.groups.listing import TOOLS
from dynamic_mcp.hooks import Hooks
from dynamic_mcp.protocol.jsonrpc import Message
from dynamic_mcp.upstream.base import Events, Options, Upstream
from tests.dynamic_mcp.fakes import FakeUpstream, NoConnector, server


class ChangesOnce(FakeUpstream):
    """Announces a second tool while the first listing is on its way."""

    def __init__(self, events: Events) -> None:
        super().__init__()
        self._events = events
        self._tools = b'{"tools":[{"name":"one"}]}'

    async def request(self, method: str, params: bytes, options: Options) -> bytes:
        tools, self._tools = self._tools, b'{"tools":[{"name":"one"},{"name":"two"}]}'
        if tools != self._tools:
            self._events.on_notification(
                Message(jsonrpc="2.0", method="notifications/tools/list_changed", params=Raw(b"{}"))
            )
        return tools


class Connector(NoConnector):
    def connect(self, events: Events) -> Upstream:
        return ChangesOnce(events)


async def test_change_during_the_first_listing_is_seen() -> None:
    group = Group(server("a"), Connector(), Relay(ClientSession(lambda line: None), {}), Hooks())
    async with asyncio.timeout(5), anyio.create_task_group() as tasks:
        tasks.start_soon(group.run)
        assert list(await group.listing(TOOLS)) == ["one", "two"]
        tasks.cancel_scope.cancel()


class Locked(NoConnector):
    def connect(self, events: Events) -> Upstream:
        raise UpstreamFailed("its tokens have ended").to_mend("Run: x")


async def test_failed_start_keeps_what_the_user_can_do() -> None:
    group = Group(server("a"), Locked(), Relay(ClientSession(lambda line: None), {}), Hooks())
    async with asyncio.timeout(5), anyio.create_task_group() as tasks:
        tasks.start_soon(group.run)
        with pytest.raises(UpstreamFailed, match="its tokens have ended") as raised:
            await group.listing(TOOLS)
        assert raised.value.remedy == "Run: x"
        tasks.cancel_scope.cancel()
