"""What the faces read from a list of tools."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from conformance.errors import NotApplicable, Untestable
from conformance.model.profile import Profile
from conformance.workbench.faces import DynamicFace, FlatFace
from conformance.workbench.inbox import Answer
from conformance.workbench.listed_tools import affixes
from conformance.workbench.listing_forms import definitions
from mock_servers.script import Script, default_tools, tool


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (["echo"], ("", "")),
        (["a_echo", "b_echo"], ("a_", "")),
        (["mcp__a__echo", "mcp__b__echo"], ("mcp__a__", "")),
        (["echo@a", "echo@b"], ("", "@a")),
        (["echo", "b_echo"], ("", "")),
        (["b_echo"], None),
        (["x9_echo", "b_echo"], ("x9_", "")),
        ([], None),
    ],
)
def test_the_list_shows_what_stands_around_a_name(shown: list[str], expected: tuple[str, str] | None) -> None:
    assert affixes(shown, "a", ["echo"], {"b"}) == expected


def test_the_spelling_of_a_group_can_differ() -> None:
    assert affixes(["my_two__echo"], "my-two", ["echo"], {"one"}) == ("my_two__", "")


class _Upstream:
    def __init__(self, name: str, *tools: str) -> None:
        self.name, self.script = name, Script(tools=[tool(one) for one in tools])


class _Default:
    def __init__(self, name: str) -> None:
        self.name, self.script = name, Script()


def _face(text: str, *upstreams: Any) -> FlatFace:
    profile = Profile.parse(text, "mine")
    return FlatFace(profile, lambda: list(upstreams), len(upstreams) == 1)


def _asked(*pages: list[str]) -> Any:
    async def ask(method: str, params: dict[str, Any], within: float) -> Answer:
        place = int(params.get("cursor", 0))
        result: dict[str, Any] = {"tools": [{"name": name, "inputSchema": {}} for name in pages[place]]}
        if place + 1 < len(pages):
            result["nextCursor"] = str(place + 1)
        return Answer({"id": 1, "result": result}, "", 0.0)

    return ask


def test_the_tools_of_a_group_come_under_their_own_names_from_all_pages() -> None:
    face = _face('face = "flat"', _Upstream("a", "echo"), _Upstream("b", "echo"))

    async def walk() -> None:
        ask = _asked(["a_echo", "b_echo"], ["a_new"])
        answer = await face.tools_of(ask, "a", 1.0, {})
        assert [len(definitions(answer, name)) for name in ("echo", "new", "a_echo")] == [1, 1, 0]
        assert await face.groups(ask, ["a", "b", "c"], 1.0) == ["a", "b"]
        with pytest.raises(NotApplicable, match="selects no tools"):
            await face.tools_of(ask, "a", 1.0, {"name": "echo"})
        with pytest.raises(NotApplicable, match="flat"):
            await face.listing_tool(ask, 1.0)

    anyio.run(walk)
    params = face.call_params("b", "echo", {"x": 1})
    assert params == {"name": "b_echo", "arguments": {"x": 1}}
    assert face.called(params) == [("b", "echo", {"x": 1})]
    assert face.called({"name": "other"}) == []


def test_the_pattern_counts_before_the_list_is_known() -> None:
    lines = 'face = "flat"\ntool = "{server}-{tool}"\ntool_alone = "{tool}"'
    assert _face(lines, _Upstream("a"), _Upstream("b")).call_params("a", "echo", None)["name"] == "a-echo"
    assert _face(lines, _Upstream("a")).call_params("a", "echo", None)["name"] == "echo"


def test_two_groups_can_mean_the_same_name() -> None:
    face = _face('face = "flat"\ntool = "{tool}"', _Upstream("a", "echo"), _Upstream("b", "echo"))
    params = face.call_params("a", "echo", {})
    face.call_params("b", "echo", {})
    assert face.called(params) == [("a", "echo", {}), ("b", "echo", {})]


def _flat(shown: list[dict[str, Any]], *upstreams: Any) -> FlatFace:
    face = _face('face = "flat"', *upstreams)

    async def ask(method: str, params: dict[str, Any], within: float) -> Answer:
        return Answer({"id": 1, "result": {"tools": shown}}, "", 0.0)

    anyio.run(face.tools_of, ask, upstreams[0].name, 1.0, {})
    return face


def _name(face: FlatFace, group: str, own: str) -> str:
    return str(face.call_params(group, own, None)["name"])


def test_each_tool_can_have_another_text_before_it() -> None:
    shown = [tool("t_11111111_add"), tool("t_22222222_echo"), tool("t_33333333_new")]
    face = _flat(shown, _Upstream("a", "echo", "add"))
    assert [_name(face, "a", own) for own in ("echo", "add", "new")] == [
        "t_22222222_echo",
        "t_11111111_add",
        "t_33333333_new",
    ]

    async def own_names() -> None:
        async def ask(method: str, params: dict[str, Any], within: float) -> Answer:
            return Answer({"id": 1, "result": {"tools": shown}}, "", 0.0)

        answer = await face.tools_of(ask, "a", 1.0, {})
        assert [len(definitions(answer, own)) for own in ("echo", "add", "new")] == [1, 1, 1]

    anyio.run(own_names)


def test_a_name_that_contains_the_own_name_of_another_tool_stands_for_that_one() -> None:
    face = _flat([tool("x1_echo_all"), tool("x22_echo")], _Upstream("a", "echo", "echo_all"))
    assert [_name(face, "a", own) for own in ("echo", "echo_all")] == ["x22_echo", "x1_echo_all"]


def test_a_tool_of_the_program_itself_is_none_of_the_upstream() -> None:
    own = tool("gateway_echo", "Says it again", properties={"text": {}})
    face = _flat(
        [own, *default_tools(), tool("t_11111111_echo", "[a] Return", properties={"x": {}})], _Default("a")
    )
    assert _name(face, "a", "echo") == "echo"
    hashed = [
        {**one, "name": f"t_{number}1111111_{one['name']}"} for number, one in enumerate(default_tools())
    ]
    face = _flat([own, *hashed], _Default("a"))
    assert _name(face, "a", "echo") == "t_01111111_echo"


def test_a_definition_that_names_the_group_tells_equal_tools_apart() -> None:
    shown = [tool("t_1_echo", "[b] "), tool("t_2_echo", "[a] ")]
    face = _flat(shown, _Upstream("a", "echo"), _Upstream("b", "echo"))
    assert [_name(face, group, "echo") for group in ("a", "b")] == ["t_2_echo", "t_1_echo"]


def test_a_definition_that_names_another_group_is_none_of_a_group_without_tools() -> None:
    face = _flat(
        [tool("echo_2222", "[b] "), tool("add_2222", "[b] ")], _Upstream("a", "echo"), _Upstream("b", "echo")
    )
    assert _name(face, "a", "echo") == "echo"
    assert _name(face, "b", "echo") == "echo_2222"
    face = _flat([tool("echo_2222", "[b] ")], _Upstream("null", "echo"), _Upstream("b", "echo"))
    assert _name(face, "null", "echo") == "echo"


def test_a_new_tool_of_a_group_has_no_name_of_another_group() -> None:
    shown = [tool("echo_1111", "[a] "), tool("echo_2222", "[b] "), tool("new_2222", "[b] ")]
    face = _flat(shown, _Upstream("a", "echo"), _Upstream("b", "echo"))
    assert [_name(face, group, "new") for group in ("a", "b")] == ["new_1111", "new_2222"]


def test_a_server_can_name_another_group_in_its_own_definition() -> None:
    better = _Upstream("a")
    better.script = Script(tools=[tool("echo", "Better than b")])
    face = _flat([tool("x1_echo", "Better than b")], better, _Upstream("b"))
    assert _name(face, "a", "echo") == "x1_echo"


def test_equal_tools_that_nothing_tells_apart_are_not_called() -> None:
    face = _flat([tool("t_1_echo"), tool("t_2_echo")], _Upstream("a", "echo"), _Upstream("b", "echo"))
    with pytest.raises(NotApplicable, match="and nothing there tells which of them is echo of server a"):
        face.call_params("a", "echo", None)


@pytest.mark.parametrize("tools", [None, 5, {"get": {}}, [None, 5]])
def test_a_list_of_tools_in_another_shape_has_no_tool_that_lists(tools: Any) -> None:
    face = DynamicFace({"list": "get", "call": "call"})

    async def ask(method: str, params: dict[str, Any], within: float) -> Answer:
        return Answer({"id": 1, "result": {"tools": tools}}, "", 0.0)

    with pytest.raises(Untestable, match="no tool get"):
        anyio.run(face.listing_tool, ask, 1.0)
