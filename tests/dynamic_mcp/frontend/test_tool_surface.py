"""The definitions of the two tools, in the form that clients and their converters of schemas keep."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from dynamic_mcp.frontend import tool_surface
from dynamic_mcp.frontend.tool_surface import CALL, GET

if TYPE_CHECKING:
    from syrupy.assertion import SnapshotAssertion

#: The keywords that each of the converters below passes on. Tried in November 2026 with openai 3.57, google-genai 3.6, langchain-core 1.8,
#: pydantic-ai 2.68, json-schema-to-zod, zod-from-json-schema 0.0.5 and 0.5 (Mastra 0.14), and @mastra/schema-compat 0.11.
#: The MCP sessions of google-genai 3.6 refuse any boolean `additionalProperties`, also false (googleapis/python-genai issue 2476).
#: An empty `additionalProperties` is false in Python, and earlier versions of openai-agents then sent an invalid strict schema.
KEPT = {"type", "description", "enum", "properties", "required", "additionalProperties"}


def tools_for(*groups: str) -> dict[str, dict[str, Any]]:
    definitions = json.loads(tool_surface.tools({group: f"Does {group}" for group in groups}))
    return {definition["name"]: definition for definition in definitions}


def schemas_in(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield schema
    for inner in schema.get("properties", {}).values():
        yield from schemas_in(inner)


@pytest.mark.parametrize("groups", [(), ("files",), ("files", "web search")])
def test_schemas_have_only_what_every_converter_keeps(groups: tuple[str, ...]) -> None:
    for definition in tools_for(*groups).values():
        for schema in schemas_in(definition["inputSchema"]):
            assert schema.keys() <= KEPT
            assert schema["type"] in ("string", "object")
            assert schema["type"] == "string" or "properties" in schema
            assert schema.get("enum", ["a"])


def test_args_are_an_open_object() -> None:
    args = tools_for("files")[CALL]["inputSchema"]["properties"]["args"]
    assert (args["type"], args["properties"]) == ("object", {})
    # The schema allows any value, and is neither a boolean nor empty.
    assert list(args["additionalProperties"]) == ["description"]


@pytest.mark.parametrize("tool", [GET, CALL])
def test_description_begins_with_the_groups(tool: str) -> None:
    assert "files, web search" in tools_for("files", "web search")[tool]["description"][:160]
    many = [f"group{number}" for number in range(500)]
    assert f"and {500 - 12} more" in tools_for(*many)[tool]["description"][:160]


def test_example_names_a_group_of_the_configuration() -> None:
    assert '{"group":"files","name":' in tools_for("files", "web search")[CALL]["description"]


@pytest.mark.parametrize("groups", [(), ("files",), ("files", "web search"), ("g" * 1500, "web")])
def test_introduction(groups: tuple[str, ...], snapshot: SnapshotAssertion) -> None:
    introduction = json.loads(tool_surface.introduction("2025-11-25", {}, groups))
    assert introduction["serverInfo"]["title"] == "Dynamic MCP"
    assert introduction["instructions"] == snapshot


def listed_in(described: dict[str, str]) -> tuple[str, list[str]]:
    """The description of ``get_dynamic_tools``, and its lines about the groups."""
    get, _ = json.loads(tool_surface.tools(described))
    return get["description"], get["description"].partition("Available groups:\n")[2].split("\n")


def test_descriptions_that_fit_are_whole() -> None:
    described = {f"group{number}": f"Does {number} " + "well " * 20 for number in range(9)}

    _, lines = listed_in(described)

    assert lines == [f"- {name}: {description}" for name, description in described.items()]
    assert tool_surface.shortened(described) is None


def test_long_descriptions_are_shortened_evenly() -> None:
    described = {f"group{number:02}": "word " * 60 for number in range(20)} | {"short": "Short and whole"}

    description, lines = listed_in(described)

    # Some clients cut a description after 2,048 characters.
    assert 1900 < len(description) <= 2000
    assert lines[-1] == "- short: Short and whole"
    assert all(line.startswith(f"- group{number:02}: word ") for number, line in enumerate(lines[:-1]))
    assert {line[-2:] for line in lines[:-1]} == {"d…"}
    assert len({len(line) for line in lines[:-1]}) == 1
    assert tool_surface.shortened(described) in range(len("word " * 10), len("word " * 20))


def test_one_long_description_leaves_the_others_whole() -> None:
    described = {"long": "x" * 50_000, **{f"group{number}": "Does a thing" for number in range(10)}}

    description, lines = listed_in(described)

    assert 1900 < len(description) <= 2000
    assert lines[1:] == [f"- group{number}: Does a thing" for number in range(10)]


def test_names_are_whole_where_nothing_else_fits() -> None:
    described = {f"group-{number:03}": "word " * 60 for number in range(200)}

    _, lines = listed_in(described)

    assert lines == [f"- {name}" for name in described]
    assert tool_surface.shortened(described) == 0
