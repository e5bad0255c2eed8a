"""The kind of a request over HTTP: some servers refuse a token for one kind and take it for others."""

from __future__ import annotations

import msgspec

#: The most characters of a name.
MAX_NAME = 200


class _Params(msgspec.Struct):
    name: str = ""


class _Named(msgspec.Struct):
    params: _Params


class _Message(msgspec.Struct):
    method: str = "answer"


def kind_of(method: str, body: bytes | None) -> str:
    """The JSON-RPC method of a POST, with the name of the tool or the prompt; without a body, the HTTP ``method``."""
    if body is None:
        return method
    try:
        method = msgspec.json.decode(body, type=_Message).method
        return f"{method} {msgspec.json.decode(body, type=_Named).params.name[:MAX_NAME]}".rstrip()
    except msgspec.DecodeError:
        return method
