"""JSON-RPC 2.0 as MCP uses it: envelopes, errors, and the lines to send. This module does no input or output.

``parse`` decodes only the envelope. ``params``, ``result`` and ``error`` stay bytes, so that the proxy passes big integers, unknown
fields and spellings of numbers unchanged.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from typing import ClassVar

import msgspec
from msgspec import Raw

from dynamic_mcp.protocol.lines import EDGE, find_id
from dynamic_mcp.protocol.log_lines import is_no_log_line
from dynamic_mcp.protocol.numbers import with_valid_numbers
from dynamic_mcp.protocol.surrogates import without_lone_surrogates
from dynamic_mcp.protocol.utf8 import check_utf8

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
#: a code of MCP, up to 2025-11-25
RESOURCE_NOT_FOUND = -32002

NULL = b"null"


class Message(msgspec.Struct, gc=False, frozen=True):
    """An envelope. Absent members are empty; ``id`` keeps its spelling, so that the answer repeats it exactly."""

    jsonrpc: str = ""
    id: Raw = Raw(b"")
    method: str | None = None
    params: Raw = Raw(b"")
    result: Raw = Raw(b"")
    error: Raw = Raw(b"")


class Repaired(Message, gc=False, frozen=True):
    """A message with numbers that were no JSON and are null now."""

    oddity: ClassVar[str] = "sends numbers that are no JSON (NaN or Infinity); null takes their place"


class Outgoing(msgspec.Struct, gc=False, frozen=True):
    """A message to send: its line, and what a transport has to know about it."""

    line: bytes
    #: None for an answer
    method: str | None = None
    #: None for a notification or an answer
    id: int | None = None
    params: bytes = b""


class Malformed(Exception):
    """A line is not a JSON-RPC message. ``code`` is the error code of JSON-RPC for it, ``id`` its id or null.

    ``reason`` is for people only.
    """

    def __init__(self, code: int, reason: str, id: bytes = NULL, *, is_answer: bool = False) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.id = id
        #: whether the line looks like an answer rather than a request
        self.is_answer = is_answer


class NoJson(Malformed):
    """A line is not valid JSON."""

    def __init__(self, detail: str = "", id: bytes = NULL, *, is_answer: bool = False) -> None:
        super().__init__(PARSE_ERROR, "the message is not valid JSON" + detail, id, is_answer=is_answer)


class NotUtf8(Malformed):
    """A line has bytes that are not UTF-8."""

    def __init__(self, id: bytes = NULL, *, is_answer: bool = False) -> None:
        super().__init__(PARSE_ERROR, "the message is not valid UTF-8", id, is_answer=is_answer)


class MoreFollows(NoJson):
    """A line begins with a whole JSON value, which something follows."""


class Refusal(Exception):
    """The proxy answers a request with a JSON-RPC error; ``error`` is the error object."""

    def __init__(self, code: int, text: str, data: object = None, *, error: bytes | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.error = error_object(code, text, data) if error is None else error


#: The members of a JSON object by name, each still JSON.
decode_members = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_message = msgspec.json.Decoder(Message).decode
_decode_repaired = msgspec.json.Decoder(Repaired).decode


def parse(line: bytes) -> Message:
    """Decode the envelope of one message. Raises Malformed with the code to answer (JSON-RPC 2.0, section 5.1).

    It repairs lone surrogates, and numbers that are no JSON. It ignores a byte order mark before the message (RFC 8259, section 8.1).
    """
    line = line.removeprefix(codecs.BOM_UTF8)
    try:
        if not line.isascii():
            # The decoder does not check what stays raw, and one invalid byte there would end the stream of the receiver.
            check_utf8(line)
        message = _decode_message(line)
    except UnicodeDecodeError:
        found = _diagnose(line)
        if isinstance(found, MoreFollows):
            raise found from None
        raise NotUtf8(found.id, is_answer=found.is_answer) from None
    except (msgspec.DecodeError, RecursionError) as error:
        message = _parse_repaired(line, error)
    if message.jsonrpc != "2.0":
        id = bytes(message.id) if message.id and _is_id(message.id) else NULL
        is_answer = message.method is None and is_no_log_line(line)
        raise Malformed(INVALID_REQUEST, 'the member "jsonrpc" must be "2.0"', id, is_answer=is_answer)
    if message.id and not _is_id(message.id):
        if message.method is None and bytes(message.id) == NULL:
            return message
        raise Malformed(INVALID_REQUEST, "an id must be a string or a number")
    if message.method is None:
        if not message.id:
            raise Malformed(INVALID_REQUEST, "a message needs a method or an id")
        if not message.result and (not message.error or bytes(message.error) == NULL):
            reason = "a request needs a method, an answer a result or an error"
            raise Malformed(INVALID_REQUEST, reason, bytes(message.id), is_answer=True)
    return message


def _is_id(raw: Raw) -> bool:
    # A JSON value that starts with a quote, a digit or a minus is a string or a number.
    return bytes(raw)[:1] in b'"-0123456789'


def _parse_repaired(line: bytes, error: Exception) -> Message:
    """The envelope of an undecodable line, if only lone surrogates and numbers are wrong with it. Raises Malformed."""
    without = without_lone_surrogates(line)
    repaired = with_valid_numbers(without)
    if repaired is not line:
        try:
            if repaired is without:
                return _decode_message(repaired)
            message = _decode_repaired(repaired)
            if bytes(message.id) != NULL:
                return message
        except (msgspec.DecodeError, RecursionError) as remaining:
            error = remaining
    if isinstance(error, msgspec.ValidationError):
        raise _diagnose(repaired) from None
    # The id fails the request of an unreadable answer at once. A request that is no JSON gets an error without an id.
    begun = None if b'"method"' in line or not line.startswith(b'{"jsonrpc"') else find_id(line[:EDGE], False)
    raise no_json(error, begun or NULL, is_answer=begun is not None) from None


def no_json(error: Exception, id: bytes = NULL, *, is_answer: bool = False) -> NoJson:
    """What an error of the decoder says about a line."""
    text = str(error)
    if "trailing" in text:
        return MoreFollows(": more follows its end", id, is_answer=is_answer)
    return NoJson(": it ends too early" if "truncated" in text else "", id, is_answer=is_answer)


class _Outline(msgspec.Struct, gc=False):
    """The members that show what a line could have been. Others leave nothing in memory, however many a line has."""

    jsonrpc: Raw = Raw(b"")
    id: Raw = Raw(b"")
    method: Raw = Raw(b"")


def _diagnose(line: bytes) -> Malformed:
    """The reason why a line is not a message; the slow path."""
    try:
        outline = msgspec.json.decode(line, type=_Outline)
    except msgspec.ValidationError:
        return Malformed(INVALID_REQUEST, "a message is one JSON object")
    except (msgspec.DecodeError, RecursionError) as error:
        return no_json(error)
    is_usable = outline.id and _is_id(outline.id) and bytes(outline.id).isascii()
    id = bytes(outline.id) if is_usable else NULL
    is_answer = not outline.method and (bytes(outline.jsonrpc) == b'"2.0"' or is_no_log_line(line))
    return Malformed(INVALID_REQUEST, "the message is not a JSON-RPC 2.0 message", id, is_answer=is_answer)


def request(id: bytes, method: str, params: bytes) -> bytes:
    """The line of a request. With empty ``params`` it has no such member."""
    head = b'{"jsonrpc":"2.0","id":%b,"method":"%b"' % (id, method.encode())
    return _line(head + b',"params":', params) if params else head + b"}\n"


def with_meta(params: bytes, more: Mapping[str, object]) -> bytes:
    """The params of a request or a notification with these members in ``_meta``. Its other members stay."""
    members = decode_members(params or b"{}")
    meta = decode_members(members.get("_meta", b"{}"))
    return msgspec.json.encode({**members, "_meta": {**meta, **more}})


def notification(method: str, params: bytes = b"") -> bytes:
    """The line of a notification."""
    head = b'{"jsonrpc":"2.0","method":"%b"' % method.encode()
    return _line(head + b',"params":', params) if params else head + b"}\n"


def result(id: bytes, value: bytes) -> bytes:
    """The line of a successful answer."""
    return _line(b'{"jsonrpc":"2.0","id":%b,"result":' % id, value)


def error(id: bytes, value: bytes) -> bytes:
    """The line of an error answer; ``value`` is the error object."""
    return _line(b'{"jsonrpc":"2.0","id":%b,"error":' % id, value)


def error_object(code: int, message: str, data: object = None) -> bytes:
    """A JSON-RPC error object."""
    value: dict[str, object] = {"code": code, "message": message}
    if data is not None:
        value["data"] = data
    return msgspec.json.encode(value)


def format_size(size: int) -> str:
    """A number of bytes in the largest unit that divides it."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= factor and size % factor == 0:
            return f"{size // factor} {unit}"
    return f"{size} bytes"


def _line(head: bytes, value: bytes) -> bytes:
    """The line of a message whose last member is ``value``."""
    # `%b` takes twenty times as long as `join` for a value of a megabyte.
    return b"".join((head, one_line(value), b"}\n"))


def one_line(value: bytes) -> bytes:
    """A JSON value with spaces in place of its line ends: JSON allows them between tokens, the stdio framing does not."""
    if b"\n" in value or b"\r" in value:
        return value.replace(b"\n", b" ").replace(b"\r", b" ")
    return value
