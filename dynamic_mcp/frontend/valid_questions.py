"""Requests of servers to the client in the form that clients accept.

The proxy repairs a request if its meaning is clear, and refuses it otherwise, because some clients end their connection for a wrong one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec
from msgspec import Raw

from dynamic_mcp.protocol.jsonrpc import INVALID_PARAMS, NULL, Refusal, decode_members
from dynamic_mcp.protocol.shapes import META, WHOLE, AnyObject, Shape

_ELICIT, _SAMPLE, _ROOTS = "elicitation/create", "sampling/createMessage", "roots/list"
_FORM = Shape({"requestedSchema": AnyObject}, {"mode": str, "task": AnyObject, **META})
_URL = Shape({"url": str}, {"elicitationId": str, "task": AnyObject, **META})
_SAMPLING = Shape(
    {"messages": [Shape({"role": Literal["user", "assistant"], "content": Raw}, META)]},
    {
        "maxTokens": WHOLE,
        "modelPreferences": AnyObject,
        "systemPrompt": str,
        "includeContext": Literal["none", "thisServer", "allServers"],
        "temperature": float,
        "stopSequences": list[str],
        "metadata": AnyObject,
        "tools": list[AnyObject],
        "toolChoice": AnyObject,
        "task": AnyObject,
        **META,
    },
)
_QUESTIONS = {_ELICIT: _FORM, _SAMPLE: _SAMPLING, _ROOTS: Shape({}, META)}
_NO_FORM = Raw(b'{"type":"object","properties":{}}')


def valid_question(method: str, params: bytes, report: Callable[[str], None]) -> bytes:
    """The params of a request to the client. Raises Refusal if they cannot be repaired."""
    shape, wrong = _QUESTIONS.get(method), set[str]()
    if shape is None or (method == _ROOTS and not params):
        return params
    params = params or b"{}"
    if method == _ELICIT and params[:1] == b"{":
        members = decode_members(params)
        if bytes(members.get("mode", NULL)) == b'"url"':
            shape = _URL
        elif bytes(members.get("requestedSchema", NULL)) == NULL:
            wrong.add("requestedSchema")
            params = msgspec.json.encode({**members, "requestedSchema": _NO_FORM})
    right = shape.repaired(params, wrong)
    if right is None and method == _ROOTS:
        # Its params are optional.
        wrong.add("params")
        right = b""
    if right is None or wrong:
        does = "refuses" if right is None else "repairs"
        report(f"sends {method} with wrong or missing members, which the proxy {does}")
    if right is None:
        raise Refusal(INVALID_PARAMS, f"the params of {method} are invalid")
    return right
