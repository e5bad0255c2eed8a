"""FRONT: what passes through the proxy unchanged: arguments, and the results of calls, reads and prompts."""

from __future__ import annotations

import base64
import json
import re
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

from conformance.checks import check
from conformance.checks.common import must_be_callable
from conformance.checks.front_names import must_keep_names_of_tools
from conformance.errors import NotApplicable, Violation
from conformance.workbench.differences import Number, first_difference
from conformance.workbench.exposed import find_exposed, requests_of_each_kind
from mock_servers.jsontext import slice_of
from mock_servers.script import Rule, Script, any_arguments, on_call, raw, reply, tool

if TYPE_CHECKING:
    from conformance.workbench.inbox import Answer
    from conformance.workbench.mocks import MockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.transcript import Json
    from conformance.workbench.workbench import Workbench

#: texts that a program can take for something else, or tidy up
TEXTS = {
    "variables": "$HOME ${HOME} ${HOME:-x} %PATH% {{HOME}} $(id)",
    "home": "~/x",
    "truth": "true",
    "nothing": "null",
    "digits": "0012",
    "list": '["a", 1]',
    "letters": "e\u0301 \u00e9 \ufb01 \u212b",
    "lines": "\ta\r\nb\rc \n",
    "colours": "\x1b[1mbold\x1b[0m\x07",
    "long": "0123456789" * 500,
}
#: arguments that the tools declare with a type and a default, and that most calls leave out
UNSENT: dict[str, Json] = {
    "count": {"type": "integer", "default": 7},
    "word": {"type": "string", "default": "x"},
    "items": {"type": "array", "default": []},
    "sure": {"type": "boolean", "default": False},
}
#: values of those arguments that contradict their types
CONTRADICTING = '{"count": "12", "word": 12, "items": "one", "sure": "true"}'


def _nested(levels: int) -> Any:
    return {"in": [_nested(levels - 1)]} if levels else None


#: arguments as text, since encoding would hide how a number is written; all numbers are exact in I-JSON
ARGUMENTS = (
    r"""{"null": null, "nested": {"null": [null, {"null": null}], "empty": {}, "none": []}, "big": 9007199254740991,
"decimal": 3.141592653589793, "tiny": 1.50e-7, "true": true,
"text": "\u0000 \" \\ \u2028 \ud83d\ude00 <&>", "": "", "unknown": {"$ref": "#", "_meta": {"a": 1}}, """.replace(
        "\n", " "
    )
    + json.dumps(
        {
            **TEXTS,
            "inner": {"texts": [*TEXTS.values()]},
            "deep": _nested(6),
            "many": [*range(60)],
            **{f"member{number}": number for number in range(40)},
        }
    ).removeprefix("{")
)

BYTES = base64.b64encode(bytes(range(256)) * 30).decode()
META = {"example.invalid/a": {"b": [None, 1]}}
ANNOTATIONS = {"audience": ["user"], "priority": 0.1, "lastModified": "2025-01-01T00:00:00Z"}


def _text(text: str) -> Json:
    return {"type": "text", "text": text}


CONTENT: list[Json] = [
    {**_text("a\u0000\u2028"), "annotations": ANNOTATIONS, "_meta": {"k": None}},
    *map(_text, TEXTS.values()),
    *[_text("the same")] * 2,
    _text(""),
    {"type": "image", "data": BYTES, "mimeType": "image/png"},
    {"type": "audio", "data": BYTES, "mimeType": "audio/wav", "annotations": {"priority": 0}},
    {
        "type": "resource",
        "resource": {"uri": "mock://x", "mimeType": "text/plain", "text": "x", "_meta": {"n": 1 - 2**53}},
    },
    {
        "type": "resource",
        "resource": {"uri": "mock://z", "mimeType": "image/png", "blob": BYTES},
        "_meta": META,
    },
    {
        "type": "resource_link",
        "uri": "mock://y",
        "name": "y",
        "title": "The y",
        "description": "Line one\nline two",
        "mimeType": "text/plain",
        "size": 1,
        "annotations": ANNOTATIONS,
        "_meta": META,
    },
    _text("the last"),
]
#: no revision of MCP defines them
UNKNOWN_MEMBER: Json = {"x-unknown": [None]}
UNKNOWN_BLOCK: Json = {"type": "x-unknown", "value": [None]}


def _unknown_members(workbench: Workbench) -> Json:
    return UNKNOWN_MEMBER if workbench.promises("unknown-members") else {}


@check("FRONT-012")
async def arguments_and_results_are_relayed_verbatim(workbench: Workbench) -> None:
    """Missing arguments must not become null. A proxy may refuse arguments that contradict their types, but not change them."""
    unknown = _unknown_members(workbench)
    content = json.dumps([*CONTENT, UNKNOWN_BLOCK] if unknown else CONTENT)
    more = json.dumps({"_meta": META, **unknown}).removeprefix("{")
    results = {
        name: f'{{"content": {content}, "structuredContent": {ARGUMENTS}, "isError": {is_error}, {more}'
        for name, is_error in (("failing", "true"), ("full.name-with/all_1", "false"))
    }
    properties = {
        **any_arguments(*json.loads(ARGUMENTS)),
        **{name: {"type": "string"} for name in TEXTS},
        **UNSENT,
    }
    tools = [tool(name, properties=properties) for name in results]
    cases = [
        partial(_must_be_relayed_to_a_child, workbench, tools, results),
        partial(must_keep_names_of_tools, workbench),
    ]
    if workbench.has("HTTP"):
        cases.append(partial(_must_be_relayed_to_a_url, workbench, tools, results))
    await workbench.run_cases(*cases)


async def _must_be_relayed_to_a_child(
    workbench: Workbench, tools: list[Json], results: dict[str, str]
) -> None:
    rules = [on_call(name, _answer_with(result)) for name, result in results.items()]
    upstream = workbench.stdio("a", Script(tools=tools, on=rules))
    # The official types have no block of an unknown kind.
    async with workbench.serving(upstream, wire_types=not _unknown_members(workbench)) as proxy:
        for name, result in results.items():
            await _must_be_relayed(workbench, proxy, upstream, name, result)
        await _call_with(proxy, "failing", None, "no arguments")
        lines = [request.text for request in upstream.requests("tools/call")]
        workbench.expect(len(lines) == 3, "each of three calls reaches the upstream once", lines)
        arguments = slice_of(lines[-1], "params", "arguments")
        workbench.expect(arguments in (None, "{}"), "missing arguments do not become null", arguments)
        await _call_with(proxy, "failing", CONTRADICTING, "arguments of other types")
        with workbench.case("arguments that contradict their types"):
            # A proxy that refuses the call sends nothing.
            for request in upstream.requests("tools/call")[3:]:
                must_be_equal_json(workbench, CONTRADICTING, slice_of(request.text, "params", "arguments"))


async def _must_be_relayed_to_a_url(workbench: Workbench, tools: list[Json], results: dict[str, str]) -> None:
    rules = [on_call(name, reply(json.loads(result))) for name, result in results.items()]
    upstream = await workbench.http("remote", Script(tools=tools, on=rules))
    async with workbench.serving(upstream, wire_types=not _unknown_members(workbench)) as proxy:
        for name, result in results.items():
            await _must_be_relayed(workbench, proxy, upstream, name, result)


async def _must_be_relayed(
    workbench: Workbench, proxy: Proxy, upstream: MockUpstream, name: str, result: str
) -> None:
    answer = await _call_with(proxy, name, ARGUMENTS, group=upstream.name)
    line = workbench.at(upstream.requests("tools/call"), -1, f"{name} is called").text
    with workbench.case(f"the arguments of {name}"):
        must_be_equal_json(workbench, json.dumps(name), slice_of(line, "params", "name"))
        must_be_equal_json(workbench, ARGUMENTS, slice_of(line, "params", "arguments"))
    with workbench.case(f"the result of {name}"):
        must_be_equal_json(workbench, result, slice_of(answer.raw, "result"))


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
            must_be_equal_json(workbench, NUMBERS, slice_of(line, "params", "arguments"), number=Decimal)
        with workbench.case("the result"):
            seen = slice_of(answer.raw, "result", "structuredContent")
            must_be_equal_json(workbench, NUMBERS, seen, number=Decimal)


#: every URI of the results of FRONT-177
URIS = ("mock://one", "mock://x", "mock://y", "mock://z")


@check("FRONT-177")
async def results_of_reads_and_prompts_are_relayed_verbatim(workbench: Workbench) -> None:
    """A proxy may show another URI, and may add members to the `_meta` of the result."""
    texts = [{"uri": URIS[0], "mimeType": "text/plain", "text": text} for text in TEXTS.values()]
    blob = {"uri": URIS[0], "mimeType": "image/png", "blob": BYTES}
    messages = [
        {"role": ("user", "assistant")[place % 2], "content": block} for place, block in enumerate(CONTENT)
    ]
    more = {"_meta": META, **_unknown_members(workbench)}
    results: dict[str, Json] = {
        "resources/read": {"contents": [*texts, texts[-1], blob, {**blob, "_meta": META}], **more},
        "prompts/get": {
            "description": TEXTS["lines"],
            "messages": [messages[-1], *messages, messages[-1]],
            **more,
        },
    }
    upstream = workbench.stdio(
        "a",
        Script(
            resources=[{"uri": URIS[0], "name": "one"}],
            prompts=[{"name": "greet"}],
            on=[Rule(method, [reply(result)]) for method, result in results.items()],
        ),
    )
    async with workbench.serving(upstream) as proxy:
        asked = await requests_of_each_kind(proxy, "a")
        if not results.keys() & asked:
            raise NotApplicable("it declares neither resources nor prompts")
        await must_be_callable(workbench, proxy, upstream)
        for method in sorted(results.keys() & asked):
            answer = await proxy.request(method, asked[method], within=10.0)
            with workbench.case(method):
                workbench.expect(not answer.is_error, "a result", answer.raw)
                seen = _without_what_a_proxy_may_do(answer.result)
                must_be_equal_json(workbench, json.dumps(results[method]), json.dumps(seen))


#: what a client adds to its requests for a server that knows it
OWN_META: Json = {"com.example/run": {"id": "r-7", "steps": [1, None, {"x": True}]}, "plain": "text"}


@check("FRONT-181")
async def metadata_of_requests_reach_the_upstream(workbench: Workbench) -> None:
    script = Script(resources=[{"uri": URIS[0], "name": "one"}], prompts=[{"name": "greet"}])
    upstream = workbench.stdio("a", script)
    async with workbench.serving(upstream) as proxy:
        for method, params in (await requests_of_each_kind(proxy, "a")).items():
            with workbench.case(method):
                answer = await proxy.request(method, {**params, "_meta": OWN_META})
                with workbench.precondition("the request works"):
                    workbench.expect(not answer.is_error, "a result", answer.raw)
                sent = upstream.requests(method)[-1].param("_meta") or {}
                kept = {name: sent[name] for name in OWN_META if name in sent}
                workbench.expect(kept == OWN_META, f"`_meta` with {OWN_META}", sent)


def _without_what_a_proxy_may_do(result: Json) -> Json:
    """The result with the URIs of the upstream, and without foreign members of its `_meta`."""
    meta = result.get("_meta")
    if isinstance(meta, dict):
        result = {**result, "_meta": {name: meta[name] for name in meta if name in META}}
    shown: Json = _with_own_uris(result)
    return shown


def _with_own_uris(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_own_uris(one) for one in value]
    if not isinstance(value, dict):
        return value
    members = {name: _with_own_uris(one) for name, one in value.items()}
    seen = members.get("uri")
    own = [uri for uri in URIS if find_exposed([seen], "a", uri) or str(seen).endswith(uri.partition(":")[2])]
    return {**members, "uri": own[0]} if own else members


def _answer_with(result: str) -> Any:
    return raw('{"jsonrpc":"2.0","id":"$id","result":' + result + "}\n")


async def _call_with(
    proxy: Proxy, name: str, arguments: str | None, which: str = "arguments", group: str = "a"
) -> Answer:
    params = json.dumps(proxy.call_params(group, name))
    # The arguments are the last member, and empty so far.
    before, member, after = re.split(r'(, "\w+": )\{\}(?=\}+$)', params)
    params = f"{before}{after}" if arguments is None else f"{before}{member}{arguments}{after}"
    what = f"a call of {name} with {which}"
    line = f'{{"jsonrpc": "2.0", "id": "{what}", "method": "tools/call", "params": {params}}}'
    return await proxy.exchange(line, what, what)


def must_be_equal_json(workbench: Workbench, expected: str, seen: str | None, number: type = float) -> None:
    """Raise `Violation` unless two texts are the same JSON value, with numbers compared as values of the type `number`."""
    workbench.expect(seen is not None, "there is a value", seen)
    difference = first_difference(_value(expected, number), _value(seen or "", number))
    if difference is not None:
        raise Violation(*difference)


def _value(text: str, number: type) -> Any:
    """The JSON value; 1.0 and 1 are equal, 1 and true are not."""

    def read(digits: str) -> Number:
        return Number(digits, number(digits))

    return json.loads(text, parse_int=read, parse_float=read)
