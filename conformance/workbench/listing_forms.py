"""Reads lists: those of MCP, and what the listing tool answers and offers, in each form that an implementation may choose.

The tool definitions may be JSON in one text block or in several, fenced or not, or in `structuredContent`. They may be at any depth, also
beside other members such as instructions. An answer may have names first; then an argument of the listing tool selects a definition. The
groups are in the enum of the `group` argument, or its description or that of the tool contains their descriptions.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from conformance.workbench.inbox import Answer
    from conformance.workbench.transcript import Json

#: by method: the member of its result, and the member that identifies an entry
LISTS = {
    "resources/list": ("resources", "uri"),
    "resources/templates/list": ("resourceTemplates", "uriTemplate"),
    "prompts/list": ("prompts", "name"),
}

#: the arguments with which a listing tool may select tools by their names, and by words
BY_NAME = ("name", "names", "tool", "tools", "tool_name", "tool_names")
BY_WORDS = ("search", "query", "keywords", "words")

_FENCED = re.compile(r"^[ \t]*```[^\n]*\n(.*?)^[ \t]*```", re.DOTALL | re.MULTILINE)


def description_of(group: str) -> str:
    """The description in the configuration of each group of the checks."""
    return f"The {group} upstream"


def definitions(answer: Answer, name: str) -> list[Json]:
    """The tool definitions with this name anywhere in a listing."""
    return [tool for value in _values(answer) for tool in tools_in(value) if tool.get("name") == name]


def listing_text(answer: Answer) -> str:
    """Everything that a listing says: its text, and its `structuredContent` as JSON."""
    structured = answer.result.get("structuredContent") if isinstance(answer.result, dict) else None
    if structured is None:
        return answer.text
    return f"{answer.text}\n{json.dumps(structured, ensure_ascii=False)}"


def selecting(tool: Json, among: Iterable[str], value: str) -> Json:
    """The argument that selects `value`: the first of `among` in the definition of the listing tool. Empty if it has none."""
    properties = _properties(tool)
    for name in among:
        if isinstance(declared := properties.get(name), dict):
            return {name: [value] if declared.get("type") == "array" else value}
    return {}


def offered_groups(tool: Json, among: Iterable[str]) -> list[str]:
    """The groups that the definition of the listing tool offers; without an enum, those of `among` that it describes."""
    group = _properties(tool).get("group")
    group = group if isinstance(group, dict) else {}
    if isinstance(group.get("enum"), list):
        return [name for name in group["enum"] if isinstance(name, str)]
    text = f"{tool.get('description', '')}\n{group.get('description', '')}"
    # A short name alone may be a word of the text, so the description of the entry counts.
    places = {name: text.find(description_of(name)) for name in among}
    return sorted((name for name, place in places.items() if place >= 0), key=places.__getitem__)


def _properties(tool: Json) -> Json:
    schema = tool.get("inputSchema")
    properties = schema.get("properties") if isinstance(schema, dict) else None
    return properties if isinstance(properties, dict) else {}


def _values(answer: Answer) -> Iterator[Any]:
    """The JSON values of a listing; of the same definitions in two forms, only the first."""
    result = answer.result if isinstance(answer.result, dict) else {}
    if "structuredContent" in result:
        yield result["structuredContent"]
        return
    content = result.get("content")
    blocks = [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []
    texts = [block["text"] for block in blocks if isinstance(block.get("text"), str)]
    # A text that is cut into blocks is JSON only as a whole.
    for text in [answer.text] if _json_of(answer.text) is not None else texts:
        fenced = _FENCED.findall(text)
        yield from (_json_of(part) for part in (fenced or [text]))
    yield from (block for block in blocks if "text" not in block)


def _json_of(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # no JSON, or nested too deeply for Python
        return None


def tools_in(value: Any) -> Iterator[Json]:
    """The tool definitions anywhere in a JSON value."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, dict) and "name" in one and "inputSchema" in one:
            yield one
        elif isinstance(one, dict | list):
            members = list(one.values()) if isinstance(one, dict) else one
            left.extend(reversed(members))
