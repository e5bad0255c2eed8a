"""The pages of a list, for a client that takes messages up to a size. For any other client, each list is one page.

A cursor says how many definitions come before the page. So the proxy keeps nothing for a client. If the list changes between two pages, the
client can miss a definition or get one twice. Then it also gets the notification that the list changed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec
from msgspec import Raw

from dynamic_mcp.frontend.call import cursor_of, invalid_cursor

_CURSOR = re.compile(r"after-([1-9][0-9]{0,9})")
#: The part of a message that is left for what surrounds the definitions.
_AROUND = 1 / 8


def start_of(params: Raw, limit: int | None) -> int:
    """The number of definitions before the requested page. Raises Refusal for a cursor that the proxy did not give."""
    cursor = cursor_of(params)
    if cursor is None:
        return 0
    try:
        found = _CURSOR.fullmatch(msgspec.json.decode(cursor, type=str))
    except msgspec.ValidationError:
        found = None
    if found is None or limit is None:
        raise invalid_cursor()
    return int(found[1])


def page(definitions: Sequence[bytes], start: int, limit: int | None) -> tuple[list[bytes], bytes, int]:
    """A page: its definitions, the member ``nextCursor`` (empty on the last page), and how many were too large for any page."""
    if limit is None:
        return [*definitions], b"", 0
    room = limit - int(limit * _AROUND)
    shown: list[bytes] = []
    size = left_out = 0
    for at in range(start, len(definitions)):
        length = len(definitions[at]) + 1
        if length > room:
            left_out += 1
        elif size + length > room:
            return shown, b',"nextCursor":"after-%d"' % at, left_out
        else:
            shown.append(definitions[at])
            size += length
    return shown, b"", left_out
