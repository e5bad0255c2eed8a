"""FRONT: names that differ in the case of a letter, in its Unicode form or in spaces lead to different things."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.checks.common import must_be_callable
from mock_servers.script import Script, tool

if TYPE_CHECKING:
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.transcript import Json
    from conformance.workbench.workbench import Workbench
    from mock_servers.journal_views import JournalView

#: "\u00ed" and "i\u0301" look the same
ALIKE = ("alike", "Alike", "al\u00edke", "ali\u0301ke", " alike", "alike ")
#: the description of each tells a client which one it is, whatever name the proxy shows
ALIKE_PROMPTS: list[Json] = [
    {"name": name, "description": f"Number {number}"} for number, name in enumerate(ALIKE)
]


async def must_keep_names_of_tools(workbench: Workbench) -> None:
    """Raise `Violation` unless a call of each name reaches the upstream under this name.

    A proxy that shows each tool by a name of its own may leave some out, because MCP advises against such names.
    """
    upstream = workbench.stdio("alike", Script(tools=[tool(name) for name in ALIKE]))
    async with workbench.serving(upstream) as proxy:
        for name in ALIKE:
            if workbench.sut.profile.face == "flat" and not await proxy.definitions_of(upstream.name, name):
                workbench.note(f"the proxy shows no tool {name!r}")
                continue
            # The workbench compares the name that the upstream gets.
            with workbench.case(f"the tool {name!r}"):
                await must_be_callable(workbench, proxy, upstream, name)


async def must_keep_names_of_prompts(workbench: Workbench, proxy: Proxy, owner: JournalView) -> None:
    """Raise `Violation` unless the proxy lists `ALIKE_PROMPTS`, and a request for each reaches the owner under its name."""
    before = len(owner.requests("prompts/get"))
    shown = {one.get("description"): one.get("name") for one in await proxy.items("prompts/list", "prompts")}
    for prompt in ALIKE_PROMPTS:
        with workbench.case(f"the prompt {prompt['name']!r}"):
            workbench.expect(prompt["description"] in shown, "it is listed", shown)
            answer = await proxy.request("prompts/get", {"name": shown[prompt["description"]]}, within=10.0)
            workbench.expect(not answer.is_error, "a request for it succeeds", answer.raw)
    seen = [request.param("name") for request in owner.requests("prompts/get")][before:]
    workbench.expect(seen == [*ALIKE], f"the owner gets requests for {ALIKE}", seen)
