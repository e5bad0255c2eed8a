"""Servers whose messages cost many times their size, if the reader is careless."""

import zlib

from mock_servers.hostile.registry import hostile
from mock_servers.hostile.storms import TOOLS
from mock_servers.remote_actions import respond
from mock_servers.script import Rule, Script, flood, on_call, raw, reply

MIB = 1 << 20
_JSON = "application/json"
_EVENTS = "text/event-stream"


def compressed(piece: bytes, count: int) -> bytes:
    """A gzip stream of `count` copies of a piece, without the time to compress them all. Its checksum is missing."""
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    block = packer.compress(piece) + packer.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + block * count + b"\3\0"


def gzip(data: bytes) -> bytes:
    """The data as a whole gzip stream."""
    packer = zlib.compressobj(9, wbits=zlib.MAX_WBITS | 16)
    return packer.compress(data) + packer.flush()


def _line(*actions: dict[str, object]) -> Script:
    """A server that writes one long line when its tool `attack` is called, and then answers."""
    return Script(tools=TOOLS, on=[on_call("attack", *actions, raw("\n"), reply())])


def _body(body: bytes, kind: str = _JSON, coding: str = "gzip") -> Script:
    """A server that answers its tool `attack` with this body."""
    headers = {"Content-Type": kind, "Content-Encoding": coding}
    return Script(tools=TOOLS, on=[on_call("attack", respond(200, body, headers=headers))])


def _metadata(body: bytes, coding: str) -> Script:
    """A server that asks for a sign-in, and answers every request for metadata with this body."""
    challenge = respond(401, headers={"WWW-Authenticate": "Bearer"})
    document = respond(200, body, headers={"Content-Type": _JSON, "Content-Encoding": coding})
    return Script(tools=TOOLS, on=[Rule("POST", [challenge]), Rule("GET", [document])])


@hostile("backslashes")
def backslashes() -> Script:
    """Writes an invalid line of 24 MiB of backslashes."""
    return _line(raw('{"jsonrpc":"2.0","x":"'), flood("\\" * (1 << 16), count=384), raw('"'))


@hostile("half-emoji")
def half_emoji() -> Script:
    """Writes an invalid line of 24 MiB, with four million halves of emoji."""
    return _line(raw('{"jsonrpc":"2.0","x":"'), flood("\\ud83d", count=4 * MIB), raw('"'))


@hostile("endless-members")
def endless_members() -> Script:
    """Writes an invalid line with an object of two million members."""
    return _line(raw('{"jsonrpc":"2.0",'), flood('"$n":1,', count=2_000_000))


@hostile("not-utf8")
def not_utf8() -> Script:
    """Writes a line with 24 MiB of bytes that are not UTF-8."""
    return _line(raw('{"jsonrpc":"2.0","x":"'), flood(b"\xff" * (1 << 16), count=384), raw('"}'))


@hostile("deep")
def deep() -> Script:
    """Writes a line of 24 MiB of opening brackets."""
    return _line(
        raw('{"jsonrpc":"2.0","method":"notifications/x","params":'), flood("[" * (1 << 16), count=384)
    )


@hostile("large-line")
def large_line() -> Script:
    """Writes a line of 100 MiB, which is a valid notification."""
    return _line(
        raw('{"jsonrpc":"2.0","method":"notifications/x","params":{"x":"'),
        flood("x" * (1 << 16), count=1600),
        raw('"}}'),
    )


@hostile("array-of-objects", "http")
def array_of_objects() -> Script:
    """Answers with a JSON array of four million objects, compressed."""
    return _body(gzip(b"[" + b"{}," * (4 * MIB) + b"{}]"))


@hostile("short-data-lines", "http")
def short_data_lines() -> Script:
    """Answers with one event of three million lines of data, compressed."""
    return _body(gzip(b"data:ab\n" * (3 * MIB) + b"\n"), _EVENTS)


@hostile("compressed-answer", "http")
def compressed_answer() -> Script:
    """Answers with 100 KiB that become 1 GiB."""
    return _body(compressed(b" " * MIB, 1024))


@hostile("answer-compressed-twice", "http")
def answer_compressed_twice() -> Script:
    """Answers with an answer that is compressed twice, and becomes 1 GiB."""
    return _body(gzip(compressed(b" " * MIB, 1024)), coding="gzip, gzip")


@hostile("compressed-metadata", "http")
def compressed_metadata() -> Script:
    """Asks for a sign-in with metadata of 1 MiB that becomes 1 GiB."""
    return _metadata(compressed(b" " * MIB, 1024), "gzip")


@hostile("metadata-compressed-twice", "http")
def metadata_compressed_twice() -> Script:
    """Asks for a sign-in with metadata that is compressed twice, and becomes 1 GiB."""
    return _metadata(gzip(compressed(b" " * MIB, 1024)), "gzip, gzip")
