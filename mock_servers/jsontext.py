"""JSON as text: encoding for the wire, and placeholders that take values without decoding them.

A placeholder is a whole JSON string. `"$id"` stands for the id of the request, `"$arguments"` for its arguments, and
`"$arguments-as-text"` for a string with the JSON of the arguments. `fill` takes the arguments from the text of the
request. So large integers, 1.0, 1e400, escapes, spaces and repeated keys come back exactly as the client sent them.
"""

import json
import re
from typing import Any

_BLANK = re.compile(r"[ \t\n\r]*")
_PLACEHOLDER = re.compile(r'"\$(id|arguments|arguments-as-text)"')
_decoder = json.JSONDecoder()


def encode(value: Any) -> str:
    """Compact JSON, with escapes only for what UTF-8 cannot express (lone surrogates)."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"))
    return text


def fill(text: str, request_id: Any, arguments: str = "{}") -> str:
    """Replace the placeholders in JSON text, in one pass: a placeholder inside a filled-in value stays."""
    values = {"id": encode(request_id), "arguments": arguments, "arguments-as-text": encode(arguments)}
    return _PLACEHOLDER.sub(lambda found: values[found[1]], text)


def slice_of(text: str, *path: str) -> str | None:
    """The exact text of the member at `path` in the JSON object `text`, or None.

    `text` must be valid JSON. The last of repeated keys counts, as in `json.loads`.
    """
    for name in path:
        member = _members(text).get(name)
        if member is None:
            return None
        text = member
    return text


def _members(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    at = _skip_blanks(text, 0)
    if text[at : at + 1] != "{":
        return found
    at = _skip_blanks(text, at + 1)
    while text[at] == '"':
        name, at = _decoder.raw_decode(text, at)
        start = _skip_blanks(text, _skip_blanks(text, at) + 1)
        _, end = _decoder.raw_decode(text, start)
        found[name] = text[start:end]
        at = _skip_blanks(text, end)
        if text[at] == ",":
            at = _skip_blanks(text, at + 1)
    return found


def _skip_blanks(text: str, at: int) -> int:
    blanks = _BLANK.match(text, at)
    return blanks.end() if blanks else at
