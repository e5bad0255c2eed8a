"""The line of a message, and the name of a request in messages."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from conformance.workbench.timeline import shorten

if TYPE_CHECKING:
    from conformance.workbench.transcript import Json


def described(method: str, params: Json | None) -> str:
    """The method, and the group and names that tell this request from others of the same case."""
    asked = params or {}
    arguments = asked.get("arguments")
    inner = arguments if isinstance(arguments, dict) else {}
    words = [inner.get("group"), inner.get("name", asked.get("name")), asked.get("uri")]
    about = " ".join(shorten(word, 60) for word in words if isinstance(word, str))
    return f"{method} ({about})" if about else method


def line_of(message: Json) -> str:
    """The message as one line without its end, with the member `jsonrpc`."""
    return json.dumps({"jsonrpc": "2.0", **message}, ensure_ascii=False)


def bytes_of(line: str) -> bytes:
    """The line in UTF-8, with its end. Half a surrogate pair, which a name of the program can have, stays an escape of JSON."""
    return line.encode(errors="backslashreplace") + b"\n"
