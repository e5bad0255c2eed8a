"""FRONT: the definitions of the two tools, and what becomes of a model's mistakes in their arguments."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from conformance.checks import check
from conformance.checks.common import must_be_echoed
from conformance.checks.sloppy_messages import SOON
from conformance.errors import Untestable
from conformance.workbench.listing_forms import definitions
from conformance.workbench.transcript import part
from mock_servers.script import Script, default_tools, tool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conformance.workbench.inbox import Answer
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

GIVEN = {"path": "/keep", "deep": {"list": [1, {"x": None}]}}
ADD = {"a": 1, "b": 2}
#: mistakes in the arguments of each tool, with the member that the answer has to name
MISTAKES: dict[str, tuple[str, Any, str]] = {
    "nothing": ("list", {}, "group"),
    "a group that is a number": ("list", {"group": 7}, "group"),
    "a name that is a number": ("list", {"group": "a", "name": 7}, "name"),
    "a call of nothing": ("call", {}, "group"),
    "no group": ("call", {"name": "add", "args": ADD}, "group"),
    "a group that is a list": ("call", {"group": ["a"], "name": "add", "args": ADD}, "group"),
    "no name": ("call", {"group": "a", "args": ADD}, "name"),
    "a name that is a list": ("call", {"group": "a", "name": ["add"], "args": ADD}, "name"),
    "a name in args": ("call", {"group": "a", "args": {"name": "add", **ADD}}, "name"),
    "args that are a list": ("call", {"group": "a", "name": "add", "args": [1, 2]}, "args"),
    "args that are a number": ("call", {"group": "a", "name": "add", "args": 3}, "args"),
    "args that are no JSON": ("call", {"group": "a", "name": "add", "args": "a=1"}, "args"),
}
EMPTY: dict[str, dict[str, Any]] = {
    "name is empty": {"name": ""},
    "search is empty": {"search": ""},
    "both are empty": {"name": "", "search": ""},
    "name is null": {"name": None},
    "both are null": {"name": None, "search": None},
}


@check("FRONT-110")
async def wrong_arguments_are_a_tool_result_that_shows_the_right_form(workbench: Workbench) -> None:
    upstream = workbench.stdio("a")
    async with workbench.serving(upstream) as proxy:
        await proxy.tools_of("a")
        has_name = part(await proxy.listing_tool(), "inputSchema", "properties", "name") is not None
        for what, (which, arguments, member) in MISTAKES.items():
            if which == "list" and member == "name" and not has_name:
                continue
            with workbench.case(what):
                answer = await _ask(workbench, proxy, which, arguments)
                workbench.expect(
                    answer.error is None and answer.is_error, "a result with isError: true", answer.raw
                )
                workbench.expect(member in answer.text, f"a text that names {member}", answer.raw)
                if workbench.promises("right-form"):
                    form = _must_have_a_form(workbench, answer)
                    if which == "call" and "add" not in json.dumps(arguments):
                        workbench.expect(
                            form.get("name") not in upstream.tool_names,
                            "a form without a tool that the model did not name",
                            answer.raw,
                        )
                    else:
                        await _must_succeed_in_this_form(workbench, proxy, which, form)
        await must_be_echoed(workbench, proxy, "a", GIVEN)


def _must_have_a_form(workbench: Workbench, refused: Answer) -> dict[str, Any]:
    """The first JSON object in the text. Raises Violation without one."""
    forms = list(_objects_in(refused.text))
    workbench.expect(forms, "a text with the right form as JSON", refused.raw)
    form: dict[str, Any] = forms[0]
    return form


async def _must_succeed_in_this_form(
    workbench: Workbench, proxy: Proxy, which: str, form: dict[str, Any]
) -> None:
    answer = await _ask(workbench, proxy, which, form)
    workbench.expect(not answer.is_error, f"a call in the form that the text shows, {form}", answer.raw)


def _objects_in(text: str) -> Iterator[Any]:
    """The JSON objects in a text."""
    decoder, place = json.JSONDecoder(), text.find("{")
    while place >= 0:
        try:
            value, end = decoder.raw_decode(text, place)
        except ValueError:
            end = place + 1
        else:
            yield value
        place = text.find("{", end)


async def _ask(workbench: Workbench, proxy: Proxy, which: str, arguments: Any) -> Answer:
    params = {"name": workbench.sut.profile.tools[which], "arguments": arguments}
    return await proxy.request("tools/call", params, within=SOON)


@check("FRONT-111")
async def empty_optional_arguments_count_as_absent(workbench: Workbench) -> None:
    upstream = workbench.stdio("a")
    async with workbench.serving(upstream) as proxy:
        for what, members in EMPTY.items():
            with workbench.case(what):
                answer = await _ask(workbench, proxy, "list", {"group": "a", **members})
                missing = [name for name in upstream.tool_names if not definitions(answer, name)]
                workbench.expect(not missing, f"the definitions of {upstream.tool_names}", answer.raw)
        await must_be_echoed(workbench, proxy, "a", GIVEN)


@check("FRONT-112")
async def converters_of_schemas_keep_the_arguments_of_a_call(workbench: Workbench) -> None:
    async with workbench.serving(workbench.stdio("a")) as proxy:
        _, call = await _definitions(workbench, proxy)
        schema = part(call, "inputSchema", "properties", "args")
        with workbench.precondition("the definition describes args"):
            workbench.expect(isinstance(schema, dict), "a schema of args", call)
        if part(schema, "type") != "string":
            workbench.expect(part(schema, "type") == "object", "an object or a text", schema)
            workbench.expect(isinstance(part(schema, "properties"), dict), "properties", schema)
            is_open = part(schema, "additionalProperties")
            workbench.expect(
                is_open is True or isinstance(is_open, dict), "open additionalProperties", schema
            )
        await must_be_echoed(workbench, proxy, "a", GIVEN)


@check("FRONT-140")
async def no_schema_of_the_two_tools_is_a_boolean(workbench: Workbench) -> None:
    async with workbench.serving(workbench.stdio("a")) as proxy:
        for definition in await _definitions(workbench, proxy):
            schema = part(definition, "inputSchema")
            with workbench.precondition("the schema has properties"):
                workbench.expect(isinstance(part(schema, "properties"), dict), "properties", definition)
            found = [place for place, inner in _inner_schemas(schema) if isinstance(inner, bool)]
            workbench.expect(not found, "objects as schemas", f"{found} in {schema}")
        await must_be_echoed(workbench, proxy, "a", GIVEN)


def _inner_schemas(schema: dict[str, Any], where: str = "") -> Iterator[tuple[str, Any]]:
    """The places and values of the schemas inside a schema."""
    inside = {name: schema[name] for name in ("additionalProperties", "items") if name in schema}
    properties = schema.get("properties")
    for name, inner in {**inside, **(properties if isinstance(properties, dict) else {})}.items():
        place = f"{where}/{name}"
        yield place, inner
        if isinstance(inner, dict):
            yield from _inner_schemas(inner, place)


@check("FRONT-113")
async def annotations_tell_which_of_the_two_tools_only_reads(workbench: Workbench) -> None:
    upstream = workbench.stdio("a")
    async with workbench.serving(upstream) as proxy:
        get, call = (part(one, "annotations") or {} for one in await _definitions(workbench, proxy))
        workbench.expect(get.get("readOnlyHint") is True, "the listing tool has readOnlyHint: true", get)
        workbench.expect(
            get.get("destructiveHint") is False, "the listing tool has destructiveHint: false", get
        )
        workbench.expect(
            call.get("readOnlyHint") is not True, "the calling tool does not claim to be read-only", call
        )
        workbench.expect(
            call.get("destructiveHint") is not False, "the calling tool does not claim to be harmless", call
        )
        answer = await proxy.tools_of("a")
        workbench.expect(definitions(answer, "echo"), "the definition of echo", answer.raw)
        await must_be_echoed(workbench, proxy, "a", GIVEN)


async def _definitions(workbench: Workbench, proxy: Proxy) -> list[Any]:
    """The definitions of the tool that lists and of the tool that calls."""
    answer = await proxy.pages("tools/list", "tools")
    tools = {str(part(one, "name")): one for one in answer.member("tools") or []}
    wanted = [workbench.sut.profile.tools[name] for name in ("list", "call")]
    if missing := [name for name in wanted if name not in tools]:
        raise Untestable(f"there is no definition of {missing[0]}: {answer.raw}")
    return [tools[name] for name in wanted]


@check("FRONT-114", timeout=30, slow=True)
async def no_enum_of_a_definition_is_empty_or_has_an_empty_text(workbench: Workbench) -> None:
    usual, off = workbench.stdio("a"), workbench.stdio("off", enabled=False)
    async with workbench.serving(usual) as proxy:
        await _must_have_good_enums(workbench, proxy)
        await must_be_echoed(workbench, proxy, "a", GIVEN)
    configs = {
        "no server": workbench.config(),
        "a disabled server": workbench.config(off),
        "a server with an empty name": workbench.config_text(json.dumps({"mcpServers": {"": usual.entry}})),
    }
    await workbench.run_cases(
        *(partial(_must_start_with_good_enums, workbench, what, config) for what, config in configs.items())
    )


async def _must_start_with_good_enums(workbench: Workbench, what: str, config: Path) -> None:
    with workbench.case(what):
        async with workbench.proxy(config=config) as proxy:
            try:
                await proxy.handshake()
            except Untestable:
                # A proxy may refuse the configuration.
                if not await proxy.wait_exit():
                    raise
            else:
                await _must_have_good_enums(workbench, proxy)


async def _must_have_good_enums(workbench: Workbench, proxy: Proxy) -> None:
    for definition in await _definitions(workbench, proxy):
        for enum in _enums(definition.get("inputSchema")):
            workbench.expect(enum and "" not in enum, "no empty enum, and no empty text in one", definition)


def _enums(schema: Any) -> Iterator[Any]:
    """The enums anywhere in a schema."""
    if isinstance(schema, dict) and isinstance(schema.get("enum"), list):
        yield schema["enum"]
    if isinstance(schema, dict | list):
        for inner in schema.values() if isinstance(schema, dict) else schema:
            yield from _enums(inner)


@check("FRONT-115")
async def a_refused_call_names_the_members_that_are_unknown(workbench: Workbench) -> None:
    paint = tool("paint", properties={"width": {"type": "number"}})
    paint["inputSchema"]["additionalProperties"] = False
    upstream = workbench.stdio("a", Script(tools=[*default_tools(), paint]))
    call: dict[str, Any] = {"group": "a", "name": "paint"}
    cases = {
        "one more member": {**call, "args": {"width": 1}, "colour": "red"},
        "a member in place of args": {**call, "colour": "red"},
        "an argument and a misspelt one": {**call, "width": 1, "colour": "red"},
    }
    async with workbench.serving(upstream) as proxy:
        for what, arguments in cases.items():
            with workbench.case(what):
                before = len(upstream.requests("tools/call"))
                answer = await _ask(workbench, proxy, "call", arguments)
                made = [part(one.params, "arguments") for one in upstream.requests("tools/call")[before:]]
                lost = [one for one in made if part(one, "colour") != "red"]
                workbench.expect(not lost, "no call without the member colour", lost)
                if not made:
                    workbench.expect(answer.is_error, "an error", answer.raw)
                    workbench.expect("colour" in answer.text, "a text that names colour", answer.raw)
        await must_be_echoed(workbench, proxy, "a", GIVEN)
