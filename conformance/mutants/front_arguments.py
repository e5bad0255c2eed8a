"""Mistakes in the definitions of the two tools, and in the answers to wrong arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conformance.mutants import mutant, wire
from conformance.mutants.wire import INVALID_PARAMS, params_of, results_of
from dynamic_mcp.frontend.right_form import UNKNOWN_TOOL
from dynamic_mcp.frontend.tool_surface import CALL, GET

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.mutants.wire import Message


def _is_about_the_form(result: Any) -> bool:
    return bool(result.get("isError")) and "Right form" in result["content"][0]["text"]


@mutant("FRONT-110")
def answers_wrong_arguments_with_a_protocol_error() -> None:
    """Several frameworks end the whole run of the agent at such an error."""

    def wrong(message: Message, way: wire.Way) -> wire.Changed:
        if "result" not in message or way.method_of(message) != "tools/call":
            return message
        if not _is_about_the_form(message["result"]):
            return message
        text = message["result"]["content"][0]["text"]
        return {"jsonrpc": "2.0", "id": message["id"], "error": {"code": INVALID_PARAMS, "message": text}}

    wire.to_client(wrong)


@mutant("FRONT-110", also={"FRONT-115": "that text names no member either"})
def says_only_that_the_arguments_are_invalid() -> None:
    _change_texts(lambda text: "Invalid arguments")


@mutant("FRONT-110")
def shows_a_form_without_the_group() -> None:
    """The reference promises a form that works."""
    _change_texts(lambda text: text.replace('"group":"a"', '"group":"GROUP"'))


@mutant("FRONT-110")
def shows_a_form_with_a_tool_of_its_choice() -> None:
    """A model that copies the form runs a tool that it did not choose. The reference promises a form without one."""
    _change_texts(lambda text: text.replace(UNKNOWN_TOOL, "add"))


@mutant("FRONT-115")
def does_not_name_the_unknown_member() -> None:
    _change_texts(lambda text: text.replace("colour", "a member"))


def _change_texts(change: Callable[[str], str]) -> None:
    def wrong(result: Any) -> Any:
        if not _is_about_the_form(result):
            return result
        return {**result, "content": [{"type": "text", "text": change(result["content"][0]["text"])}]}

    wire.to_client(results_of("tools/call", wrong))


@mutant("FRONT-111")
def takes_an_empty_name_for_the_name_of_a_tool() -> None:
    _change_empty("name", "")


@mutant("FRONT-111")
def takes_null_for_a_wrong_search() -> None:
    _change_empty("search", None)


def _change_empty(member: str, value: object) -> None:
    """Let an empty member of ``get_dynamic_tools`` mean something that no tool has."""

    def wrong(params: Any) -> Any:
        arguments = params.get("arguments")
        if params.get("name") != GET or not isinstance(arguments, dict) or arguments.get(member, 0) != value:
            return params
        return {**params, "arguments": {**arguments, member: "no such tool"}}

    wire.from_client(params_of("tools/call", wrong))


def _change_definitions(change: Callable[[Message], None]) -> None:
    def wrong(result: Any) -> Any:
        for tool in result["tools"]:
            change(tool)
        return {**result}

    wire.to_client(results_of("tools/list", wrong))


@mutant("FRONT-112")
def describes_the_arguments_without_properties() -> None:
    """Mastra 0.14 with zod 3 then drops every argument."""
    _change_definitions(
        lambda tool: tool["inputSchema"]["properties"].get("args", {}).pop("properties", None)
    )


@mutant("FRONT-112")
def says_nothing_about_further_arguments() -> None:
    """json-schema-to-zod then drops every argument."""
    _change_definitions(
        lambda tool: tool["inputSchema"]["properties"].get("args", {}).pop("additionalProperties", None)
    )


@mutant("FRONT-140")
def opens_the_arguments_with_true() -> None:
    """The MCP sessions of google-genai then fail before the first request to the model."""
    _change_definitions(
        lambda tool: tool["inputSchema"]["properties"].get("args", {}).update(additionalProperties=True)
    )


@mutant("FRONT-140")
def closes_the_arguments_of_each_tool_with_false() -> None:
    _change_definitions(lambda tool: tool["inputSchema"].update(additionalProperties=False))


@mutant("FRONT-113")
def has_no_annotations() -> None:
    """Codex then asks about each listing, or refuses it."""
    _change_definitions(lambda tool: tool.pop("annotations", None))


@mutant("FRONT-113")
def claims_that_calls_only_read() -> None:
    def wrong(tool: Message) -> None:
        if tool["name"] == CALL:
            tool["annotations"] = {"readOnlyHint": True, "destructiveHint": False}

    _change_definitions(wrong)


@mutant("FRONT-114")
def has_an_empty_enum_without_a_group() -> None:
    _change_definitions(lambda tool: tool["inputSchema"]["properties"]["group"].setdefault("enum", []))
