"""Mistakes in what passes through the proxy: arguments, and the results of calls, reads and prompts."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec

from conformance.mutants import mutant, wire, wire_http
from conformance.mutants.wire import params_of, results_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.mutants.wire import Message


@mutant("FRONT-012")
def drops_meta_of_results() -> None:
    wire.to_client(results_of("tools/call", _without("_meta")))


@mutant("FRONT-012")
def drops_structured_content() -> None:
    wire.to_client(results_of("tools/call", _without("structuredContent")))


def _without(member: str) -> Callable[[Message], Message]:
    return lambda whole: {name: value for name, value in whole.items() if name != member}


@mutant("FRONT-012")
def drops_unknown_members_of_results() -> None:
    """The reference promises to pass them on."""
    known = {"content", "structuredContent", "isError", "_meta", "resultType"}
    wire.to_client(
        results_of(
            "tools/call", lambda result: {name: value for name, value in result.items() if name in known}
        )
    )


@mutant("FRONT-012")
def removes_null_arguments() -> None:
    _change_arguments(
        lambda arguments: {name: value for name, value in arguments.items() if value is not None}
    )


@mutant("FRONT-012")
def sends_missing_arguments_as_null() -> None:
    mark = {"left out": True}

    def marked(params: Message) -> Message:
        arguments = params.get("arguments") or {}
        is_call = isinstance(arguments, dict) and "name" in arguments
        return {**params, "arguments": {"args": mark, **arguments}} if is_call else params

    wire.from_client(params_of("tools/call", marked))
    _change_arguments(lambda arguments: None if arguments == mark else arguments)


@mutant("FRONT-049")
def reads_numbers_as_floats() -> None:
    _change_arguments(lambda arguments: msgspec.json.decode(msgspec.json.encode(arguments)))


def _change_arguments(change: Callable[[Message], Any]) -> None:
    wire.to_stdio_upstreams(
        params_of("tools/call", lambda params: {**params, "arguments": change(params.get("arguments") or {})})
    )


@mutant("FRONT-012")
def expands_variables_in_arguments() -> None:
    """A model that writes the name of a variable gets its value."""

    def expanded(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: expanded(one) for name, one in value.items()}
        if isinstance(value, list):
            return [expanded(one) for one in value]
        return os.path.expandvars(value) if isinstance(value, str) else value

    _change_arguments(expanded)


@mutant("FRONT-012")
def adds_the_defaults_of_the_schema_to_arguments() -> None:
    def filled(arguments: Message, properties: Message) -> Message:
        defaults = {name: one["default"] for name, one in properties.items() if "default" in one}
        return {**defaults, **arguments}

    _change_arguments_by_schema(filled)


@mutant("FRONT-012")
def turns_arguments_into_texts_where_the_schema_says_so() -> None:
    def typed(arguments: Message, properties: Message) -> Message:
        texts = {name for name, one in properties.items() if one.get("type") == "string"}
        return {name: str(value) if name in texts else value for name, value in arguments.items()}

    _change_arguments_by_schema(typed)


@mutant("FRONT-012")
def drops_repeated_blocks_of_content() -> None:
    def once(blocks: list[Message]) -> list[Message]:
        return [block for place, block in enumerate(blocks) if block not in blocks[:place]]

    _change_content(once)


@mutant("FRONT-012")
def joins_neighbouring_texts() -> None:
    def joined(blocks: list[Message]) -> list[Message]:
        found: list[Message] = []
        for block in blocks:
            if found and block.keys() == found[-1].keys() == {"type", "text"}:
                found[-1] = {**block, "text": f"{found[-1]['text']}\n{block['text']}"}
            else:
                found.append(block)
        return found

    _change_content(joined)


@mutant("FRONT-012")
def writes_line_feeds_for_all_line_ends() -> None:
    def plain(block: Message) -> Message:
        return (
            {**block, "text": "\n".join(block["text"].splitlines())}
            if "\r" in block.get("text", "")
            else block
        )

    _change_content(lambda blocks: [plain(block) for block in blocks])


def _change_content(change: Callable[[list[Message]], list[Message]]) -> None:
    wire.from_stdio_upstreams(
        results_of("tools/call", lambda result: {**result, "content": change(result.get("content") or [])})
    )


def _change_arguments_by_schema(change: Callable[[Message, Message], Message]) -> None:
    """`change` gets the arguments of a call, and the properties that the last list of tools declares for it."""
    declared: dict[str, Message] = {}

    def listed(result: Message) -> Message:
        for tool in result["tools"] or ():
            schema = tool.get("inputSchema") if isinstance(tool, dict) else None
            properties = schema.get("properties") if isinstance(schema, dict) else None
            if isinstance(properties, dict) and all(isinstance(one, dict) for one in properties.values()):
                declared[tool["name"]] = properties
        return result

    def called(params: Message) -> Message:
        arguments = change(params.get("arguments") or {}, declared.get(params["name"], {}))
        return {**params, "arguments": arguments}

    wire.from_stdio_upstreams(results_of("tools/list", listed))
    wire.to_stdio_upstreams(params_of("tools/call", called))


@mutant("FRONT-177")
def returns_the_first_of_several_contents() -> None:
    """A proxy of FastMCP before pull request 2742 behaves like this."""
    wire.from_stdio_upstreams(
        results_of("resources/read", lambda result: {**result, "contents": result["contents"][:1]})
    )


@mutant("FRONT-177")
def returns_binary_contents_as_text() -> None:
    """litellm 1.92 behaves like this: the text is the base64 form of the bytes."""

    def as_text(content: Message) -> Message:
        return {"text" if name == "blob" else name: value for name, value in content.items()}

    wire.from_stdio_upstreams(
        results_of(
            "resources/read",
            lambda result: {**result, "contents": [as_text(content) for content in result["contents"]]},
        )
    )


@mutant("FRONT-177")
def gives_all_messages_of_a_prompt_to_the_user() -> None:
    wire.from_stdio_upstreams(
        results_of(
            "prompts/get",
            lambda result: {**result, "messages": [{**one, "role": "user"} for one in result["messages"]]},
        )
    )


@mutant("FRONT-012")
def takes_failures_over_http_for_successes() -> None:
    """The member `isError` is lost."""
    wire_http.change_answers("tools/call", lambda body: body.replace(b"isError", b"x-isError"))
