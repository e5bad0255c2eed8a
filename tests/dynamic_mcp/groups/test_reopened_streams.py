"""A stream of notifications that a gateway ends is open again soon, and clients hear of what it may have missed."""

from __future__ import annotations

import json

import pytest

from dynamic_mcp.errors import UpstreamError, UpstreamGone
from dynamic_mcp.frontend.subscriptions import UPDATED
from tests.dynamic_mcp.clocks import skip
from tests.dynamic_mcp.groups.test_subscriptions import Running, Stream, running
from tests.dynamic_mcp.helpers import eventually

#: how long a gateway keeps a stream open
OPEN = 25.0
#: longer than the pause after such a stream
PAUSE = 0.2


def end(stream: Stream, error: UpstreamError | None) -> None:
    if error is None:
        stream.end.set_result(b"{}")
    else:
        stream.end.set_exception(error)


@pytest.mark.parametrize("error", [None, UpstreamGone("the connection was lost")], ids=["result", "loss"])
async def test_a_stream_that_was_open_opens_again_at_once(error: UpstreamError | None) -> None:
    async with running() as proxy:
        for count in range(1, 6):
            await proxy.streams(count)
            proxy.server.acknowledge()
            await skip(OPEN)
            end(proxy.server.streams[-1], error)
            await skip(PAUSE)
        await proxy.streams(6)


async def test_pauses_grow_while_the_server_ends_every_stream_after_its_acknowledgement() -> None:
    async with running() as proxy:
        for count in range(1, 4):
            await proxy.streams(count)
            proxy.server.acknowledge()
            end(proxy.server.streams[-1], None)
            await skip(PAUSE)
            await proxy.streams(count)
            await skip(60.0)


def updates(sent: list[bytes]) -> list[str]:
    """The URIs of the updates that the client got."""
    messages = [json.loads(line) for line in sent]
    return [message["params"]["uri"] for message in messages if message["method"] == UPDATED]


async def test_a_client_hears_of_its_resources_when_the_stream_is_open_again() -> None:
    sent: list[bytes] = []
    async with running() as proxy:
        listen_to(proxy, sent)
        for uri in ("x://1", "x://2"):
            await proxy.group.subscriptions.subscribe(uri, proxy.session)
        _, first = await proxy.streams(2)
        proxy.server.acknowledge(first)
        await skip(OPEN)
        assert updates(sent) == []
        end(first, None)
        await skip(PAUSE)
        *_, second = await proxy.streams(3)
        assert updates(sent) == []
        proxy.server.acknowledge(second)
        await eventually(lambda: sorted(updates(sent)) == ["x://1", "x://2"], "an update of each resource")


def listen_to(proxy: Running, sent: list[bytes]) -> None:
    proxy.session.notify = lambda method, params=b"": sent.append(  # type: ignore[method-assign]
        b'{"method":%b,"params":%b}' % (json.dumps(method).encode(), params or b"{}")
    )
