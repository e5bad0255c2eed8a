"""JSON-RPC 2.0 as MCP uses it: lines, envelopes, errors. Sans-IO.

Only the envelope is decoded. ``params``, ``result`` and ``error`` stay the bytes that were received, so that big integers, unknown
fields and number spellings survive the way through the proxy.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec
from msgspec import Raw

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603

NULL = b"null"


#: Bytes of the longest message that is taken; a larger one is dropped and answered for.
MAX_MESSAGE = 128 << 20
#: A message so many times larger than the bound is taken to have no end.
ENDLESS = 16
#: Bytes of an oversized message that are kept of its beginning and of its end, to find the id in.
EDGE = 4096

#: Told about an oversized message: with its beginning when the bound is passed, and with its end (``True``) when that comes.
OnOversized = Callable[[bytes, bool], None]


def cut(chunk: bytes) -> tuple[list[bytes], bytes]:
    """The lines that end in ``chunk``, and what follows them.

    Looks for line ends with ``in``, for which the processor has instructions; ``split`` looks at one byte after the other, which takes
    thirty times as long. Of a large result almost every chunk holds one line end or none.
    """
    before, end, rest = chunk.rpartition(b"\n")
    if not end:
        return [], rest
    return before.split(b"\n") if b"\n" in before else [before], rest


class LineSplitter:
    """Cuts a byte stream into lines, in time linear in its length however it is chunked.

    An unfinished line is kept as a list of chunks: appending to one growing buffer and searching it again for each chunk would
    be quadratic, which a 64 MiB result turns into half a minute. A line longer than ``max_size`` bytes is not kept at all.
    """

    __slots__ = ("_dropped", "_edge", "_max_size", "_on_oversized", "_partial", "_size")

    def __init__(
        self, max_size: int = MAX_MESSAGE, on_oversized: OnOversized = lambda edge, last: None
    ) -> None:
        self._max_size = max_size
        self._on_oversized = on_oversized
        self._partial: list[bytes] = []
        self._size = 0
        self._dropped = 0
        #: the last bytes of a line that is being dropped, None while a line is being kept
        self._edge: bytes | None = None

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that ``chunk`` completes, without their line ends; blank lines are left out."""
        lines, rest = cut(chunk)
        if lines and (self._partial or self._edge is not None):
            self._keep(lines[0])
            lines[0] = self._take()
        if rest:
            self._keep(rest)
        return [line for line in lines if line and not line.isspace()]

    @property
    def is_endless(self) -> bool:
        """Whether the line that is being dropped will not end: nothing that comes after it can be told from it."""
        return self._dropped > ENDLESS * self._max_size

    def rest(self) -> bytes:
        """What came after the last line end: a last message that the peer did not terminate."""
        rest = self._take()
        return b"" if rest.isspace() else rest

    def _keep(self, part: bytes) -> None:
        if self._edge is not None:
            self._edge = (self._edge + part[-EDGE:])[-EDGE:]
            self._dropped += len(part)
            return
        self._partial.append(part)
        self._size += len(part)
        if self._size > self._max_size:
            line = b"".join(self._partial)
            self._partial.clear()
            self._edge = line[-EDGE:]
            self._on_oversized(line[:EDGE], False)

    def _take(self) -> bytes:
        """The unfinished line as it is now; a dropped one is empty."""
        line = b"".join(self._partial)
        self._partial.clear()
        self._size = self._dropped = 0
        edge, self._edge = self._edge, None
        if edge is not None:
            self._on_oversized(edge, True)
        return line


_ID = rb"(-?\d+|\"[^\"\\]*\")"
_ID_AT_START = re.compile(rb'\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*' + _ID + rb"\s*,")
_ID_AT_END = re.compile(rb'(?<!\\)"id"\s*:\s*' + _ID + rb'\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*$')


def id_at(edge: bytes, last: bool) -> bytes | None:
    """The id of an oversized message, where the beginning or the end of it shows one beyond doubt.

    Everything before a first or after a last member of the outermost object is known, so that text inside a string or a
    nested object is never taken for the id.
    """
    found = _ID_AT_END.search(edge) if last else _ID_AT_START.match(edge)
    return found and found[1]


class Message(msgspec.Struct, gc=False, frozen=True):
    """An envelope. Absent members are empty; ``id`` is kept as it was written, so that it can be echoed exactly."""

    jsonrpc: str = ""
    id: Raw = Raw(b"")
    method: str | None = None
    params: Raw = Raw(b"")
    result: Raw = Raw(b"")
    error: Raw = Raw(b"")


class Outgoing(msgspec.Struct, gc=False, frozen=True):
    """A message that is sent: its line, and what a transport needs to know about it."""

    line: bytes
    #: None for the answer to a request of the other side
    method: str | None = None
    #: None for a notification or an answer
    id: int | None = None
    params: bytes = b""


class Malformed(Exception):
    """A line that is no JSON-RPC message: the error code that JSON-RPC gives it, and its id where one could be read."""

    def __init__(self, code: int, what: str, id: bytes = NULL, *, answer: bool = False) -> None:
        super().__init__(what)
        self.code = code
        self.what = what
        self.id = id
        #: true where it looks like the answer to a request rather than a request
        self.answer = answer


class Refusal(Exception):
    """A request that is answered with a JSON-RPC error; ``error`` is the error object."""

    def __init__(self, code: int, text: str, data: object = None, *, error: bytes | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.error = error_object(code, text, data) if error is None else error


_decode_message = msgspec.json.Decoder(Message).decode


def parse(line: bytes) -> Message:
    """Decode the envelope of one message. Raises Malformed, which says how to answer it (JSON-RPC 2.0, section 5.1)."""
    try:
        if not line.isascii():
            # The decoder does not look at what stays raw, and one wrong byte of it would end the stream of whoever gets it.
            line.decode()
        message = _decode_message(line)
    except UnicodeDecodeError:
        found = _diagnose(line.decode(errors="replace").encode())
        raise Malformed(PARSE_ERROR, "the line is not valid UTF-8", found.id, answer=found.answer) from None
    except (msgspec.DecodeError, RecursionError):
        whole = _without_lone_surrogates(line)
        if whole == line:
            raise _diagnose(line) from None
        return parse(whole)
    if message.jsonrpc != "2.0":
        readable = bytes(message.id) if message.id and _is_id(message.id) else NULL
        answer = message.method is None
        raise Malformed(INVALID_REQUEST, 'the member "jsonrpc" must be "2.0"', readable, answer=answer)
    if message.id and not _is_id(message.id):
        if message.method is None and bytes(message.id) == NULL:
            return message
        raise Malformed(INVALID_REQUEST, "an id must be a string or a number")
    if message.method is None:
        if not message.id:
            raise Malformed(INVALID_REQUEST, "a message needs a method or an id")
        if not message.result and (not message.error or bytes(message.error) == NULL):
            what = "a request needs a method, an answer a result or an error"
            raise Malformed(INVALID_REQUEST, what, bytes(message.id), answer=True)
    return message


def _is_id(raw: Raw) -> bool:
    # A JSON value that starts with a quote, a digit or a minus is a string or a number.
    return bytes(raw)[:1] in b'"-0123456789'


_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


def _without_lone_surrogates(line: bytes) -> bytes:
    """``line`` with the replacement character for each escape of half a character, as JavaScript writes a cut emoji."""
    return _ESCAPE.sub(lambda found: rb"\ufffd" if found[1] else found[0], line)


def _diagnose(line: bytes) -> Malformed:
    """Say what is wrong with a line that is not a message; slow path."""
    try:
        members = msgspec.json.decode(line, type=dict[str, Raw])
    except msgspec.ValidationError:
        return Malformed(INVALID_REQUEST, "a message is one JSON object")
    except (msgspec.DecodeError, RecursionError):
        return Malformed(PARSE_ERROR, "the line is not valid JSON")
    id = members.get("id", Raw(b""))
    readable = bytes(id) if id and _is_id(id) else NULL
    answer = "method" not in members
    return Malformed(INVALID_REQUEST, "the message is not a JSON-RPC 2.0 message", readable, answer=answer)


def request(id: bytes, method: str, params: bytes) -> bytes:
    """The line of a request. ``params`` may be empty: the member is then left out."""
    head = b'{"jsonrpc":"2.0","id":%b,"method":"%b"' % (id, method.encode())
    return _line(head + b',"params":', params) if params else head + b"}\n"


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


def readable(size: int) -> str:
    """A number of bytes for people: in the largest unit that it is a multiple of."""
    for unit, one in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= one and size % one == 0:
            return f"{size // one} {unit}"
    return f"{size} bytes"


def _line(head: bytes, value: bytes) -> bytes:
    """A line of what comes before a JSON value, the value, and the end of the message."""
    # Joined, not formatted: `%b` takes twenty times as long for a value of a megabyte.
    return b"".join((head, one_line(value), b"}\n"))


def one_line(value: bytes) -> bytes:
    """``value`` without raw line ends, which JSON allows between tokens and the stdio framing does not."""
    if b"\n" in value or b"\r" in value:
        return msgspec.json.format(value, indent=-1)
    return value
