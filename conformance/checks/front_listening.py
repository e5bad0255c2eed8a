"""FRONT: subscriptions of clients of MCP 2026-07-28."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio

from conformance.checks import check
from conformance.checks.front_modern import PATIENCE
from conformance.errors import NotApplicable
from conformance.workbench.exposed import exposed_uri
from conformance.workbench.transcript import part
from mock_servers.answers import SUBSCRIPTION_KEY
from mock_servers.script import Rule, Script, list_changed, notify, on_call, reply, set_prompts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from conformance.workbench.inbox import Answer
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

_UPDATED = "notifications/resources/updated"


@check("FRONT-030", timeout=60, slow=True)
async def subscriptions_deliver_only_what_was_asked_for(workbench: Workbench) -> None:
    async with _changing(workbench) as (proxy, change_prompts, add_a_server):
        await change_prompts()
        await anyio.sleep(0.5)
        workbench.expect(not proxy.received, "nothing comes without a subscription", proxy.received)
        if "prompts" in await _listens(workbench, proxy):
            await proxy.items("prompts/list", "prompts")
        await change_prompts()
        await add_a_server()
        # A notification that must not come may come a little later.
        await anyio.sleep(1.0)
        await proxy.notify("notifications/cancelled", {"requestId": 77})
        await anyio.sleep(0.2)
        heard = len(_delivered(proxy, 77))
        await change_prompts()
        await anyio.sleep(0.5)
        workbench.expect(
            len(_delivered(proxy, 77)) == heard, "nothing after the cancellation", proxy.received
        )
        _must_send_only_what_was_asked_for(workbench, proxy)
    async with _both_resources_change(workbench) as (proxy, wanted, _):
        await anyio.sleep(1.0)
        told = [one.param("uri") for one in proxy.transcript.heard(_UPDATED)]
        workbench.expect(set(told) <= {wanted}, f"updates of {wanted} only", told)


@asynccontextmanager
async def _both_resources_change(workbench: Workbench) -> AsyncIterator[tuple[Proxy, str, bool]]:
    """A proxy whose client listens under the id 78 for the first of two resources, when both have changed.

    Also the URI of this resource, and whether the proxy acknowledged it. A proxy without resources acknowledges nothing.
    """
    uris, kind = ("mock://one", "mock://other"), "resourceSubscriptions"
    updates = [notify(_UPDATED, {"uri": uri}) for uri in reversed(uris)]
    script = Script(
        resources=[{"uri": uri, "name": uri} for uri in uris],
        capabilities={"tools": {}, "resources": {"subscribe": True}},
        on=[Rule("resources/subscribe", [reply({})]), on_call("echo", *updates, reply())],
    )
    upstream = workbench.stdio("a", script)
    async with workbench.proxy(upstream) as proxy:
        proxy.modern = True
        await proxy.ready(upstream)
        if (await proxy.request("resources/list", {}, within=PATIENCE)).is_error:
            yield proxy, "a resource", False
            return
        wanted = await exposed_uri(proxy, "a", uris[0])
        await proxy.begin("subscriptions/listen", {"notifications": {kind: [wanted]}}, id=78)
        what = "the acknowledgement of 78, under exactly this id"
        first = (await workbench.eventually(lambda: _delivered(proxy, 78), within=PATIENCE, what=what))[0]
        await anyio.sleep(0.5)
        await proxy.call("a", "echo", {"x": 1})
        yield proxy, wanted, wanted in (part(first, "params", "notifications", kind) or ())


@check("FRONT-175", timeout=60, slow=True)
async def subscriptions_deliver_what_they_acknowledged(workbench: Workbench) -> None:
    lists = await _must_hear_of_changed_lists(workbench)
    async with _both_resources_change(workbench) as (proxy, wanted, is_honoured):
        if is_honoured:
            await workbench.eventually(
                lambda: [one for one in _delivered(proxy, 78) if part(one, "params", "uri") == wanted],
                within=5.0,
                what=f"{_UPDATED} of {wanted} under the id 78",
            )
        elif not lists:
            raise NotApplicable("it acknowledges no changes of tools, of prompts or of a resource")


async def _must_hear_of_changed_lists(workbench: Workbench) -> set[str]:
    """Raise `Violation` unless each acknowledged change of tools and prompts comes. Returns what the proxy acknowledged."""
    async with _changing(workbench) as (proxy, change_prompts, add_a_server):
        honoured = await _listens(workbench, proxy)
        if "prompts" in honoured:
            await proxy.items("prompts/list", "prompts")
            await change_prompts()
            await _must_hear(workbench, proxy, 77, "prompts")
        # RLD-001 judges whether a running proxy applies the new server at all.
        if "tools" in honoured and await add_a_server():
            await _must_hear(workbench, proxy, "tools-1", "tools")
        return honoured


@asynccontextmanager
async def _changing(
    workbench: Workbench,
) -> AsyncIterator[tuple[Proxy, Callable[[], Awaitable[None]], Callable[[], Awaitable[bool]]]]:
    """A proxy for a modern client, a call that changes the prompts, and what adds a server and says whether the list of tools changes."""
    noise = notify("notifications/message", {"level": "error", "data": "unasked"})
    changes = [noise, set_prompts([{"name": "p1"}, {"name": "p2"}]), list_changed("prompts")]
    upstream = workbench.stdio("a", Script(prompts=[{"name": "p1"}], on=[on_call("echo", *changes)]))
    config = workbench.config(upstream)
    async with workbench.proxy(config=config) as proxy:
        proxy.modern = True
        await proxy.ready(upstream)

        async def change_prompts() -> None:
            await proxy.call("a", "echo")

        async def add_a_server() -> bool:
            before = await proxy.request("tools/list", {})
            workbench.config(upstream, workbench.stdio("b"), folder=config.parent, name=config.name)
            return await _changes(proxy, before)

        yield proxy, change_prompts, add_a_server


async def _listens(workbench: Workbench, proxy: Proxy) -> set[str]:
    """Open a subscription for the tools and one for the prompts. Returns which of them the proxy honours."""
    kinds: dict[str, str | int] = {"tools": "tools-1", "prompts": 77}
    return {kind for kind, id in kinds.items() if await _listen(workbench, proxy, id, f"{kind}ListChanged")}


async def _listen(workbench: Workbench, proxy: Proxy, id: str | int, kind: str) -> bool:
    """Open a subscription. Returns whether the proxy honours its kind."""
    await proxy.begin("subscriptions/listen", {"notifications": {kind: True}}, id=id)
    what = f"the acknowledgement of {id!r}, under exactly this id"
    first = (await workbench.eventually(lambda: _delivered(proxy, id), within=PATIENCE, what=what))[0]
    workbench.expect(
        first.get("method") == "notifications/subscriptions/acknowledged", f"{what}, comes first", first
    )
    return part(first, "params", "notifications", kind) is True


def _delivered(proxy: Proxy, id: str | int) -> list[dict[str, Any]]:
    return [message for message in proxy.received if _subscription(message) == json.dumps(id)]


def _subscription(message: dict[str, Any]) -> str:
    """The id of the subscription as JSON, so that 77 is not "77"."""
    params = message.get("params")
    meta = params.get("_meta") if isinstance(params, dict) else None
    return json.dumps(meta.get(SUBSCRIPTION_KEY) if isinstance(meta, dict) else None)


async def _must_hear(workbench: Workbench, proxy: Proxy, id: str | int, kind: str) -> None:
    method = f"notifications/{kind}/list_changed"
    await workbench.eventually(
        lambda: [message for message in _delivered(proxy, id) if message.get("method") == method],
        within=5.0,
        what=f"{method} under the id {id!r}",
    )


async def _changes(proxy: Proxy, before: Answer) -> bool:
    """Whether the list of tools changes within 5 s."""
    with anyio.move_on_after(5.0):
        while True:
            if (await proxy.request("tools/list", {})).result != before.result:
                return True
            await anyio.sleep(0.1)
    return False


def _must_send_only_what_was_asked_for(workbench: Workbench, proxy: Proxy) -> None:
    acknowledged = "notifications/subscriptions/acknowledged"
    wanted = {
        ('"tools-1"', acknowledged),
        ('"tools-1"', "notifications/tools/list_changed"),
        ("77", acknowledged),
        ("77", "notifications/prompts/list_changed"),
    }
    # An answer to the cancelled request has no method, and the check ignores it.
    told = [message for message in proxy.received if "method" in message]
    unasked = [message for message in told if (_subscription(message), message["method"]) not in wanted]
    workbench.expect(not unasked, "only requested notifications, under their ids", unasked)
