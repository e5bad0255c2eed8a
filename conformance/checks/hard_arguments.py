"""HARD: calls that the proxy does not make, because their arguments do not fit the tool's schema.

For such a call the proxy returns a result with `isError`, so that the model can react.
"""

from __future__ import annotations

import json
import re
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from conformance.checks import check
from conformance.checks.common import must_be_echoed
from mock_servers.script import Script, any_arguments, list_changed, on_call, reply, set_tools, tool

if TYPE_CHECKING:
    from pathlib import Path

    from conformance.workbench.inbox import Answer
    from conformance.workbench.mocks import StdioMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer", "minimum": 0},
        "address": {"type": "object", "properties": {"town": {"type": "string"}}},
    },
    "required": ["name"],
    "additionalProperties": False,
}
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a wrong type": ({"name": "x", "age": "old"}, "age"),
    "a wrong type further in": ({"name": "x", "address": {"town": 5}}, "town"),
    "a missing property": ({"age": 5}, "name"),
    "an additional property": ({"name": "x", "height": 5}, "height"),
}
#: keywords that JSON Schema 2020-12 added or changed
NEWER = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$defs": {"point": {"$dynamicAnchor": "point", "prefixItems": [{"type": "integer"}], "items": False}},
    "type": "object",
    "properties": {"at": {"$dynamicRef": "#point"}, "a": True, "b": True},
    "dependentRequired": {"a": ["b"]},
    "unevaluatedProperties": False,
}
FITS_NEWER = ({"at": [1]}, {"a": 1, "b": 2})
WRONG_NEWER = ({"at": ["x"]}, {"at": [1, 2]}, {"a": 1}, {"c": 1})
#: written as no JSON library would write them, so that a new serialization shows
EXACT = (
    '{"name": "x", "big": 123456789012345678901234567890, "f": 1.0, "e": 1E+2, "huge": 1e400, "u": "\\u00e9"}'
)


@check("HARD-006", timeout=60, slow=True)
async def arguments_can_be_validated_against_the_schema_of_the_tool(workbench: Workbench) -> None:
    """A remote `$ref`, or a schema that takes for ever to check, stops no call either. A save adds a server that changes a schema."""
    elsewhere = await workbench.collector()
    forever = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n - 1}"}] * 2} for n in range(1, 60)}
    schemas: dict[str, Any] = {
        "person": PERSON,
        "newer": NEWER,
        "open": {"type": "object", "properties": {"big": {"type": "integer"}, "huge": {"type": "number"}}},
        "broken": {"type": "objekt"},
        "elsewhere": {"type": "object", "properties": {"x": {"$ref": elsewhere.at("/schema.json")}}},
        "forever": {"$defs": {"d0": {"type": "object"}, **forever}, "$ref": "#/$defs/d59"},
    }
    tools = [{**tool(name), "inputSchema": schema} for name, schema in schemas.items()]
    upstream = workbench.stdio(
        "a", Script(tools=tools), **workbench.sut.profile.configured(validate_arguments=True)
    )
    config = workbench.config(upstream)
    async with workbench.serving(upstream, config=config) as proxy:
        must_pass = partial(must_be_echoed, workbench, proxy, "a", within=20.0)
        for what, (args, place) in WRONG.items():
            with workbench.case(what):
                answer = await proxy.call("a", "person", args)
                _must_be_refused_early(workbench, upstream, answer)
                workbench.expect(place in answer.text, f"an error that names {place!r}", answer.raw)
                workbench.expect(
                    '"additionalProperties"' in answer.text, "an error with the schema", answer.raw
                )
        for args in WRONG_NEWER:
            with workbench.case(f"{args}, against the keywords of 2020-12"):
                _must_be_refused_early(workbench, upstream, await proxy.call("a", "newer", args))
        for args in FITS_NEWER:
            with workbench.case(f"{args}, against the keywords of 2020-12"):
                await must_pass(args, tool="newer")
        await must_pass({"name": "x", "age": 5}, tool="person")
        await _must_pass_exactly(workbench, proxy, upstream)
        for name in ("broken", "elsewhere", "forever"):
            with workbench.case(f"the schema of {name}"):
                await must_pass({"x": 1}, tool=name)
        with workbench.case("the unusable schemas"):
            for name in ("broken", "elsewhere"):
                workbench.expect(
                    re.search(rf"\b{name}\b", proxy.stderr), f"a warning about {name}", proxy.stderr
                )
        with workbench.case("after all that"):
            _must_be_refused_early(
                workbench,
                upstream,
                await proxy.call("a", "person", {}),
                calls=len(upstream.requests("tools/call")),
            )
        if workbench.reloads:
            await _must_use_the_newest_schema(workbench, proxy, config, upstream)
    elsewhere.saw_nothing()


async def _must_use_the_newest_schema(
    workbench: Workbench, proxy: Proxy, config: Path, upstream: StdioMockUpstream
) -> None:
    """Let a save add a server. Raises `Violation` unless calls of its tool have to fit the schema that it announced last."""

    def takes(kind: str) -> dict[str, Any]:
        return {**tool("takes"), "inputSchema": {"type": "object", "properties": {"x": {"type": kind}}}}

    changes = on_call("change", set_tools([takes("integer")]), list_changed(), reply())
    script = Script(tools=[takes("string"), tool("change")], on=[changes])
    later = workbench.stdio("later", script, **workbench.sut.profile.configured(validate_arguments=True))
    workbench.save(config, upstream, later)
    with workbench.precondition("an added server works"):
        await proxy.ready(later)
    with workbench.case("a server that a save adds"):
        _must_be_refused_early(workbench, later, await proxy.call("later", "takes", {"x": 1}))
        await must_be_echoed(workbench, proxy, "later", {"x": "text"}, tool="takes")
    with workbench.precondition("the proxy lists a changed tool"):
        await proxy.call("later", "change")
        await _must_list_the_change(workbench, proxy)
    with workbench.case("a changed schema"):
        answer = await proxy.call("later", "takes", {"x": "text"})
        _must_be_refused_early(workbench, later, answer, calls=2)
        await must_be_echoed(workbench, proxy, "later", {"x": 1}, tool="takes")


async def _must_list_the_change(workbench: Workbench, proxy: Proxy) -> None:
    deadline = time.monotonic() + 10.0
    while "integer" not in str(shown := await proxy.definitions_of("later", "takes")):
        workbench.expect(time.monotonic() < deadline, "the changed definition within 10 s", shown)
        await anyio.sleep(0.1)


def _must_be_refused_early(
    workbench: Workbench, upstream: StdioMockUpstream, answer: Answer, calls: int = 0
) -> None:
    refused = "error" not in answer.message and answer.is_error
    workbench.expect(refused, "a result that says isError", answer.raw)
    made = [call.text for call in upstream.requests("tools/call")]
    workbench.expect(len(made) == calls, "no call reaches the upstream", made)


async def _must_pass_exactly(workbench: Workbench, proxy: Proxy, upstream: StdioMockUpstream) -> None:
    params = json.dumps(proxy.call_params("a", "open", {"big": 0})).replace('{"big": 0}', EXACT)
    line = f'{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{params}}}'
    answer = await proxy.exchange(line, 7, "a call with unusual numbers")
    workbench.expect(not answer.is_error, "valid arguments pass", answer.raw)
    text = upstream.requests("tools/call")[-1].text
    workbench.expect(EXACT in text, f"the bytes {EXACT}", text)


#: arguments that repeat a member, and the words that its path has
_TWICE = {
    '{"name":"x","age":5,"name":"y"}': ["name"],
    '{"name":"x","n\\u0061me":"y"}': ["name"],
    '{"name":"x","tags":[{"deep":[1,{"inner":1,"other":2,"inner":1}]}]}': ["tags", "0", "deep", "1", "inner"],
    json.dumps('{"name":"x","name":"y"}'): ["name"],
}


@check("HARD-012", timeout=40)
async def validated_arguments_have_no_member_twice(workbench: Workbench) -> None:
    """Each repeated member has values that fit the schema, so that the repetition is the only fault."""
    tools = [
        {
            **tool("person"),
            "inputSchema": {
                "type": "object",
                "properties": any_arguments("name", "again"),
                "required": ["name"],
            },
        },
        tool("other"),
    ]
    upstream = workbench.stdio(
        "a", Script(tools=tools), **workbench.sut.profile.configured(validate_arguments=True)
    )
    async with workbench.serving(upstream) as proxy:
        with workbench.precondition("a call with valid arguments works"):
            answer = await proxy.call("a", "person", {"name": "x", "again": {"name": "x"}})
            workbench.expect(not answer.is_error, "no error", answer.raw)
        for args, path in _TWICE.items():
            with workbench.case(f"the arguments {args}"):
                answer = await _call_with(proxy, f'"group":"a","name":"person","args":{args}')
                _must_be_refused_early(workbench, upstream, answer, calls=1)
                place = "[^a-z0-9]+".join(path)
                workbench.expect(re.search(place, answer.text), f"an error with the path {path}", answer.raw)
        frames = {
            "args twice": '"group":"a","name":"person","args":{"name":1},"args":{}',
            "args twice, valid ones last": '"group":"a","name":"person","args":{},"args":{"name":1}',
            "name twice": '"group":"a","name":"person","args":{},"name":"other"',
        }
        for what, frame in frames.items():
            with workbench.case(what):
                await _call_with(proxy, frame)
                for call in upstream.requests("tools/call"):
                    valid = call.param("name") == "other" or "name" in (call.param("arguments") or {})
                    workbench.expect(
                        valid, "a call reaches the upstream only with valid arguments", call.text
                    )
                    workbench.expect(
                        call.text.count('"arguments":') == 1, "arguments come once in a call", call.text
                    )


async def _call_with(proxy: Proxy, arguments: str) -> Answer:
    """Call a tool with these members of `arguments`, as they are written."""
    template = proxy.call_params("a", "PLACE")
    outer = {**template, "arguments": "ARGUMENTS"}
    params = json.dumps(outer).replace('"ARGUMENTS"', "{" + arguments + "}")
    line = f'{{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{params}}}'
    return await proxy.exchange(line, 9, "a call with a repeated member")
