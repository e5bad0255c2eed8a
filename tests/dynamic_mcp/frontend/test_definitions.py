"""The answer of `get_dynamic_tools`: its members, what it shows of a large group, and its bounds."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from dynamic_mcp.config.model import ToolRules
from dynamic_mcp.frontend.definitions import MAX_INSTRUCTIONS
from dynamic_mcp.frontend.tool_surface import GET
from tests.dynamic_mcp.fakes import Client, FakeGroup, FakeUpstream, server
from tests.dynamic_mcp.frontend.test_tools import text_of

LIMIT = 1_000


def client_with(tools: dict[str, bytes], instructions: bytes = b"", limit: int = LIMIT) -> Client:
    """A client of a group `files` with these definitions, a small limit, and an upstream with these instructions (JSON)."""
    client = Client()
    client.upstream.agreed.instructions = Raw(instructions)
    limited = msgspec.structs.replace(server("files"), max_listing_size=limit)
    client.groups[0] = FakeGroup(limited, client.upstream, tools)
    client.frontend = client.frontend_over(*client.groups)
    return client


def tool(name: str, description: Any = "Does something", schema: str = "") -> bytes:
    return json.dumps({"name": name, "description": description, "inputSchema": {"x": schema}}).encode()


async def listed(client: Client, **arguments: Any) -> dict[str, Any]:
    answer = await client.tool(GET, {"group": "files", **arguments})
    assert not answer["result"].get("isError"), answer
    value = json.loads(text_of(answer))
    assert isinstance(value, dict)
    return value


async def test_definitions_of_a_group_are_unchanged() -> None:
    definitions = {"a": b'{"name":"a", "x":1.0}', "b": b'{"big":12345678901234567890123,"name":"b"}'}
    answer = await client_with(definitions).tool(GET, {"group": "files"})
    assert text_of(answer).encode() == b'{"group":"files","tools":[%b]}' % b",".join(definitions.values())


async def test_instructions_come_before_all_tools_and_after_chosen_ones() -> None:
    client = client_with({"a": tool("a")}, b'"Call \\u00e9 first"')
    everything = await listed(client)
    assert list(everything) == ["group", "instructions", "tools"]
    assert everything["instructions"] == "Call \u00e9 first"
    assert list(await listed(client, name="a")) == ["group", "tools", "instructions"]
    assert list(await listed(client, search="something")) == ["group", "tools", "instructions"]


@pytest.mark.parametrize("nothing", [b"", b"null", b'""', b'" \\n "', b"5", b'{"a":1}'])
async def test_without_instructions_there_is_no_member(nothing: bytes) -> None:
    assert list(await listed(client_with({"a": tool("a")}, nothing))) == ["group", "tools"]


async def test_an_empty_listing_says_why() -> None:
    client = client_with({})
    assert (await listed(client))["note"] == "The server lists no tools."
    client.groups[0].server = msgspec.structs.replace(client.groups[0].server, tools=ToolRules(allow=()))
    assert "that the configuration allows (tools)" in (await listed(client))["note"]


async def test_a_server_that_declares_no_tools_is_not_one_that_lists_none() -> None:
    client = client_with({})
    upstream = client.groups[0].upstream
    assert isinstance(upstream, FakeUpstream)
    del upstream.agreed.capabilities["tools"]
    assert (await listed(client))["note"] == (
        "The server declares no tools, so the proxy does not ask for a list of them."
    )


async def test_names_that_are_off_are_told_apart_from_unknown_ones() -> None:
    client = client_with({"a": tool("a")})
    client.groups[0].define(msgspec.structs.replace(client.groups[0].server, tools=ToolRules(deny=("b",))))
    note = (await listed(client, name="a,b,c"))["note"]
    assert note == ("The configuration switches off 'b' (tools.deny). The group has no tool of this name: c.")


async def test_instructions_that_are_no_text_are_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    client = client_with({"a": tool("a")}, b"[1]")
    await listed(client)
    await listed(client)
    messages = [record.getMessage() for record in caplog.records]
    assert messages == ["group files: the server gave instructions that are not a text"]


async def test_long_instructions_are_cut() -> None:
    shown = (await listed(client_with({"a": tool("a")}, json.dumps("\u00e9" * 5_000).encode())))[
        "instructions"
    ]
    beginning, _, rest = shown.partition("...")
    assert beginning == "\u00e9" * (MAX_INSTRUCTIONS // 2)
    assert rest == " (cut here; the server wrote 5,000 characters)"


async def test_a_lone_surrogate_costs_one_letter() -> None:
    client = client_with({"a": tool("a")}, b'"half \\ud83d here"')
    assert (await listed(client))["instructions"] == "half \ufffd here"


async def test_a_large_group_is_answered_with_names_and_lines() -> None:
    tools = {f"tool{n}": tool(f"tool{n}", f"Makes  {n}\nin two lines", "x" * 200) for n in range(10)}
    client = client_with(tools)
    answer = await listed(client)
    assert list(answer) == ["group", "note", "tools"]
    assert (
        "Tools of this group: 10." in answer["note"]
        and '"name"' in answer["note"]
        and "Not shown" not in answer["note"]
    )
    assert answer["tools"][3] == {"name": "tool3", "description": "Makes 3 in two lines"}
    assert len(answer["tools"]) == 10
    assert (await listed(client, name="tool3"))["tools"] == [json.loads(tools["tool3"])]


@pytest.mark.parametrize(
    ("number", "width"),
    [(8, 120), (11, 60), (16, 30), (40, None)],
)
async def test_lines_get_shorter_until_all_names_fit(number: int, width: int | None) -> None:
    tools = {f"t{n:03}": tool(f"t{n:03}", "a b" * 200) for n in range(number)}
    lines = (await listed(client_with(tools, limit=1_500)))["tools"]
    assert len(lines) == number
    assert all(len(line.get("description", "")) == (width + 3 if width else 0) for line in lines)


async def test_the_names_are_bounded_too() -> None:
    tools = {f"tool{n}": tool(f"tool{n}") for n in range(1_000)}
    answer = await listed(client_with(tools))
    shown = len(answer["tools"])
    assert 20 < shown < 60
    assert "Tools of this group: 1,000." in answer["note"]
    assert f"Not shown: {1_000 - shown}; find them with search." in answer["note"]


async def test_long_instructions_leave_room_for_names() -> None:
    tools = {f"tool{n}": tool(f"tool{n}") for n in range(100)}
    answer = await listed(client_with(tools, json.dumps("x" * 9_999).encode(), limit=3_000))
    assert len(answer["tools"]) > 20


async def test_a_search_that_finds_too_much_shows_the_best_lines() -> None:
    tools = {f"t{n}": tool(f"t{n}", "Handles files", "x" * 100) for n in range(100)}
    tools["file_finder"] = tool("file_finder", "Finds files")
    answer = await listed(client_with(tools), search="files")
    assert answer["tools"][0] == {"name": "file_finder", "description": "Finds files"}
    assert "Tools that match: 101." in answer["note"] and "Not shown: " in answer["note"]


async def test_a_search_that_finds_nothing_says_how_to_go_on() -> None:
    answer = await listed(client_with({"a": tool("a")}), search="zebra")
    assert answer == {
        "group": "files",
        "note": "No tool matches 'zebra'. Without search, you get all tools.",
        "tools": [],
    }


@pytest.mark.parametrize("name", [["c", "a"], "c, a", '["c", "a"]', ["c", " a ", "c", ""]])
async def test_several_tools_at_once(name: object) -> None:
    client = client_with({name: tool(name) for name in ("a", "b", "c")}, limit=1)
    assert [found["name"] for found in (await listed(client, name=name))["tools"]] == ["c", "a"]


@pytest.mark.parametrize("nothing", ["", None, [], [""], " "])
async def test_an_empty_name_and_search_select_nothing(nothing: object) -> None:
    client = client_with({name: tool(name) for name in ("a", "b")})
    search = nothing if not isinstance(nothing, list) else None
    assert len((await listed(client, name=nothing, search=search))["tools"]) == 2


async def test_a_name_with_a_comma() -> None:
    client = client_with({name: tool(name) for name in ("a", "b", "a,b")})
    assert [found["name"] for found in (await listed(client, name="a,b"))["tools"]] == ["a,b"]


async def test_unknown_names_are_told() -> None:
    client = client_with({"a": tool("a")})
    answer = await listed(client, name="a,x")
    assert (len(answer["tools"]), answer["note"]) == (1, "The group has no tool of this name: x.")
    refused = await client.tool(GET, {"group": "files", "name": ["x", "y"]})
    assert refused["result"]["isError"] and "has no tool 'x, y'" in text_of(refused)


@pytest.mark.parametrize("description", [None, 5, "", {"a": 1}])
async def test_a_definition_without_a_description(description: object) -> None:
    client = client_with({"a": tool("a", description, "x" * 2_000)})
    assert (await listed(client))["tools"] == [{"name": "a"}]
