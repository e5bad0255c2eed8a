"""FRONT: the capabilities that `initialize` declares.

The check uses everything that the proxy declares, which has to work. Everything else has to be an error.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from conformance.checks import check
from conformance.workbench.exposed import declares, exposed_prompt, exposed_uri
from conformance.workbench.transcript import part
from mock_servers.script import (
    Rule,
    Script,
    list_changed,
    notify,
    on_call,
    reply,
    set_prompts,
    set_resources,
    set_tools,
    tool,
)

if TYPE_CHECKING:
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

URI = "mock://one"
PROMPT = {"name": "greet", "arguments": [{"name": "who"}]}

#: offers everything that a legacy server can offer; a call of `announce` sends every kind of notification
ABLE = Script(
    tools=[tool("announce", "Tell of every change")],
    resources=[{"uri": URI, "name": "one"}],
    templates=[],
    prompts=[PROMPT],
    capabilities={
        "tools": {"listChanged": True},
        "resources": {"subscribe": True, "listChanged": True},
        "prompts": {"listChanged": True},
        "logging": {},
        "completions": {},
    },
    on=[
        Rule("resources/subscribe", [reply({})]),
        Rule("logging/setLevel", [reply({})]),
        Rule("completion/complete", [reply({"completion": {"values": ["world"]}})]),
        on_call(
            "announce",
            # The lists change too: a proxy may compare them, and pass on nothing for one that is the same.
            set_tools([tool("announce", "Tell of every change"), tool("another")]),
            list_changed("tools"),
            set_resources([{"uri": URI, "name": "one"}, {"uri": "mock://two", "name": "two"}], []),
            list_changed("resources"),
            set_prompts([PROMPT, {"name": "another"}]),
            list_changed("prompts"),
            notify("notifications/resources/updated", {"uri": URI}),
            notify("notifications/message", {"level": "error", "data": "said by the upstream"}),
        ),
    ],
)

#: request methods, with the capability and the flag that promise them
PROMISED: dict[str, tuple[str, str | None, dict[str, Any]]] = {
    "resources/list": ("resources", None, {}),
    "resources/templates/list": ("resources", None, {}),
    "resources/read": ("resources", None, {"uri": URI}),
    "resources/subscribe": ("resources", "subscribe", {"uri": URI}),
    "prompts/list": ("prompts", None, {}),
    "prompts/get": ("prompts", None, {"name": "greet", "arguments": {"who": "world"}}),
    "logging/setLevel": ("logging", None, {"level": "debug"}),
    "completion/complete": (
        "completions",
        None,
        {"ref": {"type": "ref/prompt", "name": "greet"}, "argument": {"name": "who", "value": "w"}},
    ),
}

#: notifications, with the capability and the flag that promise them
ANNOUNCED = {
    "notifications/resources/updated": ("resources", "subscribe"),
    "notifications/resources/list_changed": ("resources", "listChanged"),
    "notifications/prompts/list_changed": ("prompts", "listChanged"),
    "notifications/message": ("logging", None),
}


@check("FRONT-003", timeout=40, slow=True)
async def declared_capabilities_are_true(workbench: Workbench) -> None:
    """A second proxy has an upstream with all features off except tools, so it may declare less."""
    able, newcomer = workbench.stdio("able", ABLE), workbench.stdio("newcomer")
    config = workbench.config(able)
    async with workbench.proxy(config=config) as proxy:
        await proxy.handshake()
        _must_be_introduced(workbench, proxy)
        await proxy.ready(able)
        await _must_offer_what_it_declares(workbench, proxy)
        await proxy.items("tools/list", "tools")
        before = len(proxy.received)
        await _must_announce_changes(workbench, proxy, before)
        if declares(proxy, "tools", "listChanged") and _shows_changes_of_tools(workbench):
            if workbench.reloads:
                os.replace(workbench.config(able, newcomer), config)
            await _must_hear(workbench, proxy, "notifications/tools/list_changed", before)
    if workbench.sut.profile.relay:
        await _must_add_no_capability(workbench)
    if not workbench.can_set("features"):
        return
    tools_only = workbench.stdio("toolsonly", features={"resources": False, "prompts": False})
    async with workbench.proxy(tools_only) as proxy:
        await proxy.handshake()
        _must_be_introduced(workbench, proxy)
        await proxy.ready(tools_only)
        for method, (capability, _, params) in PROMISED.items():
            if not declares(proxy, capability):
                await _must_be_undeclared(workbench, proxy, method, params)


async def _must_add_no_capability(workbench: Workbench) -> None:
    upstream = workbench.stdio("toolsonly", Script(capabilities={"tools": {}}))
    async with workbench.serving(upstream) as proxy:
        declared = part(proxy.greeting.result if proxy.greeting else None, "capabilities")
        workbench.expect(declared == {"tools": {}}, "a relay declares what its server declares", declared)


def _shows_changes_of_tools(workbench: Workbench) -> bool:
    """Whether the tools of the program change: with those of the upstream on a flat face, or with the configuration."""
    return workbench.sut.profile.face == "flat" or workbench.reloads


def _must_be_introduced(workbench: Workbench, proxy: Proxy) -> None:
    """Raise `Violation` unless the proxy has a name and a version, and declares tools."""
    greeting = proxy.greeting.result if proxy.greeting else None
    info = part(greeting, "serverInfo")
    introduced = isinstance(info, dict) and all(info.get(member) for member in ("name", "version"))
    workbench.expect(introduced, "serverInfo with a name and a version", greeting)
    capabilities = part(greeting, "capabilities")
    has_tools = isinstance(capabilities, dict) and isinstance(capabilities.get("tools"), dict)
    workbench.expect(has_tools, "the capability tools", greeting)


async def _must_offer_what_it_declares(workbench: Workbench, proxy: Proxy) -> None:
    names = {}
    if declares(proxy, "resources"):
        names[URI] = await exposed_uri(proxy, "able", URI)
    if declares(proxy, "prompts"):
        names["greet"] = await exposed_prompt(proxy, "able", "greet")
    for method, (capability, flag, params) in PROMISED.items():
        params = _with_names(params, names)
        if not declares(proxy, capability):
            await _must_be_undeclared(workbench, proxy, method, params)
        if not declares(proxy, capability, flag):
            continue  # what a flag promises may work without it
        answer = await proxy.request(method, params)
        workbench.expect(
            isinstance(answer.result, dict), f"{method} is declared and gives a result", answer.raw
        )
        if method == "completion/complete":
            workbench.expect("world" in answer.raw, "the completion is the upstream's", answer.raw)


async def _must_be_undeclared(
    workbench: Workbench, proxy: Proxy, method: str, params: dict[str, Any]
) -> None:
    answer = await proxy.request(method, params)
    workbench.expect(answer.error is not None, f"{method} is not declared, so it is an error", answer.raw)


def _with_names(params: Any, names: dict[str, str]) -> Any:
    """The params with the names that the proxy shows."""
    if isinstance(params, dict):
        return {key: _with_names(value, names) for key, value in params.items()}
    return names.get(params, params)


async def _must_announce_changes(workbench: Workbench, proxy: Proxy, before: int) -> None:
    """Raise `Violation` for a missing notification. Earlier requests have set the subscription and the log level.

    The notifications may come before the answer to the call.
    """
    answer = await proxy.call("able", "announce")
    with workbench.precondition("the upstream announces its changes"):
        workbench.expect(not answer.is_error, "a call of announce works", answer.raw)
    for method, (capability, flag) in ANNOUNCED.items():
        if declares(proxy, capability, flag):
            await _must_hear(workbench, proxy, method, before)


async def _must_hear(workbench: Workbench, proxy: Proxy, method: str, before: int) -> None:
    """Raise `Violation` unless the client gets the notification after the first `before` messages."""

    def heard() -> list[Any]:
        return [message for message in proxy.received[before:] if message.get("method") == method]

    await workbench.eventually(heard, within=5.0, what=f"{method} is declared and arrives")
