"""Requests of servers to the client in the form that clients accept.

The proxy repairs a request if its meaning is clear, and refuses it otherwise, because some clients end their connection for a wrong one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec
from msgspec import Raw

from dynamic_mcp.protocol.jsonrpc import INVALID_PARAMS, NULL, Refusal, decode_members
from dynamic_mcp.protocol.known_members import KnownMembers
from dynamic_mcp.protocol.shapes import FRACTION, META, WHOLE, AnyObject, Shape

_ELICIT, _SAMPLE, _ROOTS = "elicitation/create", "sampling/createMessage", "roots/list"
_SCHEMA = Shape({"type": Literal["object"], "properties": AnyObject}, {"required": list[str]})
_FORM = Shape({"requestedSchema": _SCHEMA}, {"mode": str, "task": AnyObject, **META})
_URL = Shape({"url": str}, {"elicitationId": str, "task": AnyObject, **META})
_CONTENT = AnyObject | list[AnyObject]
_PREFERENCES = Shape(
    {},
    {
        "hints": [Shape({}, {"name": str})],
        "costPriority": FRACTION,
        "speedPriority": FRACTION,
        "intelligencePriority": FRACTION,
    },
)
_SAMPLING = Shape(
    {
        "messages": [Shape({"role": Literal["user", "assistant"], "content": _CONTENT}, META)],
        "maxTokens": WHOLE,
    },
    {
        "modelPreferences": _PREFERENCES,
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
ELICITATION = KnownMembers("message", *_FORM.names, *(_URL.names - _FORM.names))
_KNOWN = {_ELICIT: ELICITATION, _SAMPLE: KnownMembers(*_SAMPLING.names), _ROOTS: KnownMembers(*META)}
#: The bound of a sampling request that has none. The client may sample fewer tokens.
_MAX_TOKENS = 4096
_NO_FORM = {"type": Raw(b'"object"'), "properties": Raw(b"{}")}


class _Sampling(msgspec.Struct):
    messages: list[Raw]


_decode_messages = msgspec.json.Decoder(_Sampling).decode


def valid_question(method: str, params: bytes, report: Callable[[str], None]) -> bytes:
    """The params of a request to the client. Raises Refusal if they cannot be repaired."""
    shape, wrong = _QUESTIONS.get(method), set[str]()
    if shape is None or (method == _ROOTS and not params):
        return params
    params = params or b"{}"
    if params[:1] == b"{" and _KNOWN[method].has_many_others(params):
        raise Refusal(INVALID_PARAMS, f"the params of {method} have too many unknown members")
    if method == _ELICIT and params[:1] == b"{":
        members = decode_members(params)
        if bytes(members.get("mode", NULL)) == b'"url"':
            shape = _URL
        elif (schema := _whole_schema(bytes(members.get("requestedSchema", NULL)))) is not None:
            wrong.add("requestedSchema")
            params = msgspec.json.encode({**members, "requestedSchema": schema})
    right = shape.repaired(params, wrong)
    if method == _SAMPLE and "messages" not in wrong and not wrong.isdisjoint(("maxTokens", "content")):
        right = shape.repaired(_whole_sampling(params, wrong), wrong)
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


def _whole_schema(schema: bytes) -> dict[str, Raw] | None:
    """The schema of a form with the members that it has to have. None if it has them, or is no object."""
    members = decode_members(schema) if schema[:1] == b"{" else {}
    if (schema[:1] != b"{" and schema != NULL) or _NO_FORM.keys() <= members.keys():
        return None
    return {**_NO_FORM, **members}


def _whole_sampling(params: bytes, wrong: set[str]) -> bytes:
    """The params of a sampling request, with a bound if it is wrong, and with a block for each message whose content is a text."""
    members: dict[str, object] = {**decode_members(params)}
    if "maxTokens" in wrong:
        members["maxTokens"] = _MAX_TOKENS
    if "content" in wrong:
        members["messages"] = [*map(_with_block, _decode_messages(params).messages)]
    return msgspec.json.encode(members)


def _with_block(message: Raw) -> Raw:
    if bytes(message)[:1] != b"{":
        return message
    members = decode_members(message)
    text = members.get("content", b"")
    if bytes(text)[:1] != b'"':
        return message
    block = Raw(msgspec.json.encode({"type": "text", "text": text}))
    return Raw(msgspec.json.encode({**members, "content": block}))
