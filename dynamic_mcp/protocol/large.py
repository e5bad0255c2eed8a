"""Reads large messages without a wait for others: the event loop runs between two slices, and threads copy what is longer.

``parse`` is for one message what ``jsonrpc.parse`` is for a small one, and ``elements_of`` for an array. Two things differ. An error does
not say what an invalid message could have been, and an id has at most ``MAX_ID`` bytes.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import cast

import msgspec
from anyio import to_thread
from msgspec import Raw

from dynamic_mcp.protocol import batch, jsonrpc
from dynamic_mcp.protocol.batch import MAX_BATCH
from dynamic_mcp.protocol.jsonrpc import INVALID_REQUEST, Malformed, Message, NoJson, NotUtf8, Repaired
from dynamic_mcp.protocol.lines import EDGE, find_id
from dynamic_mcp.protocol.pieces import LARGE, Large, Line, Part, edges_of
from dynamic_mcp.protocol.scan import SLICE, Invalid, Scan, TooManyMembers

#: Seconds that one message works before other callbacks run.
SHARE = 0.001
#: The members of a message.
MAX_MEMBERS = 1000
#: Bytes whose copy takes several milliseconds. Threads have memory of their own, so smaller copies would cost more there.
SLOW_COPY = 8 << 20
#: Bytes of a member that the decoder reads as a whole.
MAX_SMALL = 1 << 16
#: Bytes of the members that name a message: its id and its method.
MAX_ID = 2 << 20

_NAME = re.compile(rb'\s*("(?:[^"\\]|\\.)*")\s*:\s*', re.DOTALL)
_VALUES = ("params", "result", "error")
_KNOWN = ("jsonrpc", "id", "method", *_VALUES)


async def parse(line: Large) -> Message:
    """Decode the envelope of one message. Raises Malformed."""
    scan = await _scan(line, MAX_MEMBERS)
    kind, members = scan.kind, scan.members
    if kind != b"{":
        raise Malformed(INVALID_REQUEST, "a message is one JSON object")
    envelope: dict[str, bytes] = {}
    values: dict[str, list[Part]] = {}
    for member in members:
        # A longer name is none that the proxy reads.
        found = _NAME.match(line.gather(member, EDGE))
        name = "" if found is None else msgspec.json.decode(found[1], type=str)
        if found is None or name not in _KNOWN:
            continue
        values.pop(name, None)
        if _size(member) <= (MAX_SMALL if name in _VALUES else MAX_ID):
            envelope[name] = line.gather(member)
        else:
            # An object cannot be an id or a method, so such a message is malformed.
            envelope[name] = found[1] + b":{}"
            values[name] = _after(member, found.end())
    message = jsonrpc.parse(b"{" + b",".join(envelope.values()) + b"}")
    if scan.has_other_numbers:
        message = Repaired(**msgspec.structs.asdict(message))
    return await _with_values(message, line, values)


async def parse_any(line: Line) -> Message:
    """Decode the envelope of one message, which may be large. Raises Malformed."""
    return await parse(line) if isinstance(line, Large) else jsonrpc.parse(line)


async def elements_of(line: Large) -> list[Line]:
    """The messages of a JSON array. Raises Malformed, also for an empty array and one of more than ``MAX_BATCH`` messages."""
    scan = await _scan(line, MAX_BATCH)
    kind, elements = scan.kind, scan.members
    if kind != b"[":
        raise Malformed(INVALID_REQUEST, "a batch is a JSON array")
    found: list[Line] = []
    for element in elements:
        if _size(element) <= LARGE:
            found.append(line.gather(element))
        else:
            found.append(Large([*line.pieces_of(element)]))
    if len(found) == 1 and not isinstance(found[0], Large) and found[0].isspace():
        raise Malformed(INVALID_REQUEST, "a batch must not be empty")
    return found


async def elements_of_any(line: Line) -> Iterable[Line]:
    """The messages of a JSON array, which may be large. Raises Malformed."""
    return await elements_of(line) if isinstance(line, Large) else batch.elements_of(line)


async def _scan(line: Large, max_members: int) -> Scan:
    scan = Scan(max_members)
    end = time.monotonic() + SHARE
    try:
        for piece in line.slices(SLICE):
            scan.feed(piece)
            if time.monotonic() >= end:
                await asyncio.sleep(0)
                end = time.monotonic() + SHARE
        scan.finish()
    except UnicodeDecodeError:
        first, last = edges_of(line, EDGE)
        id = find_id(first, False) or find_id(last, True) or jsonrpc.NULL
        is_answer = b'"method"' not in first and b'"method"' not in last
        raise NotUtf8(id, is_answer=is_answer) from None
    except TooManyMembers:
        reason = f"a message of this size has at most {max_members} members, and a batch as many messages"
        raise Malformed(INVALID_REQUEST, reason) from None
    except Invalid:
        if scan.kind not in b"{[":
            raise Malformed(INVALID_REQUEST, "a message is one JSON object") from None
        raise NoJson() from None
    return scan


async def _with_values(message: Message, line: Large, values: dict[str, list[Part]]) -> Message:
    found = {}
    for name in _VALUES:
        if name in values:
            found[name] = await beside_the_loop(_size(values[name]), partial(line.gather, values[name]))
    if not found:
        return message
    # ``bytes`` of a Raw is a copy, and of bytes none.
    result, error = found.get("result", message.result), found.get("error", message.error)
    params = Raw(found["params"]) if "params" in found else message.params
    return type(message)(
        message.jsonrpc, message.id, message.method, params, cast("Raw", result), cast("Raw", error)
    )


async def beside_the_loop(size: int, join: Callable[[], bytes]) -> bytes:
    """The result of ``join``, which copies bytes of this size. A thread copies many, because ``bytes.join`` lets others run."""
    return join() if size < SLOW_COPY else await to_thread.run_sync(join)


def _size(member: list[Part]) -> int:
    return sum(part[1] - part[0] if isinstance(part, tuple) else len(part) for part in member)


def _after(member: list[Part], size: int) -> list[Part]:
    """The member without its first bytes."""
    rest: list[Part] = []
    for part in member:
        length = _size([part])
        cut = min(size, length)
        size -= cut
        if cut < length:
            rest.append((part[0] + cut, part[1]) if isinstance(part, tuple) else part[cut:])
    return rest
