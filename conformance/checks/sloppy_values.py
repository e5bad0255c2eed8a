"""FRONT: upstreams and models whose values are almost right, and what the client gets in place of them."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from conformance.checks import check
from conformance.checks.common import must_be_echoed
from conformance.checks.sloppy_messages import BOM, SOON, tools_for
from conformance.model.registry import NEWEST_LEGACY
from conformance.workbench.client import CLIENT_INFO
from conformance.workbench.transcript import part
from mock_servers.script import Rule, Script, default_tools, error, raw, reply, tool

if TYPE_CHECKING:
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

#: errors that are no error objects
ERRORS = {
    "text": '"the disk is full"',
    "list": '["the disk is full"]',
    "no-code": '{"message": "the disk is full"}',
    "code-as-text": '{"code": "EDISK", "message": "the disk is full"}',
    "decimal-code": '{"code": -32000.5, "message": "the disk is full"}',
    "null-message": '{"code": -32000, "message": null, "data": "the disk is full"}',
    "no-message": '{"code": -32000, "reason": "the disk is full"}',
}
REASON = "the disk is full"
RESOURCE = "file:///good"
#: prompts of which clients refuse a whole list, and a good one
BAD_PROMPTS = [
    {"name": ""},
    {"name": "wrong-argument", "arguments": [{"description": "no name"}, {"name": "x", "required": "true"}]},
    {"name": "schema-as-arguments", "arguments": {"type": "object", "properties": {}}},
    {"name": "list-as-description", "description": ["a"], "title": 5},
    {"name": "good"},
]
#: members whose values belong to the server
OPAQUE = ("structuredContent", "_meta")
GIVEN = {"path": "/keep"}


@check("FRONT-090")
async def a_byte_order_mark_of_the_client_is_ignored(workbench: Workbench) -> None:
    upstream = workbench.stdio("a")
    async with workbench.proxy(upstream) as proxy:
        params = {"protocolVersion": NEWEST_LEGACY, "capabilities": {}, "clientInfo": CLIENT_INFO}
        line = json.dumps({"jsonrpc": "2.0", "id": "first", "method": "initialize", "params": params})
        greeting = await proxy.exchange(BOM + line, "first", "initialize after a byte order mark")
        workbench.expect(isinstance(greeting.result, dict), "a result of initialize", greeting.raw)
        await proxy.notify("notifications/initialized")
        await proxy.ready(upstream)
        await must_be_echoed(workbench, proxy, "a", {"x": 1})


@check("FRONT-091")
async def an_empty_cursor_that_leads_nowhere_ends_the_list(workbench: Workbench) -> None:
    page = {"tools": default_tools(), "nextCursor": ""}
    refusing = Rule("tools/list", [error(-32602, "Invalid cursor")], params={"cursor": ""})
    scripts = {
        "refuses-it": Script(on=[refusing, Rule("tools/list", [reply(page)])]),
        "repeats-it": Script(on=[Rule("tools/list", [reply(page)])]),
    }
    upstreams = [workbench.stdio(name, script) for name, script in scripts.items()]
    async with workbench.proxy(*upstreams) as proxy:
        await proxy.handshake()
        for upstream in upstreams:
            with workbench.case(upstream.name):
                with workbench.must("the tools of the first page are listed"):
                    await proxy.ready(upstream)
                await must_be_echoed(workbench, proxy, upstream.name, {"x": upstream.name})
                asked = len(upstream.requests("tools/list"))
                workbench.expect(asked <= 10, "at most ten requests for two pages", asked)


@check("FRONT-092")
async def one_bad_entry_of_a_list_costs_that_entry(workbench: Workbench) -> None:
    """For a list that is null, the check accepts an error of the listing tool too."""
    good = {"uri": RESOURCE, "name": "good"}
    entries = [None, {"description": "no name"}, {"name": 5}, *default_tools(), "text"]
    bad = workbench.stdio("bad", Script(on=[Rule("tools/list", [reply({"tools": entries})])]))
    null = workbench.stdio(
        "null",
        Script(
            resources=[good],
            on=[
                Rule("tools/list", [reply({"tools": None})]),
                Rule("resources/list", [reply({"resources": [None, {"name": "no uri"}, good]})]),
            ],
        ),
    )
    prompts = workbench.stdio(
        "prompts",
        Script(prompts=[{"name": "good"}], on=[Rule("prompts/list", [reply({"prompts": BAD_PROMPTS})])]),
    )
    async with workbench.proxy(bad, null, prompts) as proxy:
        await proxy.handshake()
        with workbench.must("the good tools are listed"):
            await proxy.ready(bad)
        await must_be_echoed(workbench, proxy, "bad", {"x": 1})
        if "resources" not in (proxy.greeting.member("capabilities") or {} if proxy.greeting else {}):
            workbench.note("the proxy has no resources, so only the tools were judged")
            return
        await proxy.wake("null")

        async def uris() -> list[Any]:
            return [one.get("uri") for one in await proxy.items("resources/list", "resources")]

        listed: list[Any] = []
        for _ in range(50):
            if RESOURCE in (listed := await uris()):
                break
            await anyio.sleep(0.1)
        workbench.expect(listed == [RESOURCE], f"only {RESOURCE}, beside tools that are null", listed)
        answer = await proxy.request("resources/read", {"uri": RESOURCE}, within=SOON)
        workbench.expect(not answer.is_error, "the resource can be read", answer.raw)
        if "prompts" in (proxy.greeting.member("capabilities") or {} if proxy.greeting else {}):
            await proxy.wake("prompts")
            await _must_list_the_good_prompt(workbench, proxy)


async def _must_list_the_good_prompt(workbench: Workbench, proxy: Proxy) -> None:
    """The runner compares every list with the official types. Raises Violation."""
    names: list[Any] = []
    for _ in range(50):
        if "good" in (names := [one.get("name") for one in await proxy.items("prompts/list", "prompts")]):
            break
        await anyio.sleep(0.1)
    workbench.expect("good" in names and "" not in names, "the good prompt, and none without a name", names)


@check("FRONT-093")
async def an_error_that_is_no_error_object_becomes_one(workbench: Workbench) -> None:
    line = '{{"jsonrpc":"2.0","id":"$id","error":{}}}\n'
    upstream = workbench.stdio("a", tools_for({name: raw(line.format(one)) for name, one in ERRORS.items()}))
    async with workbench.serving(upstream) as proxy:
        await workbench.run_cases(*(partial(_must_be_valid_error, workbench, proxy, name) for name in ERRORS))


async def _must_be_valid_error(workbench: Workbench, proxy: Proxy, name: str) -> None:
    with workbench.case(f"the error {name}"):
        answer = await proxy.call("a", name, within=SOON)
        workbench.expect(answer.is_error, "an error", answer.raw)
        workbench.expect(REASON in answer.raw, f"the reason {REASON!r}", answer.raw)
        if "error" in answer.message:
            code, text = part(answer.error, "code"), part(answer.error, "message")
            is_valid = type(code) is int and isinstance(text, str)
            workbench.expect(is_valid, "an error object with a whole number and a text", answer.raw)


@check("FRONT-094")
async def no_call_loses_the_arguments_that_the_model_gave(workbench: Workbench) -> None:
    keep = tool("keep", properties={"path": {"type": "string"}})
    upstream = workbench.stdio("a", Script(tools=[*default_tools(), keep]))
    right = {"group": "a", "name": "keep"}
    forms: dict[str, Any] = {
        f"arguments given as {name}": {**right, name: GIVEN}
        for name in ("arguments", "params", "input", "Args")
    }
    forms |= {
        "arguments given as flat": {**right, **GIVEN},
        "arguments given as beside-empty-args": {**right, "args": {}, "arguments": GIVEN},
        "arguments in a string": {**right, "args": json.dumps(GIVEN)},
        "arguments in a list": {**right, "args": [GIVEN]},
        "the call in a string": json.dumps({**right, "args": GIVEN}),
        "the call in arguments": {"arguments": {**right, "args": GIVEN}},
        "the group and the tool in one name": {"name": "a.keep", "args": GIVEN},
    }
    async with workbench.serving(upstream) as proxy:
        for what, arguments in forms.items():
            with workbench.case(what):
                before = len(upstream.requests("tools/call"))
                call = {**proxy.call_params("a", "keep"), "arguments": arguments}
                answer = await proxy.request("tools/call", call, within=SOON)
                made = [part(one.params, "arguments") for one in upstream.requests("tools/call")[before:]]
                lost = [one for one in made if one != GIVEN]
                workbench.expect(not lost, f"no call without the arguments {GIVEN}", lost)
                workbench.expect(answer.is_error or made, "an error, or a call with them", answer.raw)
                if workbench.promises("right-form"):
                    workbench.expect(made and not answer.is_error, "a call with them", answer.raw)
        await must_be_echoed(workbench, proxy, "a", GIVEN)


@check("FRONT-095")
async def members_that_are_null_do_not_reach_the_client(workbench: Workbench) -> None:
    block = {"type": "text", "text": "shown", "annotations": None, "_meta": None}
    embedded = {"uri": "file:///x", "text": "shown", "mimeType": None}
    results: dict[str, Any] = {
        "block": {"content": [block]},
        "members": {"content": [block], "isError": None, "structuredContent": None, "_meta": None},
        "embedded": {"content": [{"type": "resource", "resource": embedded}]},
        "content": {"content": None, "structuredContent": {"value": None, "said": "shown"}},
        "result": None,
    }
    lines = {
        name: json.dumps({"jsonrpc": "2.0", "id": "$id", "result": result})
        for name, result in results.items()
    }
    upstream = workbench.stdio("a", tools_for({name: raw(line + "\n") for name, line in lines.items()}))
    async with workbench.serving(upstream) as proxy:
        for name in results:
            with workbench.case(f"null as {name}"):
                answer = await proxy.call("a", name, within=SOON)
                if name == "result":
                    workbench.expect(answer.is_error, "an error for a result that is null", answer.raw)
                    continue
                workbench.expect(not answer.is_error, "the call succeeds", answer.raw)
                workbench.expect("shown" in answer.raw, "what the server said", answer.raw)
                found = nulls(answer.result)
                workbench.expect(not found, "no member that is null", f"{', '.join(found)}: {answer.raw}")


def nulls(value: Any, path: str = "result") -> list[str]:
    """The places of members that are null, except in values that belong to the server."""
    match value:
        case dict():
            inner = [
                (f"{path}.{name}", one) for name, one in value.items() if one is None or name not in OPAQUE
            ]
        case list():
            inner = [(f"{path}[{number}]", one) for number, one in enumerate(value)]
        case _:
            return [path] if value is None else []
    return [place for name, one in inner for place in nulls(one, name)]
