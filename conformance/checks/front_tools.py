"""FRONT: the two tools of the proxy, and what passes through them unchanged."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from conformance.checks import check
from conformance.checks.http_requests import can_call
from conformance.checks.modern_servers import for_modern_servers
from conformance.errors import Violation
from conformance.workbench.differences import Number, first_difference
from conformance.workbench.exposed import declared_methods, find_exposed
from conformance.workbench.listing_forms import LISTS
from conformance.workbench.schemas import inlined
from conformance.workbench.transcript import part
from mock_servers.jsontext import slice_of
from mock_servers.script import Script, any_arguments, on_call, raw, tool

if TYPE_CHECKING:
    from conformance.workbench.inbox import Answer
    from conformance.workbench.mocks import StdioMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench


#: bytes of the definitions of two tools, with the descriptions of nine groups
MAX_LISTING = 32 << 10


@check("FRONT-009", timeout=30, slow=True)
async def the_two_tool_face_lists_exactly_two_tools(workbench: Workbench) -> None:
    many = Script(tools=[tool(f"tool{number}", "Does something " * 10) for number in range(200)])
    names = ["zeta", "alpha", "mid", "Beta", "omega", "kappa", "10", "9"]
    groups = [workbench.stdio(name, many if name == "mid" else None) for name in names]
    broken = workbench.stdio("broken").variant(command=str(workbench.sandbox.root / "no-such-program"))
    disabled = workbench.stdio("disabled", enabled=False)
    config = workbench.config(*groups[:4], broken, disabled, *groups[4:])
    async with workbench.serving(*groups, config=config) as proxy:
        listings = [await proxy.request("tools/list", {}) for _ in range(5)]
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
        missing = [group.name for group in groups if f"The {group.name} upstream" not in listings[0].raw]
        workbench.expect(not missing, "the description of each group", listings[0].raw)
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
    workbench.expect(listing.member("nextCursor") is None, "one page", listing.raw)
    return [tools[name] for name in wanted]


#: uses every field that a tool may have, and keywords of JSON Schema that are easily lost
FULL_TOOL = {
    "name": "full",
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
    await _shows(workbench, "name", "inputSchema", without=NO_VALIDATION)


@check("FRONT-048")
async def tool_definitions_reach_the_client_complete(workbench: Workbench) -> None:
    await _shows(workbench, *FULL_TOOL)


async def _shows(workbench: Workbench, *members: str, without: tuple[str, ...] = ()) -> None:
    """The definition that the client gets has these members of the upstream's, unchanged but for what means the same.

    Nothing compares the members with a name of `without`, at any depth.
    """
    upstream = workbench.stdio("a", Script(tools=[tool("before"), FULL_TOOL, tool("after")]))
    async with workbench.serving(upstream) as proxy:
        await can_call(workbench, proxy, upstream, "before")
        shown = await proxy.definitions_of("a", "full")
        workbench.expect(shown, "the definition of the tool as JSON", (await proxy.tools_of("a")).raw)
        for definition in shown:
            expected, seen = (
                json.dumps(
                    {name: value for name, value in _comparable(one, without).items() if name in members}
                )
                for one in (FULL_TOOL, definition)
            )
            _is_equal(workbench, expected, seen)


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


@check("FRONT-011", timeout=40)
async def all_pages_of_upstream_lists_are_reachable(workbench: Workbench) -> None:
    await _shows_all(
        workbench, workbench.stdio("paged", _three_of_everything(page_size=1, cursors=["", "p2"]))
    )


@check("FRONT-170", timeout=40)
async def an_empty_cursor_of_a_modern_upstream_is_a_cursor(workbench: Workbench) -> None:
    paged = _three_of_everything(era="modern", page_size=1, cursors=["", "p2"])
    await _shows_all(workbench, workbench.stdio("paged", paged))


def _three_of_everything(**paging: Any) -> Script:
    return Script(
        tools=[tool(f"tool{number}") for number in range(3)],
        resources=[{"uri": f"mock://{number}", "name": f"{number}"} for number in range(3)],
        templates=[{"uriTemplate": f"t{number}://{{id}}", "name": f"{number}"} for number in range(3)],
        prompts=[{"name": f"prompt{number}"} for number in range(3)],
        **paging,
    )


async def _shows_all(workbench: Workbench, upstream: StdioMockUpstream) -> None:
    async with workbench.proxy(upstream) as proxy:
        with for_modern_servers(upstream):
            await proxy.handshake()
            await proxy.ready(upstream)
        for name in upstream.tool_names:
            listed = await proxy.definitions_of(upstream.name, name)
            workbench.expect(listed, "the listing shows the tools of all three pages", f"no {name}")
        called = await proxy.call(upstream.name, "tool2")
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
            workbench.expect(found == set(shown), f"{method} holds all three pages: {wanted}", shown)
            workbench.expect(len(shown) == len(wanted), f"{method} holds each of {wanted} once", shown)


#: arguments as text, since encoding would hide how a number is written; all numbers are exact in I-JSON
ARGUMENTS = r"""{"null": null, "nested": {"null": [null, {"null": null}], "empty": {}, "none": []}, "big": 9007199254740991,
"decimal": 3.141592653589793, "tiny": 1.50e-7, "true": true,
"text": "\u0000 \" \\ \u2028 \ud83d\ude00 <&>", "": "", "unknown": {"$ref": "#", "_meta": {"a": 1}}}""".replace(
    "\n", " "
)

CONTENT = r"""[{"type": "text", "text": "a\u0000\u2028", "annotations": {"audience": ["user"], "priority": 0.1}, "_meta": {"k": null}},
{"type": "image", "data": "AA==", "mimeType": "image/png"}, {"type": "audio", "data": "AA==", "mimeType": "audio/wav"},
{"type": "resource", "resource": {"uri": "mock://x", "mimeType": "text/plain", "text": "x", "_meta": {"n": -9007199254740991}}},
{"type": "resource_link", "uri": "mock://y", "name": "y", "size": 1, "annotations": {"lastModified": "2025-01-01T00:00:00Z"}}]"""
RESULT = (
    f'{{"content": {CONTENT}, "structuredContent": {ARGUMENTS}, "isError": false,'
    ' "_meta": {"example.invalid/a": {"b": [null, 1]}}}'
).replace("\n", " ")
FAILED = RESULT.replace('"isError": false', '"isError": true')


def _answer_with(result: str) -> Any:
    return raw('{"jsonrpc":"2.0","id":"$id","result":' + result + "}\n")


@check("FRONT-012")
async def arguments_and_results_are_relayed_verbatim(workbench: Workbench) -> None:
    """Missing arguments must not become null."""
    unknown = ', "x-unknown": [null]' if workbench.promises("unknown-members") else ""
    names = {"full.name-with/all_1": RESULT, "failing": FAILED}
    names = {name: f"{result[:-1]}{unknown}}}" for name, result in names.items()}
    upstream = workbench.stdio(
        "a",
        Script(
            tools=[tool(name, properties=any_arguments(*json.loads(ARGUMENTS))) for name in names],
            on=[on_call(name, _answer_with(result)) for name, result in names.items()],
        ),
    )
    async with workbench.serving(upstream) as proxy:
        for name, result in names.items():
            answer = await _call_with(proxy, name, ARGUMENTS)
            with workbench.case(f"the result of {name}"):
                _is_equal(workbench, result, slice_of(answer.raw, "result"))
        await _call_with(proxy, "failing", None)
        lines = [request.text for request in upstream.requests("tools/call")]
        workbench.expect(len(lines) == 3, "each of three calls reaches the upstream once", lines)
        *full, empty = lines
        for line, name in zip(full, names, strict=True):
            with workbench.case(f"the arguments of {name}"):
                _is_equal(workbench, json.dumps(name), slice_of(line, "params", "name"))
                _is_equal(workbench, ARGUMENTS, slice_of(line, "params", "arguments"))
        arguments = slice_of(empty, "params", "arguments")
        workbench.expect(arguments in (None, "{}"), "missing arguments do not become null", arguments)


#: numbers beyond I-JSON
NUMBERS = """{"big": 9007199254740993, "bigger": -123456789012345678901234567890, "huge": [18446744073709551617],
"decimal": 3.14159265358979323846264338327950288}""".replace("\n", " ")


@check("FRONT-049")
async def numbers_keep_every_digit(workbench: Workbench) -> None:
    result = f'{{"content": [], "structuredContent": {NUMBERS}}}'
    echo = tool("echo", properties=any_arguments(*json.loads(NUMBERS)))
    upstream = workbench.stdio("a", Script(tools=[echo], on=[on_call("echo", _answer_with(result))]))
    async with workbench.serving(upstream) as proxy:
        answer = await _call_with(proxy, "echo", NUMBERS)
        with workbench.precondition("the call works"):
            workbench.expect(not answer.is_error, "a result", answer.raw)
        with workbench.case("the arguments"):
            line = upstream.requests("tools/call")[0].text
            _is_equal(workbench, NUMBERS, slice_of(line, "params", "arguments"), number=Decimal)
        with workbench.case("the result"):
            seen = slice_of(answer.raw, "result", "structuredContent")
            _is_equal(workbench, NUMBERS, seen, number=Decimal)


async def _call_with(proxy: Proxy, name: str, arguments: str | None) -> Answer:
    params = json.dumps(proxy.call_params("a", name))
    # The arguments are the last member, and empty so far.
    before, member, after = re.split(r'(, "\w+": )\{\}(?=\}+$)', params)
    params = f"{before}{after}" if arguments is None else f"{before}{member}{arguments}{after}"
    what = f"a call of {name} {'without' if arguments is None else 'with'} arguments"
    line = f'{{"jsonrpc": "2.0", "id": "{what}", "method": "tools/call", "params": {params}}}'
    return await proxy.exchange(line, what, what)


def _is_equal(workbench: Workbench, expected: str, seen: str | None, number: type = float) -> None:
    """Two texts are the same JSON value, with their numbers compared as values of the type `number`."""
    workbench.expect(seen is not None, "there is a value", seen)
    difference = first_difference(_value(expected, number), _value(seen or "", number))
    if difference is not None:
        raise Violation(*difference)


def _value(text: str, number: type) -> Any:
    """The JSON value; 1.0 and 1 are equal, 1 and true are not."""

    def read(digits: str) -> Number:
        return Number(digits, number(digits))

    return json.loads(text, parse_int=read, parse_float=read)
