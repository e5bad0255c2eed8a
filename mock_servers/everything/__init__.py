"""The script of a server with every feature: `python -m mock_servers http --everything`, or `stdio`.

It serves the tools, prompts and resources that the server scenarios of the official conformance suite name, in both
eras. So an independent judge can test whether the mocks follow MCP. Only the suite defines these names;
conformance/official/skipped.toml lists the scenarios that do not run against this script, with the reasons.
"""

from mock_servers.actions import (
    Action,
    error,
    list_changed,
    notify,
    progress,
    reply,
    request,
    set_prompts,
    set_tools,
    sleep,
)
from mock_servers.answers import (
    METHOD_NOT_FOUND,
    MODERN_VERSION,
    VERSION_KEY,
)
from mock_servers.everything.builders import SAMPLING, STRING, Json, content, form, messages, on_prompt, text
from mock_servers.everything.input_required import ASK_ONCE, ASK_WITH_STATE, input_required_rules
from mock_servers.remote_actions import end_stream
from mock_servers.script import Http, Rule, Script, default_tools, on_call, tool

#: seconds to wait for the client's answer
_ANSWER_WITHIN = 10.0
_LOG_LEVEL = "io.modelcontextprotocol/logLevel"

# One white pixel, and a sound without samples.
_PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGP4////fwAJ+wP9KobjigAAAABJRU5ErkJggg=="
_WAV = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA="


def everything(*, streams: bool = True) -> Script:
    """The script; `streams=False` leaves out the rule that ends an event stream, which stdio does not have."""
    tools = _tools()
    prompts = _prompts()
    return Script(
        era="both",
        name="everything",
        instructions="Every feature, for tests.",
        tools=tools,
        prompts=prompts,
        resources=[
            _resource("test://static-text", "text/plain"),
            _resource("test://static-binary", "image/png"),
            _resource("test://watched-resource", "text/plain"),
        ],
        templates=[
            {"uriTemplate": "test://template/{id}/data", "name": "template", "mimeType": "text/plain"},
        ],
        contents={
            "test://static-binary": [{"uri": "test://static-binary", "mimeType": "image/png", "blob": _PNG}]
        },
        capabilities={
            "tools": {"listChanged": True},
            "prompts": {"listChanged": True},
            "resources": {"subscribe": True, "listChanged": True},
            "completions": {},
            "logging": {},
        },
        on=[
            *_utilities(),
            *_contents(),
            *_conversations(),
            _reconnection(streams=streams),
            *input_required_rules(),
            *_changes(tools, prompts),
        ],
        http=Http(answers="sse", sessions=True, event_ids=True, priming=True, retry=500, local_only=True),
    )


_REGION = {"type": "string", "x-mcp-header": "Region"}


def _tools() -> list[Json]:
    plain = {
        "test_simple_text": "One text",
        "test_image_content": "One image",
        "test_audio_content": "One sound",
        "test_embedded_resource": "One resource",
        "test_multiple_content_types": "A text, an image and a resource",
        "test_error_handling": "Always fails",
        "test_tool_with_logging": "Logs three messages",
        "test_tool_with_progress": "Reports progress three times",
        "test_elicitation_sep1034_defaults": "Elicits values with a default for each type",
        "test_elicitation_sep1330_enums": "Elicits a choice of each kind",
        "test_reconnection": "Takes a while, and over HTTP ends its stream before it answers",
        "test_missing_capability": "Requires sampling",
        "test_logging_tool": "Logs if the request allows it",
        "test_trigger_tool_change": "Changes the list of tools",
        "test_trigger_prompt_change": "Changes the list of prompts",
        **dict.fromkeys([*ASK_ONCE, *ASK_WITH_STATE], "Requires input before it answers"),
        "test_input_required_result_multi_round": "Requires input twice before it answers",
        "test_input_required_result_capabilities": "Requires only input that the client's capabilities allow",
    }
    return [
        *default_tools(),
        *(tool(name, description) for name, description in plain.items()),
        tool("test_sampling", "Samples the client's model", properties={"prompt": STRING}),
        tool("test_elicitation", "Elicits input from the user", properties={"message": STRING}),
        tool("test_custom_header", "Repeats its argument in a header", properties={"region": _REGION}),
        {"name": "json_schema_2020_12_tool", "description": "A rich schema", "inputSchema": _RICH_SCHEMA},
    ]


_RICH_SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": STRING, "city": STRING},
        }
    },
    "properties": {
        "name": STRING,
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": STRING,
        "email": STRING,
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


def _prompts() -> list[Json]:
    def argument(name: str) -> Json:
        return {"name": name, "description": f"The {name}", "required": True}

    return [
        {"name": "test_simple_prompt", "description": "One text"},
        {
            "name": "test_prompt_with_arguments",
            "description": "A text that contains the arguments",
            "arguments": [argument("arg1"), argument("arg2")],
        },
        {
            "name": "test_prompt_with_embedded_resource",
            "description": "A resource",
            "arguments": [argument("resourceUri")],
        },
        {"name": "test_prompt_with_image", "description": "An image"},
        {"name": "test_input_required_result_prompt", "description": "Requires input before it answers"},
    ]


# Contents


def _resource(uri: str, kind: str) -> Json:
    return {"uri": uri, "name": uri.rpartition("/")[2], "description": "A resource", "mimeType": kind}


def _embedded(uri: str) -> Json:
    return {
        "type": "resource",
        "resource": {"uri": uri, "mimeType": "text/plain", "text": f"contents of {uri}"},
    }


def _utilities() -> list[Rule]:
    modern = {"_meta": {VERSION_KEY: MODERN_VERSION}}
    removed = ("logging/setLevel", "resources/subscribe", "resources/unsubscribe")
    gone = error(METHOD_NOT_FOUND, "Method not found")
    return [
        *(Rule(method, [gone], params=modern) for method in removed),
        *(Rule(method, [reply({})]) for method in removed),
        Rule(
            "completion/complete", [reply({"completion": {"values": ["test", "testing"], "hasMore": False}})]
        ),
    ]


def _contents() -> list[Rule]:
    image = {"type": "image", "data": _PNG, "mimeType": "image/png"}
    sound = {"type": "audio", "data": _WAV, "mimeType": "audio/wav"}
    return [
        on_call("test_simple_text", content(text("a simple text"))),
        on_call("test_image_content", content(image)),
        on_call("test_audio_content", content(sound)),
        on_call("test_embedded_resource", content(_embedded("test://embedded-resource"))),
        on_call("test_multiple_content_types", content(text("a text"), image, _embedded("test://mixed"))),
        on_call("test_error_handling", content(text("this tool always fails"), failed=True)),
        on_prompt("test_prompt_with_embedded_resource", messages(_embedded("test://example-resource"))),
        on_prompt("test_prompt_with_image", messages(image, text("What is in the image?"))),
    ]


# Tools that send other messages before they answer


def _conversations() -> list[Rule]:
    def log(text: str) -> Action:
        return notify("notifications/message", {"level": "info", "logger": "everything", "data": text})

    return [
        on_call("test_logging_tool", reply(), params={"_meta": {_LOG_LEVEL: None}}),
        on_call("test_logging_tool", log("a message"), reply()),
        on_call(
            "test_tool_with_logging",
            log("begin"),
            sleep(0.05),
            log("continue"),
            sleep(0.05),
            log("end"),
            reply(),
        ),
        on_call(
            "test_tool_with_progress",
            progress(0),
            sleep(0.05),
            progress(50),
            sleep(0.05),
            progress(100),
            reply(),
        ),
        on_call(
            "test_sampling", _ask("sampling/createMessage", SAMPLING), content(text("the model answered"))
        ),
        on_call(
            "test_elicitation",
            _ask("elicitation/create", form("Who are you?", "username", "email")),
            _answered(),
        ),
        on_call(
            "test_elicitation_sep1034_defaults",
            _ask("elicitation/create", {"message": "Who are you?", "requestedSchema": _object(_DEFAULTS)}),
            _answered(),
        ),
        on_call(
            "test_elicitation_sep1330_enums",
            _ask("elicitation/create", {"message": "Choose.", "requestedSchema": _object(_CHOICES)}),
            _answered(),
        ),
    ]


def _reconnection(*, streams: bool) -> Rule:
    """A call that takes longer than a client or a proxy waits before it counts as slow."""
    ends = [end_stream()] if streams else []
    return on_call("test_reconnection", *ends, sleep(1.5), content(text("after the reconnection")))


def _ask(method: str, params: Json) -> Action:
    return request(method, params, wait=_ANSWER_WITHIN)


def _answered() -> Action:
    return content(text("the user answered"))


def _object(properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": []}


_DEFAULTS = {
    "name": {"type": "string", "default": "John Doe"},
    "age": {"type": "integer", "default": 30},
    "score": {"type": "number", "default": 95.5},
    "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
    "verified": {"type": "boolean", "default": True},
}


def _titled(*values: str) -> list[Json]:
    return [{"const": value, "title": value.title()} for value in values]


_VALUES = ("value1", "value2", "value3")
_OPTIONS = ["option1", "option2", "option3"]
_CHOICES = {
    "untitledSingle": {"type": "string", "enum": _OPTIONS},
    "titledSingle": {"type": "string", "oneOf": _titled(*_VALUES)},
    "legacyEnum": {"type": "string", "enum": ["opt1", "opt2", "opt3"], "enumNames": ["One", "Two", "Three"]},
    "untitledMulti": {"type": "array", "items": {"type": "string", "enum": _OPTIONS}},
    "titledMulti": {"type": "array", "items": {"anyOf": _titled(*_VALUES)}},
}


# Changes


def _changes(tools: list[Json], prompts: list[Json]) -> list[Rule]:
    """The rules that add an entry to a list and announce it. A second call only announces it again."""
    more_tools = [*tools, tool("test_late_tool", "Added later")]
    more_prompts = [*prompts, {"name": "test_late_prompt", "description": "Added later"}]
    return [
        on_call("test_trigger_tool_change", set_tools(more_tools), list_changed("tools"), reply()),
        on_call("test_trigger_prompt_change", set_prompts(more_prompts), list_changed("prompts"), reply()),
    ]
