"""HARD: calls that the proxy does not make: beyond a limit, or with arguments that do not fit the tool's
schema.

The upstream's journal has the calls that the proxy makes. For the others the proxy returns a result with
`isError`, so that the model can react.
"""

from __future__ import annotations

import json
import re
from functools import partial
from typing import TYPE_CHECKING, Any

from conformance.checks import check
from conformance.checks.common import must_be_echoed, until
from mock_servers.script import Script, any_arguments, on_call, sleep, tool

if TYPE_CHECKING:
    from conformance.workbench.inbox import Answer
    from conformance.workbench.mocks import StdioMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

CALLS, PER = 5, 2.0
AT_ONCE = 2
#: a time as people write it
_TIME = re.compile(r"\d\s?(?:ms|s\b|sec)|\d\d:\d\d")


@check("HARD-004", timeout=40, slow=True)
async def calls_per_server_can_be_limited(workbench: Workbench) -> None:
    configured = workbench.sut.profile.configured
    rate = configured(rate_limit={"calls": CALLS, "per": "2s"})
    few = configured(max_concurrent_calls=AT_ONCE)
    slow = Script(on=[on_call("echo", sleep(0.5))])
    often, beside = workbench.stdio("often", **rate), workbench.stdio("beside", **rate)
    crowded, empty = workbench.stdio("crowded", slow, **few), workbench.stdio("empty", **few)
    async with workbench.serving(often, beside, crowded, empty) as proxy:
        await workbench.run_cases(
            partial(_must_keep_the_rate, workbench, proxy, often, beside),
            partial(_must_keep_the_places, workbench, proxy, crowded, empty),
        )


async def _must_keep_the_rate(
    workbench: Workbench, proxy: Proxy, often: StdioMockUpstream, beside: StdioMockUpstream
) -> None:
    answers = await _calls(workbench, proxy, often, 8)
    for answer in answers:
        if answer.is_error:
            _must_name_the_limit(workbench, answer, CALLS)
            workbench.expect(_TIME.search(answer.text), "the time to try again", answer.raw)
    arrived = often.requests("tools/call")
    # On a busy machine the calls can take longer than the period.
    what = f"{CALLS} of 8 calls reach the upstream"
    workbench.expect(len(arrived) == CALLS, what, len(arrived), timed=True)
    refused = sum(answer.is_error for answer in answers)
    workbench.expect(refused == 8 - CALLS, f"{8 - CALLS} of 8 calls get an error", refused, timed=True)
    with workbench.case("another server"):
        await must_be_echoed(workbench, proxy, beside.name, {"x": 1})
    await until(workbench, max(call.t for call in arrived) + PER + 0.2)
    with workbench.case(f"{PER:g} s later"):
        await must_be_echoed(workbench, proxy, often.name, {"x": 1})


async def _must_keep_the_places(
    workbench: Workbench, proxy: Proxy, crowded: StdioMockUpstream, empty: StdioMockUpstream
) -> None:
    answers: list[Answer] = []

    async def crowd() -> None:
        answers.extend(await _calls(workbench, proxy, crowded, 6))

    async def beside() -> None:
        await workbench.eventually(
            lambda: crowded.requests("tools/call"), within=5.0, what="a call reaches the upstream"
        )
        with workbench.case("another server, meanwhile"):
            await must_be_echoed(workbench, proxy, empty.name, {"x": 1})
            done = [entry for entry in crowded.events("sent") if '"content"' in entry.text]
            workbench.expect(len(done) < 6, "an answer before all of the crowd have theirs", done, timed=True)

    await workbench.run_cases(crowd, beside)
    for answer in answers:
        if answer.is_error:
            _must_name_the_limit(workbench, answer, AT_ONCE)
    served = sum(not answer.is_error for answer in answers)
    workbench.expect(
        served >= AT_ONCE, f"at least {AT_ONCE} calls succeed", [answer.raw for answer in answers]
    )
    most = _most_in_flight(crowded)
    workbench.expect(most <= AT_ONCE, f"never more than {AT_ONCE} calls in flight", most)


def _must_name_the_limit(workbench: Workbench, answer: Answer, limit: int) -> None:
    workbench.expect("error" not in answer.message, "an error in the result", answer.raw)
    workbench.expect(
        re.search(rf"\b{limit}\b", answer.text), f"an error that names the limit, {limit}", answer.raw
    )


def _most_in_flight(upstream: StdioMockUpstream) -> int:
    """The largest number of calls that the upstream had at once."""
    ids = {call.id for call in upstream.requests("tools/call")}
    most, open_ = 0, set()
    for entry in upstream.entries:
        message = entry.message or {}
        if entry.event == "line" and message.get("method") == "tools/call":
            open_.add(message["id"])
        elif entry.event == "sent" and message.get("id") in ids and "method" not in message:
            open_.discard(message["id"])
        most = max(most, len(open_))
    return most


async def _calls(workbench: Workbench, proxy: Proxy, upstream: StdioMockUpstream, count: int) -> list[Answer]:
    """Make so many calls at once. Returns their answers."""
    answers: list[Answer] = []

    async def one(number: int) -> None:
        answers.append(await proxy.call(upstream.name, "echo", {"number": number}))

    await workbench.run_cases(*(partial(one, number) for number in range(count)))
    return answers


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
    """A remote `$ref`, or a schema that takes for ever to check, stops no call either."""
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
    async with workbench.serving(upstream) as proxy:
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
    elsewhere.saw_nothing()


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
