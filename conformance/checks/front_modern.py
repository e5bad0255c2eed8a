"""FRONT: clients of MCP 2026-07-28.

The requests of both eras share one pipe, and the envelope of each request decides which rules hold. The
workbench judges shapes (`wiretypes`); the checks judge what a shape cannot express.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from conformance.checks import check
from conformance.checks.common import must_be_callable
from conformance.checks.front_session import starts_within
from conformance.checks.modern_servers import for_modern_servers
from conformance.errors import NotApplicable
from conformance.model.registry import MODERN
from conformance.workbench.exposed import exposed_prompt, exposed_uri
from conformance.workbench.transcript import part
from mock_servers.answers import CAPABILITIES_KEY, VERSION_KEY
from mock_servers.script import Rule, Script, reply

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


#: seconds for an answer that no source gives a time for
PATIENCE = 10.0


@check("FRONT-027", timeout=40)
async def server_discover_is_answered(workbench: Workbench) -> None:
    async with workbench.proxy(workbench.stdio("a")) as proxy:
        patience = max(PATIENCE, starts_within(workbench))
        found = await proxy.request("server/discover", era="modern", within=patience)
        answer = await proxy.request("tools/list", {}, era="modern", within=patience)
        served = "result" in answer.message
        if found.error is not None and not served and not workbench.sut.profile.speaks(MODERN):
            workbench.expect(type(code_of(found)) is int, "an error with a code", found.raw)
            raise NotApplicable(f"it does not speak {MODERN}")
        _must_have_envelope(workbench, found, cached=True)
        workbench.expect(found.member("resultType") == "complete", "a complete result", found.raw)
        workbench.expect(isinstance(found.member("capabilities"), dict), "capabilities", found.raw)
        versions = found.member("supportedVersions")
        workbench.expect(isinstance(versions, list) and versions, "supportedVersions", found.raw)
        workbench.expect(
            served == (MODERN in versions), f"the proxy serves {MODERN} if it supports it", answer.raw
        )


@check("FRONT-173", timeout=40)
async def a_session_can_begin_after_a_probe(workbench: Workbench) -> None:
    upstream = workbench.stdio("a")
    async with workbench.proxy(upstream) as proxy:
        found = await proxy.request("server/discover", era="modern", within=starts_within(workbench))
        in_the_same_process = found.error is not None or workbench.promises("both-eras-at-once")
        if in_the_same_process:
            await _must_begin_a_session(workbench, proxy, upstream)
    if not in_the_same_process:
        async with workbench.proxy(upstream) as proxy:
            await _must_begin_a_session(workbench, proxy, upstream)


async def _must_begin_a_session(workbench: Workbench, proxy: Proxy, upstream: StdioMockUpstream) -> None:
    with workbench.must("the proxy accepts initialize"):
        await proxy.handshake()
    with workbench.must("the proxy serves the session"):
        await proxy.ready(upstream)
    await must_be_callable(workbench, proxy, upstream)
    listed = await proxy.request("tools/list")
    workbench.expect("result" in listed.message, "the proxy serves the session", listed.raw)


@check("FRONT-028", timeout=30)
async def a_modern_request_needs_no_handshake(workbench: Workbench) -> None:
    """All requests come before a legacy session has begun, and beside one if the profile promises that."""
    upstream = workbench.stdio("a")
    async with workbench.proxy(upstream) as proxy:
        await _must_obey_the_envelope(workbench, proxy, "without a session")
        with workbench.case("a call"):
            await _must_refuse_calls_with_a_bad_envelope(workbench, proxy, upstream)
        if not workbench.promises("both-eras-at-once"):
            return
        await proxy.handshake()
        await _must_obey_the_envelope(workbench, proxy, "beside a session")
        for method in ("ping", "tools/list"):
            answer = await proxy.request(method, {}, within=PATIENCE)
            workbench.expect("result" in answer.message, f"{method} works in the session", answer.raw)


async def _must_obey_the_envelope(workbench: Workbench, proxy: Proxy, when: str) -> None:
    with workbench.case(when):
        # The program may have started only just now.
        patience = max(PATIENCE, starts_within(workbench))
        served = await proxy.request("tools/list", {}, era="modern", within=patience)
        workbench.expect("result" in served.message, "the proxy serves a modern request", served.raw)
        await _must_refuse_a_bad_envelope(workbench, proxy, "tools/list", {})
        for method, params in REMOVED.items():
            gone = await _ask(proxy, method, params, {})
            workbench.expect(code_of(gone) == -32601, f"-32601 for {method}", gone.raw)


async def _must_refuse_calls_with_a_bad_envelope(
    workbench: Workbench, proxy: Proxy, upstream: StdioMockUpstream
) -> None:
    proxy.modern = True
    await proxy.ready(upstream)
    await must_be_callable(workbench, proxy, upstream)
    before = len(upstream.requests("tools/call"))
    await _must_refuse_a_bad_envelope(
        workbench, proxy, "tools/call", proxy.call_params("a", "echo", {"x": 1})
    )
    calls = upstream.requests("tools/call")[before:]
    workbench.expect(not calls, "the refused calls do not reach the upstream", calls)
    proxy.modern = False


async def _must_refuse_a_bad_envelope(
    workbench: Workbench, proxy: Proxy, method: str, params: dict[str, Any]
) -> None:
    refused = await _ask(proxy, method, params, {VERSION_KEY: "2099-01-01"})
    supported, requested = (part(refused.error, "data", name) for name in ("supported", "requested"))
    right = isinstance(supported, list) and MODERN in supported
    right = right and requested == "2099-01-01" and code_of(refused) == -32022
    workbench.expect(right, "-32022 with supported and requested for an unknown version", refused.raw)
    bare = await _ask(proxy, method, params, {CAPABILITIES_KEY: None})
    workbench.expect(code_of(bare) == -32602, "-32602 without clientCapabilities", bare.raw)


async def _ask(proxy: Proxy, method: str, params: dict[str, Any], changed: dict[str, Any]) -> Answer:
    envelope = {key: value for key, value in {**COMPLETE_META, **changed}.items() if value is not None}
    # With era "legacy" the client sends params unchanged, here with an envelope of the check's own.
    return await proxy.request(method, {**params, "_meta": envelope}, era="legacy", within=PATIENCE)


#: the methods whose results have no caching hints
UNCACHED = ("tools/call", "prompts/get")
#: milliseconds for which the modern server lets its resource be cached
TTL = 60_000


@check("FRONT-029", timeout=40)
async def modern_results_have_their_envelope_and_caching_hints(workbench: Workbench) -> None:
    upstreams = _of_both_eras(workbench)
    async with modern(workbench, *upstreams) as proxy:
        for (method, asked), answer in (await _answers(proxy)).items():
            with workbench.case(f"{method} {asked}"):
                _must_have_envelope(workbench, answer, cached=method not in UNCACHED)
    async with workbench.serving(*upstreams) as proxy:
        capabilities = proxy.greeting.member("capabilities") if proxy.greeting else None
        for method, params in await _requests(proxy, capabilities or {}):
            answer = await proxy.request(method, params)
            with workbench.case(f"legacy client, {method} {params}"):
                workbench.expect("result" in answer.message, "a result", answer.raw)


@check("FRONT-174", timeout=40)
async def caching_hints_are_no_wider_than_those_of_the_upstreams(workbench: Workbench) -> None:
    async with modern(workbench, *_of_both_eras(workbench)) as proxy:
        for (method, params), answer in (await _answers(proxy)).items():
            with workbench.case(f"{method} {params}"):
                if method not in ("tools/list", *UNCACHED):
                    scope = answer.member("cacheScope")
                    workbench.expect(scope == "private", "private, because no server says public", answer.raw)
                if method == "resources/read" and "new" in params:
                    ttl = answer.member("ttlMs")
                    right = type(ttl) is int and ttl <= TTL
                    workbench.expect(right, f"ttlMs of at most {TTL}, as its server says", answer.raw)


def _of_both_eras(workbench: Workbench) -> list[StdioMockUpstream]:
    return [workbench.stdio("old", _full("old")), workbench.stdio("new", _full("new", era="modern"))]


async def _answers(proxy: Proxy) -> dict[tuple[str, str], Answer]:
    """The answers to every request that the capabilities allow, by its method and its params as JSON."""
    found = await proxy.request("server/discover")
    requests = await _requests(proxy, found.member("capabilities") or {})
    return {(method, json.dumps(params)): await proxy.request(method, params) for method, params in requests}


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
            requests.append(("resources/read", {"uri": await exposed_uri(proxy, name, f"x://{name}")}))
        if "prompts" in capabilities:
            requests.append(("prompts/get", {"name": await exposed_prompt(proxy, name, f"of-{name}")}))
    if "resources" in capabilities:
        requests += [("resources/list", {}), ("resources/templates/list", {})]
    if "prompts" in capabilities:
        requests.append(("prompts/list", {}))
    return requests


def _must_have_envelope(workbench: Workbench, answer: Answer, *, cached: bool) -> None:
    result = answer.result
    workbench.expect(isinstance(result, dict), "a result", answer.raw)
    workbench.expect(isinstance(result.get("resultType"), str), "resultType", answer.raw)
    if cached:
        ttl = result.get("ttlMs")
        workbench.expect(type(ttl) is int and ttl >= 0, "an integer ttlMs of at least 0", answer.raw)
        workbench.expect(result.get("cacheScope") in ("private", "public"), "cacheScope", answer.raw)
