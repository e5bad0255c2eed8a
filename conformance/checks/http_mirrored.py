"""HTTP-060 to HTTP-062: arguments that repeat in headers (`x-mcp-header`), and definitions that do so in a wrong way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conformance.checks import check
from conformance.checks.common import must_be_callable
from conformance.checks.http_modern import serving_modern
from mock_servers.actions import reply, set_tools
from mock_servers.remote.headers import decoded
from mock_servers.script import Script, any_arguments, on_call, tool

if TYPE_CHECKING:
    from conformance.workbench.workbench import Workbench

_PREFIX = "mcp-param-"


def _annotated(kind: Any, header: Any, **more: Any) -> dict[str, Any]:
    return {"type": kind, "x-mcp-header": header, **more}


_TEXT = _annotated("string", "Text")
_PROPERTIES = {
    "text": _TEXT,
    "count": _annotated("integer", "Count"),
    "flag": _annotated("boolean", "Flag"),
    "plain": {"type": "string"},
    "options": {"type": "object", "properties": {"zone": _annotated("string", "Time-Zone")}},
}
#: the values of an annotated text; each has another form in a header
_TEXTS = (
    "us-west1",
    "us west 1",
    "",
    "größe 設定",
    " padded ",
    "two\nlines",
    "a\r\nX-Injected: 1",
    "=?base64?eA==?=",
)
_CALLS: tuple[tuple[dict[str, Any], dict[str, str]], ...] = (
    *(({"text": text}, {"text": text}) for text in _TEXTS),
    ({"count": 42, "flag": False}, {"count": "42", "flag": "false"}),
    ({"count": -7, "flag": True, "plain": "x"}, {"count": "-7", "flag": "true"}),
    ({"text": None, "count": 0, "options": {}}, {"count": "0"}),
    ({"options": {"zone": "Europe/Vienna"}}, {"time-zone": "Europe/Vienna"}),
    ({"plain": "x"}, {}),
)
_INVALID: dict[str, dict[str, Any]] = {
    "empty": {"a": _annotated("string", "")},
    "blank": {"a": _annotated("string", "My Region")},
    "colon": {"a": _annotated("string", "Region:Primary")},
    "foreign": {"a": _annotated("string", "Région")},
    "broken": {"a": _annotated("string", "Region\r\nX-Injected")},
    "a_number": {"a": _annotated("string", 5)},
    "float": {"a": _annotated("number", "A")},
    "object": {"a": _annotated("object", "A")},
    "double": {"a": _annotated("string", "Region"), "b": _annotated("string", "region")},
    "nested_double": {
        "a": _annotated("string", "Region"),
        "b": {"type": "object", "properties": {"c": _annotated("integer", "REGION")}},
    },
    "in_items": {"a": {"type": "array", "items": _TEXT}},
    "in_choice": {"a": {"anyOf": [_TEXT, {"type": "null"}]}},
    "behind_choice": {"a": {"oneOf": [{"type": "object", "properties": {"b": _TEXT}}]}},
}


def _invalid_tools() -> list[dict[str, Any]]:
    in_definitions = tool("in_definitions", properties={"a": {"$ref": "#/$defs/text"}})
    in_definitions["inputSchema"]["$defs"] = {"text": _TEXT}
    return [*(tool(name, properties=found) for name, found in _INVALID.items()), in_definitions]


@check("HTTP-060", slow=True)
async def annotated_arguments_repeat_in_headers(workbench: Workbench) -> None:
    """Any value may be in Base64, because the server decodes it."""
    upstream = await workbench.http("a", Script(era="modern", tools=[tool("route", properties=_PROPERTIES)]))
    async with serving_modern(workbench, upstream) as proxy:
        for arguments, wanted in _CALLS:
            with workbench.case(f"the arguments {arguments}"):
                before = len(upstream.posts("tools/call"))
                result = await proxy.call("a", "route", arguments)
                arrived = upstream.posts("tools/call")[before:]
                if None in arguments.values() and result.is_error and not arrived:
                    continue  # null does not fit the schema, so the proxy may refuse it
                workbench.expect(not result.is_error, "the call succeeds", result.raw)
                request = workbench.some(arrived, "a call that arrives")[-1]
                sent = {
                    name.lower().removeprefix(_PREFIX): decoded(value)
                    for name, value in request.headers
                    if name.lower().startswith(_PREFIX)
                }
                workbench.expect(sent == wanted, f"the headers {wanted}", request.headers)
                workbench.expect(
                    request.header("X-Injected") is None, "no header of the value", request.headers
                )


@check("HTTP-061", timeout=60)
async def a_tool_with_an_invalid_header_annotation_is_held_back(workbench: Workbench) -> None:
    bad = _invalid_tools()
    valid = [tool("echo", properties={"x": _annotated("integer", "X")}), tool("other")]
    upstream = await workbench.http("a", Script(era="modern", tools=[valid[0], *bad, valid[1]]))
    async with serving_modern(workbench, upstream) as proxy:
        for one in valid:
            found = await proxy.definitions_of("a", one["name"])
            workbench.expect(found, f"the definition of {one['name']}", found)
            await must_be_callable(workbench, proxy, upstream, one["name"])
        before = len(workbench.some(upstream.posts("tools/call"), "a call that arrives"))
        for one in bad:
            with workbench.case(f"the tool {one['name']}"):
                found = await proxy.definitions_of("a", one["name"])
                workbench.expect(not found, "the tool is not listed", found)
                result = await proxy.call("a", one["name"], {"a": 1})
                workbench.expect(result.is_error, "a call is an error", result.raw)
        arrived = upstream.posts("tools/call")[before:]
        workbench.expect(not arrived, "no call of a tool that is held back arrives", arrived)


@check("HTTP-062")
async def a_call_with_outdated_headers_is_made_again(workbench: Workbench) -> None:
    new = [tool("route", properties={"x": _annotated("integer", "X")}), tool("change")]
    script = Script(
        era="modern",
        tools=[tool("route", properties=any_arguments("x")), tool("change")],
        on=[on_call("change", set_tools(new), reply())],
    )
    upstream = await workbench.http("a", script)
    async with workbench.serving(upstream) as proxy:
        await must_be_callable(workbench, proxy, upstream, "route")
        await must_be_callable(workbench, proxy, upstream, "change")
        before = len(upstream.posts("tools/call"))
        await must_be_callable(workbench, proxy, upstream, "route")
    sent = workbench.some(upstream.posts("tools/call")[before:], "a call of the new definition")
    workbench.expect(sent[-1].header("Mcp-Param-X") == "1", "the header of the new definition", sent)
    workbench.expect(len(sent) <= 2, "the call is made at most twice", sent)
