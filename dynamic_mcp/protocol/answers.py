"""Reads answers that are almost right, so that what reaches the client is valid.

Some servers repeat an id in another spelling, or answer with an error that is no error object. Official clients wait for ever for such an
answer. A reason in any form stays readable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import msgspec
from msgspec import Raw

from dynamic_mcp.errors import UpstreamFailed, UpstreamRefused
from dynamic_mcp.protocol.ids import whole_number
from dynamic_mcp.protocol.jsonrpc import INTERNAL_ERROR, NULL, Message, decode_members, error_object
from dynamic_mcp.wording import MAX_TEXT, cut

#: An error with one of these values beside a result says that there is no error.
_NO_ERRORS = frozenset((b"null", b"false", b'""', b"0", b"{}", b"[]"))
#: Methods whose result is empty, so that any other result says the same.
_WITHOUT_RESULT = frozenset({"ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"})
_NO_REASON = "the server gave no reason"


def result_of(message: Message, method: str, on_oddity: Callable[[str], None]) -> bytes:
    """The result in the answer to a request of this method: a JSON object.

    Raises UpstreamRefused for an error, always with a valid error object, and UpstreamFailed for any other result. ``on_oddity`` reports an
    error that was not valid.
    """
    result, error = bytes(message.result), bytes(message.error)
    is_object = result[:1] == b"{"
    if error and error != NULL and not (is_object and error in _NO_ERRORS):
        valid = valid_error(error)
        if valid is not error:
            on_oddity("answers with an error that is no error object of JSON-RPC; the proxy makes it one")
        raise UpstreamRefused(valid)
    if is_object:
        return result
    if method in _WITHOUT_RESULT or (result == NULL and method.endswith("/list")):
        return b"{}"
    raise UpstreamFailed("the answer is malformed: its result is not an object")


#: The largest error in bytes whose members a repair keeps, because each member becomes an object.
MAX_REPAIRED = 1 << 17
#: Many clients keep a code in 32 bits.
_CODES = range(-(1 << 31), 1 << 31)


class _ErrorObject(msgspec.Struct):
    code: Annotated[int, msgspec.Meta(ge=_CODES.start, lt=_CODES.stop)]
    message: str


_decode_error = msgspec.json.Decoder(_ErrorObject).decode


def valid_error(error: bytes) -> bytes:
    """The error object for an error of any form: the same bytes if it is valid, and otherwise one with a code and a text.

    A code that is no number of 32 bits becomes a part of the text. The beginning of an error beyond ``MAX_REPAIRED`` is the text.
    """
    try:
        _decode_error(error)
    except msgspec.DecodeError:
        pass
    else:
        return error
    if len(error) > MAX_REPAIRED:
        return error_object(INTERNAL_ERROR, _shown(error))
    try:
        members = decode_members(error)
    except msgspec.DecodeError:
        return error_object(INTERNAL_ERROR, _text(error) or _NO_REASON)
    code, text = members.get("code", Raw(NULL)), _text(bytes(members.get("message", NULL)))
    number = whole_number(bytes(code))
    # A range compares anything but a number with each of its members.
    if number is not None and number not in _CODES:
        number = None
    if not text and members.keys() - {"code", "message", "data"}:
        # The reason may be in a member of another name.
        text = _shown(error)
    text = text or _NO_REASON
    if number is None and bytes(code) != NULL:
        text = f"{_text(bytes(code))}: {text}"
    fixed: dict[str, object] = {
        **members,
        "code": INTERNAL_ERROR if number is None else number,
        "message": text,
    }
    return msgspec.json.encode(fixed)


def _text(raw: bytes) -> str:
    """The text of a JSON value: that of a string, and JSON for anything else; empty for null."""
    if raw == NULL:
        return ""
    try:
        return msgspec.json.decode(raw, type=str)
    except msgspec.DecodeError:
        return _shown(raw)


def _shown(raw: bytes) -> str:
    return cut(raw[: 4 * MAX_TEXT].decode(errors="replace"), MAX_TEXT)
