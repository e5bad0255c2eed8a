"""HTTP: modern upstreams, and the decision between the eras."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from conformance.checks import check
from conformance.checks.common import SESSION, VERSION, must_be_callable, must_be_usable
from conformance.checks.modern_servers import for_modern_servers
from conformance.model.registry import MODERN
from conformance.workbench.exposed import declares, exposed_prompt, exposed_uri
from conformance.workbench.transcript import part
from mock_servers.remote_actions import respond
from mock_servers.script import Rule, Script, echo_tool, tool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from conformance.workbench.mocks import MockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.remotes import RemoteMockUpstream
    from conformance.workbench.transcript import Json
    from conformance.workbench.workbench import Workbench

FOREIGN_NAME = "größe_設定"


@asynccontextmanager
async def serving_modern(
    workbench: Workbench, upstream: RemoteMockUpstream, *others: MockUpstream
) -> AsyncIterator[Proxy]:
    """Like `workbench.serving`, for a proxy that speaks the modern era to this upstream. Raises `NotApplicable` for another one."""
    async with workbench.proxy(upstream, *others) as proxy:
        with for_modern_servers(upstream):
            await proxy.handshake()
            await proxy.ready(upstream, *others)
        yield proxy


@check("HTTP-022")
async def modern_requests_carry_matching_metadata_and_headers(workbench: Workbench) -> None:
    script = Script(
        era="modern",
        tools=[echo_tool(), tool(FOREIGN_NAME)],
        resources=[{"uri": "mock://one", "name": "one"}],
        prompts=[{"name": FOREIGN_NAME}],
    )
    upstream = await workbench.http("a", script)
    with workbench.must("a modern upstream becomes usable"):
        async with serving_modern(workbench, upstream) as proxy:
            await must_be_usable(workbench, proxy, upstream)
            await must_be_callable(workbench, proxy, upstream, FOREIGN_NAME)
            for method, params in (await _reads(proxy, upstream)).items():
                answer = await proxy.request(method, params, within=10.0)
                workbench.expect("result" in answer.message, f"{method} succeeds", answer.raw)
                workbench.some(upstream.posts(method), f"{method} reaches the upstream")
    workbench.some(upstream.posts("tools/call"), "a call that reaches the upstream")
    # A proxy may look for documents, and try `initialize`, before it knows the era.
    posts = [one for one in upstream.http if one.method == "POST" and one.rpc != "initialize"]
    for request in posts:
        workbench.expect(request.status != 400, "the upstream refuses none of the modern requests", request)
        version = part(request.message, "params", "_meta", "io.modelcontextprotocol/protocolVersion")
        workbench.expect(
            version == MODERN == request.header(VERSION), f"{MODERN} in body and header", request
        )


async def _reads(proxy: Proxy, upstream: MockUpstream) -> dict[str, Json]:
    """By method, as far as the proxy declares it: the params for the resource and the prompt of the upstream."""
    asked: dict[str, Json] = {}
    if declares(proxy, "resources"):
        asked["resources/read"] = {"uri": await exposed_uri(proxy, upstream.name, "mock://one")}
    if declares(proxy, "prompts"):
        asked["prompts/get"] = {"name": await exposed_prompt(proxy, upstream.name, FOREIGN_NAME)}
    return asked


@check("HTTP-023", timeout=40)
async def the_era_of_an_upstream_is_recognised_by_its_first_answer(workbench: Workbench) -> None:
    modern = await workbench.http("modern", Script(era="modern"))
    rejecting = await workbench.http("rejecting", Script(era="modern", on=[Rule("*", [_rejected()])]))
    refusing = {
        "text": respond(400, "Bad Request: no session", headers={"Content-Type": "text/plain"}),
        "empty": respond(404),
    }
    legacy = [
        await workbench.http(name, Script(on=[Rule("server/discover", [action])]))
        for name, action in refusing.items()
    ]
    async with workbench.proxy(modern, rejecting, *legacy) as proxy:
        await proxy.handshake()
        for upstream in (modern, *legacy):
            await must_be_usable(workbench, proxy, upstream, within=10.0)
        what = "a request reaches the upstream that rejects the version"
        await workbench.eventually(lambda: rejecting.http, within=10.0, what=what)
        answer = await proxy.call("rejecting", "echo")
        workbench.expect(
            answer.is_error, "a call to the upstream that rejects the version is an error", answer.raw
        )
    for upstream in legacy:
        workbench.expect(upstream.posts("initialize"), f"{upstream.name} receives initialize", upstream.http)
    for upstream in (modern, rejecting):
        _must_get_only_modern_requests(workbench, upstream)


@check("HTTP-063")
async def a_modern_refusal_of_initialize_means_a_modern_upstream(workbench: Workbench) -> None:
    rules = [Rule("server/discover", [respond(500)], nth=1), Rule("initialize", [lacks_headers()])]
    upstream = await workbench.http("a", Script(era="modern", on=rules))
    async with workbench.proxy(upstream) as proxy:
        await proxy.handshake()
        await must_be_usable(workbench, proxy, upstream)
    refused = [request for request in upstream.http if request.rpc == "initialize"]
    for request in refused:
        others = [other.t - request.t for other in upstream.http if other.t > request.t]
        workbench.expect(
            min(others, default=9.0) < 1.0, "the next request follows within 1 s", upstream.http, timed=True
        )
    workbench.expect(len(refused) <= 1, "at most one initialize", upstream.http)


def lacks_headers() -> dict[str, object]:
    """The answer of a modern server to a request without the headers of its era."""
    error = {"code": -32020, "message": "Missing MCP-Protocol-Version header"}
    body = json.dumps({"jsonrpc": "2.0", "id": "$id", "error": error})
    return respond(400, body, headers={"Content-Type": "application/json"})


def _rejected() -> dict[str, object]:
    data = {"supported": ["2099-01-01"], "requested": MODERN}
    error = {"code": -32022, "message": "Unsupported protocol version", "data": data}
    body = json.dumps({"jsonrpc": "2.0", "id": "$id", "error": error})
    return respond(400, body, headers={"Content-Type": "application/json"})


def _must_get_only_modern_requests(workbench: Workbench, upstream: RemoteMockUpstream) -> None:
    messages = [request for request in upstream.http if not request.is_discovery]
    for request in workbench.some(messages, f"a request to {upstream.name}"):
        workbench.expect(request.method == "POST", f"only POSTs to {upstream.name}", request)
        workbench.expect(request.rpc != "initialize", f"no initialize to {upstream.name}", request)
        for name in (SESSION, "Last-Event-ID"):
            workbench.expect(request.header(name) is None, f"no {name} to {upstream.name}", request)
