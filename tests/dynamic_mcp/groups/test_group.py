"""A group: a list that changes during the start of its upstream is listed again, and a failed start keeps its remedy."""

from __future__ import annotations

import asyncio

import anyio
import pytest
from msgspec import Raw

from dynamic_mcp.errors import EraChanged, HeadersRefused, UpstreamFailed, UpstreamGone, UpstreamRefused
from dynamic_mcp.frontend.relay import Relay
from dynamic_mcp.frontend.session import ClientSession
from dynamic_mcp.groups import backoff
from dynamic_mcp.groups.group import Group
from dynamic_mcp.groups.listing import TOOLS
from dynamic_mcp.hooks import Hooks
from dynamic_mcp.protocol.jsonrpc import Message
from dynamic_mcp.protocol.pending import Options
from dynamic_mcp.upstream.base import Events, Upstream
from tests.dynamic_mcp.fakes import FakeUpstream, NoConnector, server, silent_relay


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
    group = Group(server("a"), Connector(), silent_relay(), Hooks())
    async with asyncio.timeout(5), anyio.create_task_group() as tasks:
        tasks.start_soon(group.run)
        assert list(await group.listing(TOOLS)) == ["one", "two"]
        tasks.cancel_scope.cancel()


class Locked(NoConnector):
    def connect(self, events: Events) -> Upstream:
        raise UpstreamFailed("its tokens have ended").with_remedy("Run: x")


async def test_failed_start_keeps_what_the_user_can_do() -> None:
    group = Group(server("a"), Locked(), Relay(ClientSession(lambda line: None), {}), Hooks())
    async with asyncio.timeout(5), anyio.create_task_group() as tasks:
        tasks.start_soon(group.run)
        with pytest.raises(UpstreamFailed, match="its tokens have ended") as raised:
            await group.listing(TOOLS)
        assert raised.value.remedy == "Run: x"
        tasks.cancel_scope.cancel()


class OtherEra(FakeUpstream):
    """Refuses calls because the server speaks the other era now, as often as it is connected before ``good``."""

    def __init__(self, connector: OtherEras) -> None:
        super().__init__()
        self._connector = connector
        self._gone = asyncio.Event()

    async def request(self, method: str, params: bytes, options: Options) -> bytes:
        if method != "tools/call":
            return b'{"tools":[]}'
        self._connector.calls += 1
        if self._connector.connections < self._connector.good:
            self._gone.set()
            raise EraChanged("another era")
        return b'{"content":[]}'

    async def wait_lost(self) -> UpstreamGone:
        await self._gone.wait()
        return UpstreamGone("another era")


class OtherEras(NoConnector):
    def __init__(self, good: int) -> None:
        self.good = good
        self.connections = self.calls = 0

    def connect(self, events: Events) -> Upstream:
        self.connections += 1
        return OtherEra(self)


@pytest.mark.parametrize("good", [2, 3])
async def test_call_that_met_another_era_is_repeated_once(monkeypatch: pytest.MonkeyPatch, good: int) -> None:
    monkeypatch.setattr(backoff, "RESTART_DELAY", 0.05)
    connector = OtherEras(good)
    group = Group(server("a"), connector, Relay(ClientSession(lambda line: None), {}), Hooks())
    async with asyncio.timeout(5), anyio.create_task_group() as tasks:
        tasks.start_soon(group.run)
        call = group.request("tools/call", b"{}", Options(5.0))
        if good == 2:
            assert await call == b'{"content":[]}'
        else:
            with pytest.raises(UpstreamGone, match="another era"):
                await call
        tasks.cancel_scope.cancel()
    assert (connector.connections, connector.calls) == (2, 2)


class Mismatches(FakeUpstream):
    """Refuses every call with an error, and lists another tool each time."""

    def __init__(self, error: UpstreamRefused, *, lists: bool = True) -> None:
        super().__init__()
        self._error = error
        self._lists = lists
        self.calls = self.listings = 0

    async def request(self, method: str, params: bytes, options: Options) -> bytes:
        if method == "tools/call":
            self.calls += 1
            raise self._error
        self.listings += 1
        if self.listings > 1 and not self._lists:
            raise UpstreamFailed("no list")
        return b'{"tools":[{"name":"tool%d"}]}' % self.listings


_MISMATCH = b'{"code":-32020,"message":"the cards of the player do not match"}'


@pytest.mark.parametrize(
    ("error", "lists", "calls"),
    [
        # The error of a tool, for example of a legacy server on stdio.
        (UpstreamRefused(_MISMATCH), True, 1),
        (HeadersRefused(_MISMATCH, lambda: False), True, 1),
        (HeadersRefused(_MISMATCH, lambda: False), False, 1),
        (HeadersRefused(_MISMATCH, lambda: True), True, 2),
    ],
)
async def test_call_with_a_mismatch_is_repeated_only_with_other_headers(
    error: UpstreamRefused, lists: bool, calls: int
) -> None:
    upstream = Mismatches(error, lists=lists)

    class Connector(NoConnector):
        def connect(self, events: Events) -> Upstream:
            return upstream

    group = Group(server("a"), Connector(), silent_relay(), Hooks())
    async with asyncio.timeout(5), anyio.create_task_group() as tasks:
        tasks.start_soon(group.run)
        await group.listing(TOOLS)
        with pytest.raises(UpstreamRefused) as raised:
            await group.request("tools/call", b"{}", Options(5.0))
        assert raised.value.error == _MISMATCH
        tasks.cancel_scope.cancel()
    assert upstream.calls == calls
