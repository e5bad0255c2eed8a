"""What counts as a listing of tools, as an offer of groups, and as the name of an entry."""

from __future__ import annotations

import json
from typing import Any

import pytest

from conformance.errors import NotApplicable
from conformance.workbench.exposed import exposed_among, find_exposed
from conformance.workbench.inbox import Answer
from conformance.workbench.listing_forms import BY_NAME, definitions, listing_text, offered_groups, selecting

ECHO: dict[str, Any] = {"name": "echo", "inputSchema": {"type": "object"}}
ADD: dict[str, Any] = {"name": "add", "inputSchema": {"properties": {"name": {"type": "string"}}}}
TEXT = json.dumps([ECHO, ADD])


def answer(*texts: str, **members: Any) -> Answer:
    content = [{"type": "text", "text": text} for text in texts]
    message = {"jsonrpc": "2.0", "id": 1, "result": {"content": content, **members}}
    return Answer(message, json.dumps(message), 0.0)


@pytest.mark.parametrize(
    "listing",
    [
        answer(TEXT),
        answer(json.dumps(ECHO), json.dumps(ADD)),
        answer(f"Two tools:\n\n```json\n{TEXT}\n```\nCall one."),
        answer("```\n" + json.dumps(ECHO, indent=2) + "\n```\n\n```\n" + json.dumps(ADD) + "\n```"),
        answer("2 tools", structuredContent={"tools": [ECHO, ADD]}),
        answer(TEXT, structuredContent={"tools": [ECHO, ADD]}),
        answer(json.dumps({"group": "a", "tools": {"echo": ECHO, "add": ADD}})),
        answer(json.dumps({"group": "a", "instructions": "Call echo", "tools": [ECHO, ADD]})),
    ],
)
def test_definitions_are_found_once_in_each_form(listing: Answer) -> None:
    assert definitions(listing, "echo") == [ECHO]
    assert definitions(listing, "add") == [ADD]
    assert definitions(listing, "other") == []
    assert '"echo"' in listing_text(listing)


def test_a_text_without_definitions_has_none() -> None:
    assert definitions(answer("echo, add"), "echo") == []
    assert definitions(answer("```\nnot JSON\n```"), "echo") == []


def nested(value: Any, levels: int) -> Any:
    for _ in range(levels):
        value = [value]
    return value


def test_a_listing_can_be_nested_deeply() -> None:
    assert definitions(answer("2 tools", structuredContent=nested([ECHO, ADD], 900)), "echo") == [ECHO]
    assert definitions(answer("[" * 100_000 + "]" * 100_000), "echo") == []


def test_names_without_schemas_are_no_definitions() -> None:
    names = json.dumps({"note": "names", "tools": [{"name": "echo", "description": "Echoes"}]})
    assert definitions(answer(names), "echo") == []


@pytest.mark.parametrize(
    ("properties", "selection"),
    [
        ({"group": {}, "name": {"type": "string"}}, {"name": "echo"}),
        ({"tools": {"type": "array"}}, {"tools": ["echo"]}),
        ({"group": {}}, {}),
        (None, {}),
    ],
)
def test_an_argument_selects_a_definition(properties: object, selection: object) -> None:
    assert selecting({"inputSchema": {"properties": properties}}, BY_NAME, "echo") == selection


def test_groups_come_from_the_enum_or_from_their_descriptions() -> None:
    enum = {"inputSchema": {"properties": {"group": {"enum": ["b", "a", 1]}}}}
    assert offered_groups(enum, ["c"]) == ["b", "a"]
    described = {"description": "A group is one of:\n- b: The b upstream\n- a: The a upstream"}
    assert offered_groups(described, ["a", "b", "c"]) == ["b", "a"]
    assert offered_groups({}, ["a"]) == []


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["greet", "first/greet"], "greet"),
        (["second__greet", "first__greet"], "first__greet"),
        (["greet-and-more", "first.greet"], "first.greet"),
        (["proxy://first/mock%3A%2F%2Fone"], None),
        (["other", None], None),
    ],
)
def test_an_exposed_name_contains_the_own_name(names: list[Any], found: str | None) -> None:
    assert find_exposed(names, "first", "greet") == found


def test_an_exposed_uri_may_be_encoded() -> None:
    assert find_exposed(["p://first/mock%3A%2F%2Fone"], "first", "mock://one") == "p://first/mock%3A%2F%2Fone"


class _Scripted:
    """A proxy, as far as `exposed_among` needs it."""

    def scripted(self, member: str) -> list[dict[str, Any]]:
        return [{"uri": "mock://one", "name": "first"}, {"uri": "x://one", "name": "other"}]


def _exposed(own: str, *items: dict[str, Any]) -> str | None:
    proxy: Any = _Scripted()
    return exposed_among(proxy, "resources/list", items, "alpha", own)


def test_a_uri_with_another_scheme_is_known_by_its_rest_and_by_the_name() -> None:
    one = {"uri": "gw+mock.b0ad6bc1://one", "name": "first"}
    other = {"uri": "gw+x.b0ad6bc1://one", "name": "other"}
    assert _exposed("mock://one", one, other) == one["uri"]
    assert _exposed("mock://one", {"uri": "gw:5f1", "name": "[alpha] first"}, other) == "gw:5f1"
    assert _exposed("mock://new", {"uri": "gw+mock.1://new"}, one) == "gw+mock.1://new"


def test_a_uri_of_another_resource_stands_for_that_one() -> None:
    assert _exposed("mock://one", {"uri": "x://one", "name": "first"}) is None


def test_uris_that_nothing_tells_apart_are_not_used() -> None:
    shown = [{"uri": f"gw:{number}", "name": "first"} for number in (1, 2)]
    with pytest.raises(NotApplicable, match="nothing there tells which is mock://one of alpha"):
        _exposed("mock://one", *shown)
    assert _exposed("mock://one", shown[0], {**shown[1], "description": "Of alpha"}) == "gw:2"
