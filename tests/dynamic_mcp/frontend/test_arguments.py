"""Arguments of the two tools as models write them: understood, or refused with a form that works."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from dynamic_mcp.frontend.arguments import read_call
from dynamic_mcp.frontend.right_form import UNKNOWN_GROUP, UNKNOWN_TOOL
from dynamic_mcp.frontend.tool_surface import CALL, GET
from tests.dynamic_mcp.fakes import Client, FakeGroup, server

if TYPE_CHECKING:
    from collections.abc import Collection

    from syrupy.assertion import SnapshotAssertion

    from dynamic_mcp.groups.listing import Kind


def tool(required: list[str] | None = None, *, closed: bool = False, **properties: Any) -> bytes:
    return definition_of(properties, required, closed=closed)


def definition_of(
    properties: dict[str, Any], required: list[str] | None = None, *, closed: bool = False
) -> bytes:
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    if closed:
        schema["additionalProperties"] = False
    return json.dumps({"name": "x", "inputSchema": schema}).encode()


TEXT, NUMBER = {"type": "string"}, {"type": "number"}
TOOLS = {
    "echo": tool(),
    "paint": tool(["width"], closed=True, width=NUMBER, colour={"enum": ["red", "blue"]}),
    "run": tool(["command"], command=TEXT, args={"type": "array"}),
    "ask": tool(["input"], input=TEXT),
    "store": tool(["input"], input={"type": "object"}),
    "free": b'{"name":"free","inputSchema":true}',
    "nested.name": tool(),
}
PAINT = {"group": "files", "name": "paint"}


class Group(FakeGroup):
    """A group that has listed its tools."""

    def last_names(self, kind: Kind) -> Collection[str]:
        return self._tools.keys()


class ToolClient(Client):
    """A client whose group `files` has the tools above, beside a group `web` with one tool."""

    def __init__(self) -> None:
        super().__init__()
        groups = (
            Group(server("files"), self.upstream, TOOLS),
            Group(server("web"), self.upstream, {"fetch": tool(url=TEXT)}),
        )
        self.frontend = self.frontend_over(*groups)


def text_of(answer: dict[str, Any]) -> str:
    (block,) = answer["result"]["content"]
    assert isinstance(block["text"], str)
    return block["text"]


def right_form(text: str) -> dict[str, object]:
    """The first JSON object in a text."""
    value = json.JSONDecoder().raw_decode(text, text.index("{"))[0]
    assert isinstance(value, dict)
    return value


#: what a model wrote, and the tool and the arguments that it means
UNDERSTOOD: dict[str, tuple[Any, str, dict[str, object]]] = {
    "no args": ({"group": "files", "name": "echo"}, "echo", {}),
    "null": ({"group": "files", "name": "echo", "args": None}, "echo", {}),
    "empty text": ({"group": "files", "name": "echo", "args": ""}, "echo", {}),
    "empty list": ({"group": "files", "name": "echo", "args": []}, "echo", {}),
    "a string": ({**PAINT, "args": ' {\n"width": 1} '}, "paint", {"width": 1}),
    "a string in a string": ({**PAINT, "args": json.dumps('{"width": 1}')}, "paint", {"width": 1}),
    "a list of one object": ({**PAINT, "args": [{"width": 1}]}, "paint", {"width": 1}),
    "arguments": ({"group": "files", "name": "echo", "arguments": {"x": 1}}, "echo", {"x": 1}),
    "params in a string": ({"group": "files", "name": "echo", "params": '{"x": 1}'}, "echo", {"x": 1}),
    "tool_input": ({"group": "files", "name": "echo", "tool_input": {"x": 1}}, "echo", {"x": 1}),
    "Args": ({"group": "files", "name": "echo", "Args": {"x": 1}}, "echo", {"x": 1}),
    "beside empty args": (
        {"group": "files", "name": "echo", "args": {}, "input": {"x": 1}},
        "echo",
        {"x": 1},
    ),
    "one level too high": ({**PAINT, "width": 1, "colour": None}, "paint", {"width": 1, "colour": None}),
    "half of them too high": (
        {**PAINT, "args": {"width": 1}, "colour": "red"},
        "paint",
        {"width": 1, "colour": "red"},
    ),
    "one level too low": ({**PAINT, "args": {"arguments": {"width": 1}}}, "paint", {"width": 1}),
    "the call once more in args": (
        {**PAINT, "args": {**PAINT, "args": {"width": 1}}},
        "paint",
        {"width": 1},
    ),
    "another call in args": (
        {"group": "files", "name": "echo", "args": {**PAINT, "args": {"width": 1}}},
        "echo",
        {**PAINT, "args": {"width": 1}},
    ),
    "nested without a schema": (
        {"group": "files", "name": "echo", "args": {"args": {"x": 1}}},
        "echo",
        {"args": {"x": 1}},
    ),
    "twice under two names": (
        {"group": "files", "name": "echo", "args": {"x": 1}, "arguments": {"x": 1}},
        "echo",
        {"x": 1},
    ),
    "a name that nobody knows": ({**PAINT, "payload": {"width": 1}}, "paint", {"width": 1}),
    "null in a string": ({"group": "files", "name": "echo", "args": "null"}, "echo", {}),
    "twice": ({**PAINT, "args": {"width": 1}, "width": 1}, "paint", {"width": 1}),
    "an argument named input": ({"group": "files", "name": "ask", "input": "why"}, "ask", {"input": "why"}),
    "an argument named input in input": (
        {"group": "files", "name": "ask", "input": {"input": "why"}},
        "ask",
        {"input": "why"},
    ),
    "an object named input": (
        {"group": "files", "name": "store", "input": {"x": 1}},
        "store",
        {"input": {"x": 1}},
    ),
    "an argument named args": (
        {"group": "files", "name": "run", "command": "ls", "args": ["-l"]},
        "run",
        {"command": "ls", "args": ["-l"]},
    ),
    "members of the client": ({**PAINT, "args": {"width": 1}, "_trace": "t"}, "paint", {"width": 1}),
    "other names": ({"server": "files", "tool_name": "paint", "args": {"width": 1}}, "paint", {"width": 1}),
    "capitals": ({"Group": "files", "Name": "paint", "Args": {"width": 1}}, "paint", {"width": 1}),
    "joined with a dot": ({"name": "files.paint", "args": {"width": 1}}, "paint", {"width": 1}),
    "joined with a slash": ({"name": "files/paint", "args": {"width": 1}}, "paint", {"width": 1}),
    "joined with underscores": ({"group": "files__paint", "args": {"width": 1}}, "paint", {"width": 1}),
    "joined beside the group": (
        {"group": "files", "name": "files.paint", "args": {"width": 1}},
        "paint",
        {"width": 1},
    ),
    "a name with a dot": ({"group": "files", "name": "nested.name"}, "nested.name", {}),
    "the call in a string": (json.dumps({**PAINT, "args": {"width": 1}}), "paint", {"width": 1}),
    "the call in arguments": ({"arguments": {**PAINT, "args": {"width": 1}}}, "paint", {"width": 1}),
    "a call of MCP": ({"name": CALL, "arguments": {**PAINT, "args": {"width": 1}}}, "paint", {"width": 1}),
    "the call in a string in args": (
        {"args": json.dumps({**PAINT, "args": {"width": 1}})},
        "paint",
        {"width": 1},
    ),
}


@pytest.mark.parametrize("what", UNDERSTOOD)
async def test_unmistakable_call_is_made(what: str) -> None:
    arguments, name, args = UNDERSTOOD[what]
    client = ToolClient()
    answer = await client.tool(CALL, arguments)
    assert "isError" not in answer["result"], text_of(answer)
    assert client.upstream.last_params == {"name": name, "arguments": args}


#: what a model wrote that has no clear meaning
REFUSED: dict[str, tuple[str, Any]] = {
    "get: nothing": (GET, {}),
    "get: null": (GET, None),
    "get: a text": (GET, "files"),
    "get: a group that is a number": (GET, {"group": 5}),
    "get: an empty group": (GET, {"group": ""}),
    "get: a name that is a number": (GET, {"group": "web", "name": 5}),
    "get: an unknown member": (GET, {"group": "web", "name": "fetch", "limit": 10}),
    "call: nothing": (CALL, {}),
    "call: a list": (CALL, [{"group": "files"}]),
    "call: no group": (CALL, {"name": "fetch", "args": {"url": "x"}}),
    "call: no group, unknown tool": (CALL, {"name": "unknown", "args": {}}),
    "call: no name": (CALL, {"group": "web", "args": {"url": "x"}}),
    "call: a name that is a list": (CALL, {"group": "web", "name": ["fetch"], "args": {"url": "x"}}),
    "call: args are a list": (CALL, {**PAINT, "args": [1]}),
    "call: args are a list in a string": (CALL, {**PAINT, "args": "[1]"}),
    "call: args are no JSON": (CALL, {**PAINT, "args": "width=1"}),
    "call: args are a number": (CALL, {"group": "files", "name": "free", "args": 5}),
    "call: unknown beside args": (CALL, {**PAINT, "args": {"width": 1}, "size": 5}),
    "call: one level too high, without a schema": (CALL, {"group": "files", "name": "echo", "path": "/x"}),
    "call: two other names of args": (
        CALL,
        {"group": "files", "name": "echo", "input": {"x": 1}, "params": {"y": 2}},
    ),
    "call: other arguments beside args": (
        CALL,
        {"group": "files", "name": "echo", "args": {"x": 1}, "input": {"y": 2}},
    ),
    "call: other capitals": (CALL, {**PAINT, "Width": 1}),
    "call: a misspelt argument": (CALL, {**PAINT, "colr": "red"}),
    "call: an unknown object": (CALL, {"group": "files", "name": "echo", "payload": {"x": 1}}),
    "call: an object for a text": (CALL, {"group": "files", "name": "ask", "input": {"question": "why"}}),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_mistake_is_answered_with_a_form_that_works(what: str, snapshot: SnapshotAssertion) -> None:
    which, arguments = REFUSED[what]
    client = ToolClient()
    answer = await client.tool(which, arguments)
    assert answer["result"]["isError"] is True
    assert client.upstream.requests == []
    text = text_of(answer)
    assert text == snapshot
    again = await client.tool(which, right_form(text))
    if "unknown tool" not in what and UNKNOWN_TOOL not in text:
        assert "isError" not in again["result"], text_of(again)


READ = {"group": "staging", "name": "read", "args": {"id": "7"}}
#: a call in whose place the model wrote something else, and the right form
MISPLACED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "the name in args": ({"group": "staging", "args": {"name": "read", "id": "7"}}, READ),
    "the name in args under another name": (
        {"group": "staging", "args": {"tool_name": "read", "id": "7"}},
        READ,
    ),
    "the name in a list": ({"group": "staging", "id": "7", "tool": ["read"]}, READ),
    "the name in an object": ({"group": "staging", "tool": {"name": "read", "arguments": {"id": "7"}}}, READ),
    "the group in args": ({"name": "read", "args": {"group": "staging", "id": "7"}}, READ),
    "the group in a list": ({"group": ["staging"], "name": "read", "args": {"id": "7"}}, READ),
    "the group in an object": ({"group": {"name": "staging"}, "name": "read", "args": {"id": "7"}}, READ),
    "both in objects": ({"group": {"name": "staging"}, "tool": {"name": "read", "id": "7"}}, READ),
    "an unknown name in args": (
        {"group": "staging", "args": {"name": "Ann"}},
        {"group": "staging", "name": UNKNOWN_TOOL, "args": {"name": "Ann"}},
    ),
    "an unknown name in an object": (
        {"group": "staging", "tool": {"name": "reader", "arguments": {"id": "7"}}},
        {**READ, "name": "reader"},
    ),
    "a tool of both groups": (
        {"name": "read", "args": {"id": "7", "name": "read"}},
        {"group": UNKNOWN_GROUP, "name": "read", "args": {"id": "7", "name": "read"}},
    ),
    "a tool of one group": (
        {"name": "ask", "args": {"x": 1}},
        {"group": "prod", "name": "ask", "args": {"x": 1}},
    ),
    "a list of calls": (
        {"calls": [READ]},
        {"group": UNKNOWN_GROUP, "name": UNKNOWN_TOOL, "args": {"calls": [READ]}},
    ),
    "nothing": ({}, {"group": UNKNOWN_GROUP, "name": UNKNOWN_TOOL, "args": {}}),
}


@pytest.mark.parametrize("what", MISPLACED)
async def test_form_names_only_what_the_model_named(what: str) -> None:
    written, form = MISPLACED[what]
    client = Client()
    tools = {"delete": tool(["id"], id=TEXT), "read": tool(["id"], id=TEXT)}
    prod = Group(server("prod"), client.upstream, {**tools, "ask": tool()})
    client.frontend = client.frontend_over(prod, Group(server("staging"), client.upstream, tools))
    answer = await client.tool(CALL, written)
    assert answer["result"]["isError"] is True
    assert client.upstream.requests == []
    assert right_form(text_of(answer).partition("Right form: ")[2]) == form


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({"name": None, "search": None}, [*TOOLS]),
        ({"name": "", "search": ""}, [*TOOLS]),
        ({"name": [], "search": " "}, [*TOOLS]),
        ({"args": {}, "name": "echo"}, ["echo"]),
        ({"name": "files.echo"}, ["echo"]),
        ({"name": ["ask", "echo"]}, ["echo", "ask"]),
        ({"name": "ask, echo"}, ["echo", "ask"]),
        ({"name": '["ask", "echo"]'}, ["echo", "ask"]),
        ({"names": ["ask"]}, ["ask"]),
        ({"tool_name": "ask"}, ["ask"]),
        ({"query": "colour"}, ["paint"]),
        ({"search": ["colour", "width"]}, ["paint"]),
    ],
)
async def test_optional_arguments_of_a_listing(arguments: dict[str, object], names: list[str]) -> None:
    client = ToolClient()
    answer = await client.tool(GET, {"group": "files", **arguments})
    definitions = [TOOLS[name].decode() for name in names]
    assert all(definition in text_of(answer) for definition in definitions)
    assert len(text_of(answer)) < sum(map(len, definitions)) + 100


async def test_listing_of_a_joined_name() -> None:
    assert text_of(await ToolClient().tool(GET, {"name": "web.fetch"})) == text_of(
        await ToolClient().tool(GET, {"group": "web"})
    )


@pytest.mark.parametrize(
    ("members", "logged"),
    [
        ({"args": {"x": 1}}, {"x": 1}),
        ({"input": {"x": 1}}, {"x": 1}),
        ({"args": {"x": 1}, "y": 2}, {"x": 1, "y": 2}),
        ({"args": [1], "y": 2}, {"args": [1], "y": 2}),
    ],
)
async def test_log_has_the_arguments_wherever_they_are(members: dict[str, object], logged: object) -> None:
    call = json.dumps({"group": "files", "name": "echo", **members}).encode()
    groups = {"files": Group(server("files"), None, TOOLS)}
    assert json.loads(bytes(read_call(Raw(call), groups).given)) == logged


async def test_unknown_members_are_named_beside_an_unknown_tool() -> None:
    answer = await Client().tool(CALL, {"group": "files", "tool": "echo", "name": "x"})
    assert text_of(answer).endswith("Tools: echo. A call takes group, name and args; unknown: 'tool'.")


async def test_broken_group_is_named_before_its_arguments() -> None:
    client = Client()
    answer = await client.tool(CALL, {"group": "broken", "name": "x", "args": [1]})
    assert text_of(answer).startswith("Group 'broken' is not available")


_names = st.sampled_from(["a", "b", "input", "arguments", "args", "name2"])
_values = st.sampled_from([0, "", None, "text", {}, {"a": 1}, {"input": {"a": 1}}, [1], '{"a": 1}'])
_given = st.dictionaries(_names, _values, max_size=3)


@given(args=st.none() | _given, beside=_given, properties=st.sets(_names), closed=st.booleans())
async def test_no_call_has_less_than_the_model_gave(
    args: dict[str, object] | None, beside: dict[str, object], properties: set[str], closed: bool
) -> None:
    client = Client()
    definition = definition_of({name: {} for name in properties}, closed=closed)
    client.frontend = client.frontend_over(FakeGroup(server("files"), client.upstream, {"echo": definition}))
    beside = {name: value for name, value in beside.items() if name != "args"}
    written = {"group": "files", "name": "echo", "args": args, **beside}
    answer = await client.tool(CALL, written)
    if "isError" in answer["result"]:
        assert client.upstream.requests == []
    else:
        made = json.dumps(client.upstream.last_params["arguments"])
        for value in [*(args or {}).values(), *beside.values()]:
            inner = value if isinstance(value, str) and value[:1] == "{" else json.dumps(value)
            assert value in (None, "", {}) or inner in made or json.dumps(value) in made
