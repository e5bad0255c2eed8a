"""Functions that build the contents, answers and rules of the script."""

from typing import Any

from mock_servers.actions import Action, reply
from mock_servers.script import Rule

Json = dict[str, Any]

STRING = {"type": "string"}


def text(words: str) -> Json:
    """A text block."""
    return {"type": "text", "text": words}


def content(*blocks: Json, failed: bool = False) -> Action:
    """The answer to a tool call."""
    return reply({"content": list(blocks), "isError": failed})


def messages(*blocks: Json) -> Action:
    """The answer to prompts/get."""
    return reply({"messages": [{"role": "user", "content": block} for block in blocks]})


def form(message: str, *names: str) -> Json:
    """The params of an elicitation with one text field for each name."""
    schema = {"type": "object", "properties": dict.fromkeys(names, STRING), "required": list(names)}
    return {"message": message, "requestedSchema": schema}


def on_prompt(name: str, *actions: Action, params: Json | None = None) -> Rule:
    """The rule for prompts/get of this prompt."""
    return Rule("prompts/get", list(actions), params={"name": name, **(params or {})})


SAMPLING = {
    "messages": [{"role": "user", "content": {"type": "text", "text": "What is new?"}}],
    "maxTokens": 100,
}
