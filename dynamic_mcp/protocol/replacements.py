"""Reads messages of servers with bytes that are not UTF-8. In a text, U+FFFD takes the place of such bytes, as in the official clients.

Elsewhere in a message, these bytes make it invalid. The memory is bounded: a large message with more than ``MAX_REPLACED`` such bytes
stays invalid.
"""

from __future__ import annotations

import codecs
from typing import ClassVar

import msgspec

from dynamic_mcp.protocol import jsonrpc, large
from dynamic_mcp.protocol.jsonrpc import Malformed, Message, NotUtf8, Repaired
from dynamic_mcp.protocol.pieces import Large, Line
from dynamic_mcp.tasks import Slices

#: Bytes of a large message that may be no UTF-8. Each one becomes three bytes.
MAX_REPLACED = 250_000
_SLICE = 1 << 15


class Replaced(Repaired, gc=False, frozen=True):
    """A message with U+FFFD in place of bytes that were not UTF-8."""

    oddity: ClassVar[str] = "sends text that is not UTF-8; U+FFFD takes the place of the wrong bytes"


def message_of(line: bytes) -> Message | None:
    """The message in a line that is not UTF-8; None if it is none after the replacement either."""
    try:
        return _marked(jsonrpc.parse(line.decode(errors="replace").encode()))
    except Malformed:
        return None


async def parse_any(line: Line) -> Message:
    """Decode the envelope of one message, which may be large. Raises Malformed."""
    try:
        return await large.parse_any(line)
    except NotUtf8:
        message = await _large_message_of(line) if isinstance(line, Large) else message_of(line)
        if message is None:
            raise
        return message


async def _large_message_of(line: Large) -> Message | None:
    decoder, slices = codecs.getincrementaldecoder("utf-8")("replace"), Slices()
    pieces: list[bytes] = []
    size = 0
    for piece in line.slices(_SLICE):
        pieces.append(decoder.decode(piece).encode())
        size += len(pieces[-1])
        if size > line.size + 2 * MAX_REPLACED:
            return None
        await slices.rest()
    pieces.append(decoder.decode(b"", True).encode())
    try:
        return _marked(await large.parse(Large(pieces)))
    except Malformed:
        return None


def _marked(message: Message) -> Replaced:
    return Replaced(**msgspec.structs.asdict(message))
