"""``connect`` begins a new session in place of one that the proxy has forgotten, also if messages hang or fail meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from dynamic_mcp.extras.serving.kept_session import RENEWAL_TIMEOUT
from dynamic_mcp.extras.serving.posted import Posted
from dynamic_mcp.extras.serving.refused import RefusedRequest
from tests.dynamic_mcp.extras.serving.door import Http, call, notification, request, serving
from tests.dynamic_mcp.extras.serving.test_connect import connected, forget_sessions
from tests.dynamic_mcp.helpers import WITHIN, eventually

pytestmark = pytest.mark.slow


def disturb(http: Http, method: str, disturbance: Callable[[], Awaitable[object]]) -> list[Posted]:
    """Let this happen to the next message with the method; it is in the list then."""
    assert http.door._app is not None
    era = http.door._app._legacy
    right = era.post
    met: list[Posted] = []

    async def post(posted: Posted, *rest: Any) -> None:
        if not met and posted.single is not None and posted.single.method == method:
            met.append(posted)
            await disturbance()
        await right(posted, *rest)

    setattr(era, "post", post)  # noqa: B010
    return met


async def hang() -> None:
    await asyncio.sleep(RENEWAL_TIMEOUT + 2 * WITHIN)


async def refuse() -> None:
    raise RefusedRequest(503, "not now")


async def test_renewal_without_a_reply_fails_the_calls_and_the_next_one_begins_another() -> None:
    async with serving() as http, connected(http.url) as stdio:
        await stdio.handshake()
        disturb(http, "initialize", hang)
        await forget_sessions(http)
        for id in ("first", "second", "cancelled"):
            stdio.send(call(id=id))
        stdio.send(notification("notifications/cancelled", {"requestId": "cancelled"}))
        await eventually(
            lambda: {"first", "second"} <= {one.get("id") for one in stdio.got},
            "two errors",
            RENEWAL_TIMEOUT + WITHIN,
        )
        for id in ("first", "second"):
            assert "no new one began" in (await stdio.message(id=id))["error"]["message"]
        stdio.send(call(id="next"))
        (sent,) = await http.proxy.calls(1)
        http.proxy.servers[0].answer(sent, {"content": []})
        assert "result" in await stdio.message(id="next")
        assert not [one for one in stdio.got if one.get("id") == "cancelled"]


async def test_hung_cancellation_delays_neither_requests_nor_answers() -> None:
    async with serving() as http, connected(http.url) as stdio:
        await stdio.handshake()
        stdio.send(call(id=1))
        await http.proxy.calls(1)
        met = disturb(http, "notifications/cancelled", hang)
        stdio.send(notification("notifications/cancelled", {"requestId": 1}))
        await eventually(lambda: met, "the cancellation")
        stdio.send(call(id=2))
        await http.proxy.calls(2)
        (upstream,) = http.proxy.servers
        asked = asyncio.ensure_future(upstream.asks("q", "why"))
        question = await stdio.message(method="sampling/createMessage")
        sample = {"role": "assistant", "model": "m", "content": {"type": "text", "text": "so"}}
        # Some clients keep numbers as doubles.
        stdio.send({"jsonrpc": "2.0", "id": float(question["id"]), "result": sample})
        assert (await asked)["result"]["model"] == "m"


async def test_hung_notification_delays_no_request() -> None:
    async with serving() as http, connected(http.url) as stdio:
        await stdio.handshake()
        met = disturb(http, "notifications/roots/list_changed", hang)
        stdio.send(notification("notifications/roots/list_changed"))
        await eventually(lambda: met, "the notification")
        stdio.send(request("ping", id=1))
        await stdio.message(id=1)


async def test_failed_renewal_without_a_request_is_tried_again() -> None:
    async with serving() as http, connected(http.url) as stdio:
        await stdio.handshake()
        met = disturb(http, "initialize", refuse)
        await forget_sessions(http)
        await eventually(lambda: met, "the attempt")
        await eventually(lambda: http.proxy.clients.open_clients, "another attempt")
    assert "HTTP 503" in stdio.errors


async def test_new_session_announces_what_may_have_changed_and_subscribes_without_delay() -> None:
    async with serving() as http, connected(http.url) as stdio:
        await stdio.handshake()
        stdio.send(request("tools/list", id=1))
        await stdio.message(id=1)
        stdio.send(request("resources/subscribe", {"uri": "x://1"}, id=2))
        await stdio.message(id=2)
        met = disturb(http, "resources/subscribe", hang)
        await forget_sessions(http)
        await stdio.message(method="notifications/tools/list_changed")
        await eventually(lambda: met, "the subscription")
        stdio.send(request("ping", id=3))
        await stdio.message(id=3)
        assert not [one for one in stdio.got if one.get("method") == "notifications/resources/updated"]
        # A client that ends the subscription is not overtaken.
        stdio.send(request("resources/unsubscribe", {"uri": "x://1"}, id=4))
        stdio.send(request("ping", id=5))
        await stdio.message(id=5)
        assert not [one for one in stdio.got if one.get("id") == 4]
