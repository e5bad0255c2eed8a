"""FRONT: clients of MCP 2026-07-28.

The requests of both eras share one pipe, and the envelope of each request decides which rules hold. The
workbench judges shapes (`wiretypes`); the checks judge what a shape cannot express.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio

from conformance.checks import check
from conformance.checks.front_session import starts_within
from conformance.checks.http_requests import can_call
from conformance.checks.modern_servers import for_modern_servers
from conformance.workbench.client import MODERN
from conformance.workbench.exposed import exposed_prompt
from conformance.workbench.transcript import part
from mock_servers.answers import CAPABILITIES_KEY, SUBSCRIPTION_KEY, VERSION_KEY
from mock_servers.script import Rule, Script, list_changed, notify, on_call, reply, set_prompts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from conformance.workbench.inbox import Answer
    from conformance.workbench.mocks import StdioMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

COMPLETE_META = {VERSION_KEY: MODERN, CAPABILITIES_KEY: {}}
REMOVED = {
    "ping": {},
    "logging/setLevel": {"level": "info"},
    "resources/subscribe": {"uri": "x://1"},
    "resources/unsubscribe": {"uri": "x://1"},
}


@asynccontextmanager
async def modern(
    workbench: Workbench,
    *upstreams: StdioMockUpstream,
    capabilities: dict[str, Any] | None = None,
    **start: Any,
) -> AsyncIterator[Proxy]:
    """A proxy in front of these upstreams, for a modern client that has these capabilities."""
    async with workbench.proxy(*upstreams, **start) as proxy:
        proxy.modern = True
        proxy.capabilities = capabilities or {}
        with for_modern_servers(*upstreams):
            await proxy.ready(*upstreams)
        yield proxy


def code_of(answer: Answer) -> Any:
    return answer.code


@check("FRONT-027", timeout=30)
async def server_discover_is_answered_beside_initialize(workbench: Workbench) -> None:
    upstream = workbench.stdio("a")
    mixes = workbench.promises("both-eras-at-once")
    async with workbench.proxy(upstream) as proxy:
        await proxy.request("server/discover", era="modern", within=starts_within(workbench))
        found = await proxy.request("server/discover", era="modern", within=2.0)
        if found.error is not None or mixes:
            await _begins_a_session(workbench, proxy, upstream)
        if found.error is not None:
            workbench.expect(type(code_of(found)) is int, "an error with a code", found.raw)
            return
        _has_envelope(workbench, found, cached=True)
        workbench.expect(found.member("resultType") == "complete", "a complete result", found.raw)
        workbench.expect(isinstance(found.member("capabilities"), dict), "capabilities", found.raw)
        versions = found.member("supportedVersions")
        workbench.expect(isinstance(versions, list) and versions, "supportedVersions", found.raw)
        answer = await proxy.request("tools/list", {}, era="modern", within=2.0)
        served = "result" in answer.message
        workbench.expect(
            served == (MODERN in versions), f"the proxy serves {MODERN} if it supports it", answer.raw
        )
    if not mixes:
        async with workbench.proxy(upstream) as proxy:
            await _begins_a_session(workbench, proxy, upstream)


async def _begins_a_session(workbench: Workbench, proxy: Proxy, upstream: StdioMockUpstream) -> None:
    with workbench.must("the proxy accepts initialize"):
        await proxy.handshake()
    with workbench.must("the proxy serves the session"):
        await proxy.ready(upstream)
    await can_call(workbench, proxy, upstream)
    listed = await proxy.request("tools/list", within=2.0)
    workbench.expect("result" in listed.message, "the proxy serves the session", listed.raw)


@check("FRONT-028", timeout=30)
async def a_modern_request_needs_no_handshake(workbench: Workbench) -> None:
    """All requests come before a legacy session has begun, and beside one if the profile promises that."""
    async with workbench.proxy(workbench.stdio("a")) as proxy:
        await _obeys_the_envelope(workbench, proxy, "without a session")
        if not workbench.promises("both-eras-at-once"):
            return
        await proxy.handshake()
        await _obeys_the_envelope(workbench, proxy, "beside a session")
        for method in ("ping", "tools/list"):
            answer = await proxy.request(method, {}, within=1.0)
            workbench.expect("result" in answer.message, f"{method} works in the session", answer.raw)


async def _obeys_the_envelope(workbench: Workbench, proxy: Proxy, when: str) -> None:
    async def ask(method: str, params: dict[str, Any], changed: dict[str, Any]) -> Answer:
        envelope = {key: value for key, value in {**COMPLETE_META, **changed}.items() if value is not None}
        # With era "legacy" the client sends params unchanged, here with an envelope of the check's own.
        return await proxy.request(method, {**params, "_meta": envelope}, era="legacy", within=1.0)

    with workbench.case(when):
        # The program may have started only just now.
        served = await proxy.request("tools/list", {}, era="modern", within=starts_within(workbench))
        workbench.expect("result" in served.message, "the proxy serves a modern request", served.raw)
        refused = await ask("tools/list", {}, {VERSION_KEY: "2099-01-01"})
        supported, requested = (part(refused.error, "data", name) for name in ("supported", "requested"))
        right = isinstance(supported, list) and MODERN in supported
        right = right and requested == "2099-01-01" and code_of(refused) == -32022
        workbench.expect(right, "-32022 with supported and requested for an unknown version", refused.raw)
        bare = await ask("tools/list", {}, {CAPABILITIES_KEY: None})
        workbench.expect(code_of(bare) == -32602, "-32602 without clientCapabilities", bare.raw)
        for method, params in REMOVED.items():
            gone = await ask(method, params, {})
            workbench.expect(code_of(gone) == -32601, f"-32601 for {method}", gone.raw)


#: milliseconds for which the modern server lets its resource be cached
TTL = 60_000


@check("FRONT-029", timeout=40)
async def modern_results_have_their_envelope_and_caching_hints(workbench: Workbench) -> None:
    upstreams = [workbench.stdio("old", _full("old")), workbench.stdio("new", _full("new", era="modern"))]
    async with modern(workbench, *upstreams) as proxy:
        found = await proxy.request("server/discover")
        for method, params in await _requests(proxy, found.member("capabilities") or {}):
            answer = await proxy.request(method, params)
            with workbench.case(f"{method} {params}"):
                cached = method not in ("tools/call", "prompts/get")
                _has_envelope(workbench, answer, cached=cached)
                if cached and method != "tools/list":
                    scope = answer.member("cacheScope")
                    workbench.expect(scope == "private", "private, because no server says public", answer.raw)
                if method == "resources/read" and "x://new" in json.dumps(params):
                    ttl = answer.member("ttlMs")
                    workbench.expect(ttl <= TTL, f"ttlMs of at most {TTL}, as its server says", answer.raw)
    async with workbench.serving(*upstreams) as proxy:
        capabilities = proxy.greeting.member("capabilities") if proxy.greeting else None
        for method, params in await _requests(proxy, capabilities or {}):
            answer = await proxy.request(method, params)
            with workbench.case(f"legacy client, {method} {params}"):
                workbench.expect("result" in answer.message, "a result", answer.raw)


def _full(name: str, **fields: Any) -> Script:
    """A server with everything. A modern one also lets its resource be cached."""
    uri = f"x://{name}"
    cached = {"contents": [{"uri": uri, "text": name}], "ttlMs": TTL, "cacheScope": "private"}
    contents = [{"uri": uri, "text": name}]
    modern_rules = [Rule("resources/read", [reply(cached)])] if fields else []
    return Script(
        resources=[{"uri": uri, "name": name}],
        templates=[{"uriTemplate": f"{uri}/{{id}}", "name": name}],
        prompts=[{"name": f"of-{name}"}],
        contents={uri: contents},
        on=modern_rules,
        **fields,
    )


async def _requests(proxy: Proxy, capabilities: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Every request that these capabilities allow."""
    requests: list[tuple[str, dict[str, Any]]] = [("tools/list", {})]
    for name in ("old", "new"):
        requests.append(("tools/call", proxy.call_params(name, "echo")))
        if "resources" in capabilities:
            requests.append(("resources/read", {"uri": f"x://{name}"}))
        if "prompts" in capabilities:
            requests.append(("prompts/get", {"name": await exposed_prompt(proxy, name, f"of-{name}")}))
    if "resources" in capabilities:
        requests += [("resources/list", {}), ("resources/templates/list", {})]
    if "prompts" in capabilities:
        requests.append(("prompts/list", {}))
    return requests


def _has_envelope(workbench: Workbench, answer: Answer, *, cached: bool) -> None:
    result = answer.result
    workbench.expect(isinstance(result, dict), "a result", answer.raw)
    workbench.expect(isinstance(result.get("resultType"), str), "resultType", answer.raw)
    if cached:
        ttl = result.get("ttlMs")
        workbench.expect(type(ttl) is int and ttl >= 0, "an integer ttlMs of at least 0", answer.raw)
        workbench.expect(result.get("cacheScope") in ("private", "public"), "cacheScope", answer.raw)


@check("FRONT-030", timeout=40, slow=True)
async def subscriptions_deliver_what_was_asked_for(workbench: Workbench) -> None:
    noise = notify("notifications/message", {"level": "error", "data": "unasked"})
    changes = [noise, set_prompts([{"name": "p1"}, {"name": "p2"}]), list_changed("prompts")]
    upstream = workbench.stdio("a", Script(prompts=[{"name": "p1"}], on=[on_call("echo", *changes)]))
    config = workbench.config(upstream)
    async with workbench.proxy(config=config) as proxy:
        proxy.modern = True
        await proxy.ready(upstream)
        await proxy.call("a", "echo")
        await anyio.sleep(0.5)
        workbench.expect(not proxy.received, "nothing comes without a subscription", proxy.received)
        tools_honoured = await _listen(workbench, proxy, "tools-1", "toolsListChanged")
        prompts_honoured = await _listen(workbench, proxy, 77, "promptsListChanged")
        if prompts_honoured:
            await proxy.items("prompts/list", "prompts")

        await proxy.call("a", "echo")
        if prompts_honoured:
            await _hears(workbench, proxy, 77, "prompts")
        before = await proxy.request("tools/list", {})
        workbench.config(upstream, workbench.stdio("b"), folder=config.parent, name=config.name)
        # RLD-001 judges whether a running proxy applies the new server at all.
        if tools_honoured and await _changes(proxy, before):
            await _hears(workbench, proxy, "tools-1", "tools")

        await proxy.notify("notifications/cancelled", {"requestId": 77})
        await anyio.sleep(0.2)
        heard = len(_delivered(proxy, 77))
        await proxy.call("a", "echo")
        await anyio.sleep(0.5)
        workbench.expect(
            len(_delivered(proxy, 77)) == heard, "nothing after the cancellation", proxy.received
        )
        _only_what_was_asked_for(workbench, proxy)


async def _listen(workbench: Workbench, proxy: Proxy, id: str | int, kind: str) -> bool:
    """Open a subscription. Returns whether the proxy honours its kind."""
    await proxy.begin("subscriptions/listen", {"notifications": {kind: True}}, id=id)
    what = f"the acknowledgement of {id!r}, under exactly this id"
    first = (await workbench.eventually(lambda: _delivered(proxy, id), within=2.0, what=what))[0]
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


async def _hears(workbench: Workbench, proxy: Proxy, id: str | int, kind: str) -> None:
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


def _only_what_was_asked_for(workbench: Workbench, proxy: Proxy) -> None:
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
