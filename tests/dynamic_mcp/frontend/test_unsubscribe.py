"""A client can end its subscription, whatever the servers list by then."""

from __future__ import annotations

import pytest
from msgspec import Raw
from msgspec.structs import replace

from dynamic_mcp.config.model import Features
from dynamic_mcp.errors import UpstreamError, UpstreamGone, UpstreamRefused, UpstreamTimeout
from dynamic_mcp.frontend.relay import Relay
from dynamic_mcp.frontend.session import ClientSession
from dynamic_mcp.frontend.subscriptions import UPDATED, Subscriptions
from dynamic_mcp.groups.listing import RESOURCES
from dynamic_mcp.protocol.jsonrpc import Message, Refusal
from tests.dynamic_mcp.fakes import FakeUpstream, named
from tests.dynamic_mcp.frontend.test_owners import Lister, call, catalog_of

URI = "x://1"


class Subscribed:
    """A client with a subscription at the first of two groups."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.session = ClientSession(self.sent.append)
        self.session.initialize(Raw(b'{"protocolVersion":"2025-11-25","capabilities":{}}'))
        self.session.initialized()
        self.first, self.second = Lister("first", uris=[URI]), Lister("second")
        for group in (self.first, self.second):
            group._state.set_ready(FakeUpstream())
        self.subscriptions = Subscriptions(self.session, catalog_of(self.first, self.second), [])

    async def subscribe(self) -> None:
        await self.subscriptions.subscribe(call("resources/subscribe", uri=URI))

    async def unsubscribe(self, **params: str) -> None:
        await self.subscriptions.unsubscribe(call("resources/unsubscribe", uri=URI, **params))

    def switch_off(self) -> None:
        """Switch off the resources of the first group."""
        self.first.server = replace(self.first.server, features=Features(resources=False))

    def fail(self, error: UpstreamError) -> None:
        """Let each further request to the server of the first group fail."""
        assert isinstance(self.first.upstream, FakeUpstream)
        self.first.upstream.answer = error

    def hears(self) -> bool:
        """Whether an update of the first group reaches the client."""
        self.sent.clear()
        message = Message(jsonrpc="2.0", method=UPDATED, params=Raw(b'{"uri":"%b"}' % URI.encode()))
        # A relay of its own, because one merges the updates that follow each other.
        Relay(self.session, named(self.first, self.second)).on_notification(self.first, message)
        return bool(self.sent)


def requests(group: Lister) -> list[str]:
    """The methods of the requests about subscriptions that a group got."""
    assert isinstance(group.upstream, FakeUpstream)
    return [method for method, _ in group.upstream.requests]


async def test_a_subscription_to_a_resource_that_has_left_the_list_ends() -> None:
    client = Subscribed()
    await client.subscribe()
    assert client.hears()
    client.first.lists[RESOURCES] = []
    await client.first.listing(RESOURCES)
    await client.unsubscribe()
    assert requests(client.first) == ["resources/subscribe", "resources/unsubscribe"]
    assert not client.hears()


async def test_a_subscription_ends_at_its_own_group_though_another_one_lists_the_resource_now() -> None:
    client = Subscribed()
    await client.subscribe()
    client.first.lists[RESOURCES], client.second.lists[RESOURCES] = [], [URI]
    await client.first.listing(RESOURCES)
    await client.unsubscribe()
    assert requests(client.first) == ["resources/subscribe", "resources/unsubscribe"]
    assert requests(client.second) == []


async def test_a_named_group_is_the_only_one_that_gets_the_request() -> None:
    client = Subscribed()
    await client.subscribe()
    await client.unsubscribe(group="second")
    assert client.hears()
    assert requests(client.second) == ["resources/unsubscribe"]
    await client.unsubscribe(group="first")
    assert not client.hears()


async def test_a_switched_off_feature_has_no_updates_and_the_subscription_can_end() -> None:
    client = Subscribed()
    await client.subscribe()
    assert client.hears()
    client.switch_off()
    assert not client.hears()
    await client.unsubscribe()
    assert requests(client.first) == ["resources/subscribe", "resources/unsubscribe"]


async def test_a_resource_without_subscription_that_no_group_lists_is_refused() -> None:
    client = Subscribed()
    client.first.lists[RESOURCES] = []
    with pytest.raises(Refusal, match="not found"):
        await client.unsubscribe()


async def test_a_subscription_ends_while_its_server_is_down() -> None:
    client = Subscribed()
    await client.subscribe()
    client.first.go_down()
    await client.unsubscribe()
    client.first.is_down = False
    assert not client.hears()


@pytest.mark.parametrize(
    "error", [UpstreamGone("the connection was lost"), UpstreamTimeout("no answer within 10 s")]
)
async def test_a_subscription_ends_though_its_server_does_not_answer(error: UpstreamError) -> None:
    client = Subscribed()
    await client.subscribe()
    client.fail(error)
    await client.unsubscribe()
    assert not client.hears()


async def test_a_refusal_of_the_server_reaches_the_client() -> None:
    client = Subscribed()
    await client.subscribe()
    client.fail(UpstreamRefused(b'{"code":-32602,"message":"no"}'))
    with pytest.raises(UpstreamRefused):
        await client.unsubscribe()
    assert not client.hears()
