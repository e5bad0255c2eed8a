"""FRONT: the two tools of the proxy, and the definitions and lists that the client gets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from conformance.checks import check
from conformance.checks.common import must_be_callable
from conformance.checks.front_content import must_be_equal_json
from conformance.checks.modern_servers import for_modern_servers
from conformance.workbench.exposed import declared_methods, find_exposed
from conformance.workbench.listing_forms import LISTS
from conformance.workbench.schemas import inlined
from conformance.workbench.transcript import part
from mock_servers.script import Script, tool

if TYPE_CHECKING:
    from conformance.workbench.inbox import Answer
    from conformance.workbench.mocks import MockUpstream, StdioMockUpstream
    from conformance.workbench.workbench import Workbench


#: bytes of the definitions of two tools, with the descriptions of twelve groups
MAX_LISTING = 32 << 10


@check("FRONT-009", timeout=30, slow=True)
async def the_two_tool_face_lists_exactly_two_tools(workbench: Workbench) -> None:
    many = Script(tools=[tool(f"tool{number}", "Does something " * 10) for number in range(200)])
    alike = ["Beta", "beta", "caf\u00e9", "cafe\u0301"]
    names = ["zeta", "alpha", "mid", *alike, "omega", "kappa", "10", "9"]
    groups = [workbench.stdio(name, many if name == "mid" else None) for name in names]
    broken = workbench.stdio("broken").variant(command=str(workbench.sandbox.root / "no-such-program"))
    disabled = workbench.stdio("disabled", enabled=False)
    config = workbench.config(*groups[:4], broken, disabled, *groups[4:])
    async with workbench.serving(*groups, config=config) as proxy:
        listings = [await proxy.pages("tools/list", "tools") for _ in range(5)]
        tools = [_two_tools(workbench, listing) for listing in listings]
        workbench.expect(all(seen == tools[0] for seen in tools), "five equal listings", tools)
        for found, required in zip(tools[0], (["group"], ["group", "name"]), strict=True):
            schema = part(found, "inputSchema")
            workbench.expect(part(schema, "type") == "object", "the schema of an object", schema)
            named = part(schema, "required") or []
            workbench.expect(sorted(map(str, named)) == required, f"{required} are required", schema)
        members = part(tools[0][1], "inputSchema", "properties") or {}
        workbench.expect(
            {"group", "name", "args"} <= {*members}, "group, name and args are described", members
        )
        listed = await proxy.groups(*names, "broken", "disabled")
        connected = [name for name in listed if name != "broken"]
        if not workbench.promises("configuration-order"):
            connected, names = sorted(connected), sorted(names)
        workbench.expect(
            connected == names, f"the groups {names}, whether or not with the broken one", listed
        )
        shown = json.dumps(tools[0], ensure_ascii=False)
        missing = [group.name for group in groups if f"The {group.name} upstream" not in shown]
        workbench.expect(not missing, "the description of each group", listings[0].raw)
        for group in groups:
            if group.name in alike:
                with workbench.case(f"a call to the group {group.name!r}"):
                    await must_be_callable(workbench, proxy, group)
    async with workbench.serving(*groups, config=config) as proxy:
        again = [name for name in await proxy.groups(*names, "broken") if name != "broken"]
        order = [name for name in listed if name != "broken"]
        workbench.expect(again == order, f"the same order at the next start: {order}", again)


def _two_tools(workbench: Workbench, listing: Answer) -> list[dict[str, Any]]:
    """The tool that lists and the tool that calls. There must be no others."""
    wanted = [workbench.sut.profile.tools[name] for name in ("list", "call")]
    tools = {str(part(tool, "name")): tool for tool in listing.member("tools") or []}
    workbench.expect(sorted(tools) == sorted(wanted), f"the tools {wanted} and no others", listing.raw)
    workbench.expect(len(listing.raw) < MAX_LISTING, "less than 32 KiB", f"{len(listing.raw)} bytes")
    workbench.expect("Does something" not in listing.raw, "no description of an upstream's tool", listing.raw)
    return [tools[name] for name in wanted]


#: uses every field that a tool may have, and keywords of JSON Schema that are easily lost
FULL_TOOL = {
    "name": "fullTool",
    "title": "Every field",
    "description": "Line one\nline two: \u00e9 \u2028 \U0001f600",
    "inputSchema": {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {"leaf": {"type": ["string", "null"], "minLength": 1, "pattern": "^\\S+$"}},
        "properties": {
            "leaf": {"$ref": "#/$defs/leaf", "default": None},
            "either": {"oneOf": [{"const": 1.5}, {"enum": ["a", None, False]}]},
            "list": {"type": "array", "prefixItems": [{"type": "integer"}], "items": False},
        },
        "patternProperties": {"^x-": True},
        "dependentRequired": {"leaf": ["either"]},
        "if": {"required": ["leaf"]},
        "then": {"minProperties": 2},
        "required": ["leaf"],
        "additionalProperties": False,
        "x-own-keyword": {"nested": [1, 2, {"deep": None}]},
    },
    "outputSchema": {"type": "object", "properties": {"sum": {"type": "number"}}, "required": ["sum"]},
    "annotations": {"title": "Full", "readOnlyHint": True, "openWorldHint": False, "idempotentHint": True},
    "icons": [{"src": "data:image/png;base64,AA==", "mimeType": "image/png", "sizes": ["48x48"]}],
    "execution": {"taskSupport": "forbidden"},
    "_meta": {"example.invalid/note": {"kept": [None, 1]}},
}


#: keywords of this schema that decide nothing about an argument
NO_VALIDATION = ("default", "x-own-keyword")


@check("FRONT-010")
async def tool_definitions_reach_the_client_with_their_whole_schema(workbench: Workbench) -> None:
    await _must_show(workbench, "name", "inputSchema", without=NO_VALIDATION)


@check("FRONT-048")
async def tool_definitions_reach_the_client_complete(workbench: Workbench) -> None:
    await _must_show(workbench, *FULL_TOOL)


async def _must_show(workbench: Workbench, *members: str, without: tuple[str, ...] = ()) -> None:
    """Raise `Violation` unless the client's definition has these members of the upstream's, unchanged but for what means the same.

    Nothing compares the members with a name of `without`, at any depth.
    """
    script = Script(tools=[tool("before"), FULL_TOOL, tool("after")])
    upstreams: list[MockUpstream] = [workbench.stdio("a", script)]
    if workbench.has("HTTP"):
        upstreams.append(await workbench.http("b", script))
    async with workbench.serving(*upstreams) as proxy:
        for upstream in upstreams:
            await must_be_callable(workbench, proxy, upstream, "before")
            shown = await proxy.definitions_of(upstream.name, str(FULL_TOOL["name"]))
            listed = (await proxy.tools_of(upstream.name)).raw
            workbench.expect(shown, f"the definition of the tool of {upstream.name} as JSON", listed)
            for definition in shown:
                expected, seen = (
                    json.dumps(
                        {name: value for name, value in _comparable(one, without).items() if name in members}
                    )
                    for one in (FULL_TOOL, definition)
                )
                with workbench.case(f"the tool of {upstream.name}"):
                    must_be_equal_json(workbench, expected, seen)


def _comparable(definition: dict[str, Any], without: tuple[str, ...]) -> dict[str, Any]:
    """The definition without references and these members in its schema, and without what a proxy adds to `_meta`."""
    meta = definition.get("_meta")
    if isinstance(meta, dict):
        own: Any = FULL_TOOL["_meta"]
        definition = {**definition, "_meta": {name: meta[name] for name in own if name in meta}}
    return {**definition, "inputSchema": _stripped(inlined(definition.get("inputSchema")), without)}


def _stripped(value: Any, without: tuple[str, ...]) -> Any:
    if isinstance(value, dict):
        return {name: _stripped(one, without) for name, one in value.items() if name not in without}
    return [_stripped(one, without) for one in value] if isinstance(value, list) else value


#: the items of each list; a page has five
ITEMS = 55


@check("FRONT-011", timeout=40)
async def all_pages_of_upstream_lists_are_reachable(workbench: Workbench) -> None:
    await _must_show_all(
        workbench, workbench.stdio("paged", _items_of_everything(ITEMS, page_size=5, cursors=["", "p2"]))
    )


@check("FRONT-170", timeout=40)
async def an_empty_cursor_of_a_modern_upstream_is_a_cursor(workbench: Workbench) -> None:
    paged = _items_of_everything(3, era="modern", page_size=1, cursors=["", "p2"])
    await _must_show_all(workbench, workbench.stdio("paged", paged))


def _items_of_everything(count: int, **paging: Any) -> Script:
    numbers = range(1, count + 1)
    return Script(
        tools=[tool(f"tool{number:03}") for number in numbers],
        resources=[{"uri": f"mock://{number:03}", "name": f"{number}"} for number in numbers],
        templates=[{"uriTemplate": f"t{number:03}://{{id}}", "name": f"{number}"} for number in numbers],
        prompts=[{"name": f"prompt{number:03}"} for number in numbers],
        **paging,
    )


async def _must_show_all(workbench: Workbench, upstream: StdioMockUpstream) -> None:
    async with workbench.proxy(upstream) as proxy:
        with for_modern_servers(upstream):
            await proxy.handshake()
            await proxy.ready(upstream)
        last = upstream.tool_names[-1]
        missing = await proxy.missing_definitions(upstream)
        workbench.expect(not missing, "the listing shows the tools of all pages", f"no {missing}")
        called = await proxy.call(upstream.name, last)
        workbench.expect(not called.is_error, "a call of a tool of the last page succeeds", called.raw)
        script = upstream.script
        everything = {
            "resources/list": script.resources,
            "resources/templates/list": script.templates,
            "prompts/list": script.prompts,
        }
        lists = declared_methods(proxy, LISTS)
        for method in lists:
            member, key = LISTS[method]
            shown = [str(item.get(key)) for item in await proxy.items(method, member)]
            wanted = [item[key] for item in everything[method] or []]
            found = {find_exposed(shown, upstream.name, own) for own in wanted}
            workbench.expect(found == set(shown), f"{method} holds all pages: {wanted}", shown)
            workbench.expect(len(shown) == len(wanted), f"{method} holds each of {wanted} once", shown)
