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
