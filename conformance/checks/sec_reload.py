"""SEC and TOK: what a running proxy does with secrets after a reload has changed a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.checks.front_session import APPLIES_A_CHANGED_FILE
from conformance.workbench.leak_scan import leaked
from mock_servers.script import Script, tool

if TYPE_CHECKING:
    from collections.abc import Mapping

    from conformance.workbench.mocks import MockUpstream
    from conformance.workbench.workbench import Workbench

#: by place; none of them is the beginning of another
HEADERS = {
    "a header before a reload": "canary/old-header+5",
    "a header after a reload": "canary/new-header+6",
}
VARIABLES = {
    "a variable before a reload": "canary/old-env+7",
    "a variable after a reload": "canary/new-env+8",
}


async def output_of_a_reload(workbench: Workbench, env: Mapping[str, str]) -> str:
    """What a proxy writes while a reload replaces servers, with their headers and variables: `HEADERS`, `VARIABLES`."""

    async def servers(header: str, variable: str, tools: str) -> list[MockUpstream]:
        script = Script(tools=[tool(tools)])
        return [
            *([workbench.stdio("child", script, env={"SECRET": variable})] if workbench.has("STD") else []),
            *(
                [await workbench.remote("remote", script, headers={"X-Key": header})]
                if workbench.has_remotes
                else []
            ),
        ]

    old, new = [
        await servers(header, variable, tools)
        for header, variable, tools in zip(
            HEADERS.values(), VARIABLES.values(), ("before", "after"), strict=True
        )
    ]
    config = workbench.config(*old)
    async with workbench.proxy(config=config, env=env) as proxy:
        await proxy.handshake()
        await proxy.ready(*old)
        workbench.save(config, *new)
        with workbench.precondition(APPLIES_A_CHANGED_FILE):
            await proxy.ready(*new)
    return f"{proxy.stderr}\n{proxy.output}"


async def tokens_must_stay_at_their_url(workbench: Workbench) -> None:
    """A reload changes the url of a server after its sign-in. The new server gets no token of the old one."""
    old = await workbench.oauth("moved")
    new = await workbench.oauth("moved", script=Script(tools=[tool("only_new")]))
    config = workbench.config(old)
    async with workbench.proxy(config=config) as proxy:
        await proxy.handshake()
        with workbench.precondition("the sign-in before the reload works"):
            await proxy.ready(old)
        workbench.save(config, new)
        with workbench.precondition(APPLIES_A_CHANGED_FILE):
            await proxy.ready(new)
    tokens = dict.fromkeys((*old.access_tokens, *old.refresh_tokens))
    for request in workbench.some(new.http, "a request at the new url"):
        whole = f"{request.target} {request.headers} {request.body.decode(errors='replace')}"
        found = leaked(whole, {f"token {place}": token for place, token in enumerate(tokens, 1)})
        workbench.expect(not found, "no token of the old url after a reload", request)
