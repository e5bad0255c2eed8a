"""The ids of requests: when two are equal, the id in a cancellation, and ids that no other connection has.

Some programs keep numbers as doubles: they write 7.0 for 7, and 4.36E15 for a large number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import count

import msgspec
from msgspec import Raw

#: Above the first id of a process. Most ids have six digits, which every program that keeps numbers as doubles writes in full.
_MAX_FIRST_ID = 900_000

_decode_id = msgspec.json.Decoder(str | int | float).decode

#: A whole number: also as text, with a fraction, and with an exponent.
_WHOLE = re.compile(rb'("?)(-?\d{1,20})(?:\.(\d{1,20}))?(?:[eE]\+?(\d{1,2}))?\1')


class _Cancelled(msgspec.Struct):
    id: Raw = msgspec.field(name="requestId", default=Raw(b""))


_decode_cancelled = msgspec.json.Decoder(_Cancelled).decode


def cancelled_id(params: bytes | Raw) -> bytes:
    """The id, as JSON, in the params of ``notifications/cancelled``; empty if there is none."""
    try:
        return bytes(_decode_cancelled(params).id)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return b""


def id_key(raw: bytes | Raw) -> object:
    """The key of an id that the other side chose. ``1`` and ``1.0`` have one key, as have ``"\\u0061"`` and ``"a"``, but not ``"1"``."""
    try:
        return _decode_id(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # No Python number holds the id 1e400, no text a lone surrogate, and a cancellation may name any JSON value.
        return bytes(raw)


def own_id_key(raw: bytes) -> object:
    """The key of an id that the proxy chose, as the other side repeats it. Here ``1`` and ``"1"`` have one key."""
    number = whole_number(raw)
    return id_key(raw) if number is None else number


def whole_number(raw: bytes) -> int | None:
    """The whole number that JSON spells, for example 7, 7.0, 0.7E1 or "7"; None for anything else."""
    if raw.isdigit() and len(raw) < 20:
        # Almost every id is one, and takes half the time without the search.
        return int(raw)
    if (found := _WHOLE.fullmatch(raw)) is None:
        return None
    fraction, exponent = (found[3] or b"").rstrip(b"0"), int(found[4] or 0)
    return int(found[2] + fraction.ljust(exponent, b"0")) if len(fraction) <= exponent else None


@cache
def ids_of_this_process() -> Iterator[int]:
    """Ids that all connections of this process share. So no connection has an id of another one, and hardly one of an earlier process.

    A server can mix its connections up, and a client can answer a question of an earlier process.
    """
    # Most proxies need none of this.
    import secrets

    return count(1 + secrets.randbelow(_MAX_FIRST_ID))
