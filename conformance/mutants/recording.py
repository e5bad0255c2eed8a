"""The messages of the reference with its client and its stdio upstreams while a check runs, and which changes would alter one of them.

A recording is a file of one process: for each message, a line of three words (direction, connection, length), then the message itself.
"""

from __future__ import annotations

import fcntl
import io
import json
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import msgspec

from conformance.mutants import wire

if TYPE_CHECKING:
    from collections.abc import Callable

#: the end of the name of a recording
SUFFIX = ".messages"
#: Bytes. A longer recording is not kept, and counts as one that every change alters.
_LONGEST = 4 << 20

_DIRECTIONS = {
    "from_client": wire.from_client,
    "to_client": wire.to_client,
    "from_upstream": wire.from_stdio_upstreams,
    "to_upstream": wire.to_stdio_upstreams,
}
_AT_END = {name: direction.at_end for name, direction in _DIRECTIONS.items()}
#: the other direction of each outward one
_INWARD = {"to_client": "from_client", "to_upstream": "from_upstream"}


@dataclass(frozen=True)
class Passed:
    """A line that passed, in one of the directions of a connection."""

    direction: str
    connection: int
    line: bytes


class _Altered(Exception):
    """A change altered a message, sent one, or held one back."""


def record(check: str) -> None:
    """Write all messages of this process to a file whose name begins with CHECK, a path."""
    sink = opened(f"{check}.{os.getpid()}{SUFFIX}")

    def note(name: str, line: bytes, way: wire.Way) -> bytes:
        if os.fstat(sink).st_size <= _LONGEST:
            # Both ways of a connection have the same place.
            inward, one = (_INWARD[name], way.back) if name in _INWARD else (name, way)
            connection = _DIRECTIONS[inward].ways.index(one)
            os.write(sink, f"{name} {connection} {len(line)}\n".encode() + line)
        return line

    for name, direction in _DIRECTIONS.items():
        direction.lines(partial(note, name))


def opened(file: str) -> int:
    """A descriptor that appends to the file, and is not one of the standard three if the process began without them."""
    sink = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        return fcntl.fcntl(sink, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(sink)


def read(file: Path) -> list[Passed] | None:
    """The messages of a recording; None if it is too long."""
    if file.stat().st_size > _LONGEST:
        return None
    found = []
    with file.open("rb") as entries:
        for head in entries:
            direction, connection, length = head.decode().split()
            line = entries.read(int(length))
            # SIGKILL can cut the last one.
            if len(line) == int(length):
                found.append(Passed(direction, int(connection), line))
    return found


def changes_messages() -> bool:
    """Whether a mutant that was applied to this process changes messages, and does so only while they pass."""
    return any(direction.changes for direction in _DIRECTIONS.values()) and not any(
        _DIRECTIONS[name].at_end is not at_end for name, at_end in _AT_END.items()
    )


def altered(apply: Callable[[], None], passed: list[Passed]) -> bool:
    """Whether the changes of a mutant would alter one of the messages, send another one, or hold one back.

    The process is not fit for anything else afterwards.
    """
    wire.wait_until = _holds
    wire.later = _alters  # type: ignore[assignment]
    try:
        _replay(apply, passed)
    except Exception:  # it makes no difference what a change does where it would do something
        return True
    return False


def _replay(apply: Callable[[], None], passed: list[Passed]) -> None:
    for direction in _DIRECTIONS.values():
        direction.ways.clear()
        direction.changes.clear()
    apply()
    ways: dict[tuple[str, int], wire.Way] = {}
    for outward, inward in _INWARD.items():
        connections = {one.connection for one in passed if one.direction in (inward, outward)}
        for connection in sorted(connections):
            one, other = (_DIRECTIONS[name].opened(_Sink()) for name in (inward, outward))
            one.back, other.back = other, one
            ways[inward, connection], ways[outward, connection] = one, other
    for line in passed:
        new = ways[line.direction, line.connection].changed(line.line)
        if new != [line.line] and not (
            len(new) == 1
            and isinstance(new[0], dict)
            and _members(msgspec.json.encode(new[0])) == _members(line.line)
        ):
            raise _Altered


def _members(message: bytes) -> object:
    """What a message says, with each number as it stands there: a change that writes it anew alters nothing by that."""
    return json.loads(message, parse_int=str, parse_float=str)


class _Sink(io.BytesIO):
    """The receiver of a replayed connection, which gets nothing, because only a change would send something."""

    def write(self, _: object) -> NoReturn:
        raise _Altered


def _holds(condition: Callable[[], bool]) -> None:
    if not condition():
        raise _Altered


def _alters(*_: object) -> NoReturn:
    raise _Altered
