"""FRONT: the client's description of itself (`clientInfo`), as servers see it."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from conformance.checks import check
from conformance.checks.common import must_be_callable
from conformance.errors import NotApplicable, Untestable
from conformance.workbench.transcript import part
from mock_servers.script import Script

if TYPE_CHECKING:
    from conformance.workbench.workbench import Workbench

KEY = "io.modelcontextprotocol/clientInfo"
INFO = {
    "name": "careful-client",
    "title": "A careful client",
    "version": "9.8.7",
    "websiteUrl": "https://client.example",
    "icons": [{"src": "https://client.example/icon.png", "mimeType": "image/png"}],
}
#: descriptions that a strict server refuses, or that are expensive in each request
ODD: dict[str, Any] = {
    "no-version": {"name": "careful-client"},
    "wrong-types": {"name": "careful-client", "version": 1, "title": None, "icons": "none"},
    "large": {**INFO, "icons": [{"src": "data:image/png;base64," + "A" * 300_000}]},
    "no-object": "careful-client",
}
MAX_SIZE = 1 << 16


@check("FRONT-063")
async def servers_of_the_handshake_revisions_see_the_client(workbench: Workbench) -> None:
    _must_promise_it(workbench)
    stdio = workbench.stdio("stdio", Script(strict=True))
    upstreams = [stdio, await workbench.http("http")] if workbench.has("HTTP") else [stdio]
    async with workbench.proxy(*upstreams) as proxy:
        proxy.info = INFO
        await proxy.handshake()
        await proxy.ready(*upstreams)
        for upstream in upstreams:
            await must_be_callable(workbench, proxy, upstream)
            with workbench.case(upstream.name):
                greeting = workbench.some(upstream.requests("initialize"), "initialize reaches the server")[
                    -1
                ]
                info = part(greeting.params, "clientInfo")
                workbench.expect(info == INFO, f"the client's own clientInfo, {INFO}", info)


@check("FRONT-064", timeout=30)
async def modern_servers_see_the_client_in_each_call(workbench: Workbench) -> None:
    _must_promise_it(workbench)
    upstream = workbench.stdio("a", Script(era="modern"))
    for era in ("legacy", "modern"):
        async with workbench.proxy(upstream) as proxy:
            proxy.info = INFO
            if era == "legacy":
                await proxy.handshake()
            else:
                proxy.modern = True
            await proxy.ready(upstream)
            await must_be_callable(workbench, proxy, upstream)
        with workbench.case(f"a {era} client"):
            call = workbench.some(upstream.requests("tools/call"), "a call reaches the server")[-1]
            info = part(call.params, "_meta", KEY)
            workbench.expect(info == INFO, f"the client's own clientInfo, {INFO}", info)


def _must_promise_it(workbench: Workbench) -> None:
    """Raise `NotApplicable` without the promise: towards a server the proxy is the client, so MCP asks it for its own name."""
    if not workbench.promises("client-info"):
        raise NotApplicable("the profile does not promise that servers see the client (`client-info`)")


@check("FRONT-065", slow=True)
async def an_odd_description_of_the_client_harms_no_server(workbench: Workbench) -> None:
    """The check accepts any valid and short description, also that of the proxy, and a refusal of `initialize`."""
    with workbench.precondition("a usual description works"):
        await _must_harm_no_server(workbench, "usual", INFO)
    await workbench.run_cases(
        *(partial(_must_harm_no_server, workbench, name, info) for name, info in ODD.items())
    )


async def _must_harm_no_server(workbench: Workbench, name: str, sent: Any) -> None:
    upstream = workbench.stdio(name)
    with workbench.case(name):
        async with workbench.proxy(upstream) as proxy:
            proxy.info = sent
            try:
                await proxy.handshake()
            except Untestable as refusal:
                if sent is INFO:
                    raise
                workbench.note(f"{name}: {refusal}")
                return
            await proxy.ready(upstream)
            await must_be_callable(workbench, proxy, upstream)
        greeting = workbench.some(upstream.requests("initialize"), "initialize reaches the server")[-1]
        info = part(greeting.params, "clientInfo")
        match info:
            case {"name": str(), "version": str(), **more}:
                texts = all(isinstance(more.get(one, ""), str) for one in ("title", "websiteUrl"))
                icons = isinstance(more.get("icons", []), list)
                workbench.expect(texts and icons, "a valid description", info)
            case _:
                workbench.expect(False, "a name and a version", info)
        size = len(json.dumps(info))
        workbench.expect(size <= MAX_SIZE, f"at most {MAX_SIZE} bytes", size)
