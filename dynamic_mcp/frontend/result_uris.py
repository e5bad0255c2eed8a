"""Which group gave a URI in a result: a resource link, an embedded resource, or a part of a resource.

A server need not list the resources to which its results link (MCP 2025-11-25, server/tools, "Resource Links"), so only the result says
where such a URI leads. The first group that gave a URI keeps it, as long as ``ResultUris`` remembers it, so that no other group can take
it over. Each group has a bound of its own, so that none can push out the URIs of another one.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Container
from itertools import count

import msgspec

from dynamic_mcp.frontend.call import Call
from dynamic_mcp.frontend.exchange import Handler
from dynamic_mcp.groups.uris import normal_uri
from dynamic_mcp.protocol.outline import without_long_texts
from dynamic_mcp.tasks import Slices

#: URIs of one group that are remembered, and their characters together; members of one result that count.
MAX_OF_GROUP = 1024
MAX_CHARACTERS = 1 << 20
MAX_OF_RESULT = 1024
#: The longest URI of a link.
MAX_URI = 4096

_KEY = b'"uri"'
#: takes two thirds of the time of ``in`` and ``find`` for a long text
_find_key = re.compile(_KEY).search
_VALUE = re.compile(rb'[ \t\r\n]{0,64}:[ \t\r\n]{0,64}("(?:[^"\\]|\\.){1,%d}+")' % MAX_URI)
#: Bytes that one search of a long result covers.
_WINDOW = 1 << 20


class ResultUris:
    """Remembers the URIs in the results of the groups; ``groups`` has the current ones."""

    def __init__(self, groups: Container[str]) -> None:
        self._groups = groups
        self._numbers = count()
        #: by group: the normal forms of its URIs, the last one given at the end, with the numbers of their first occurrence
        self._given: dict[str, dict[str, int]] = {}

    def giver(self, uri: str) -> str | None:
        """The group that gave this URI, or an equivalent one, first. None without one."""
        uri = normal_uri(uri)
        numbers = {
            group: given[uri]
            for group, given in self._given.items()
            if uri in given and group in self._groups
        }
        return min(numbers, key=lambda group: numbers[group], default=None)

    def noting(self, handler: Handler) -> Handler:
        """A handler that also remembers the URIs in its results."""

        async def run(call: Call) -> bytes:
            result = await handler(call)
            # Most results have none, which this finds out in a tenth of the time.
            outline = without_long_texts(result)
            if call.group is not None and (len(outline) > _WINDOW or _find_key(outline)):
                await self.note(call.group.name, outline)
            return result

        return run

    async def note(self, group: str, result: bytes) -> None:
        """Remember the URIs in a result of this group."""
        found = [normal_uri(uri) async for uri in _uris_of(result)]
        if not found:
            return
        for gone in [name for name in self._given if name not in self._groups]:
            del self._given[gone]
        given = self._given.setdefault(group, {})
        for uri in found:
            number = given.pop(uri, None)
            given[uri] = next(self._numbers) if number is None else number
        size = sum(map(len, given))
        while len(given) > MAX_OF_GROUP or size > MAX_CHARACTERS:
            oldest = next(iter(given))
            size -= len(oldest)
            del given[oldest]


async def _uris_of(result: bytes) -> AsyncIterator[str]:
    """The values of the members ``uri``. Nothing is decoded around them, because a result can be large.

    Inside a text, JSON escapes the quotes, so the bytes of the name occur only as a name or a value of its own.
    """
    slices, at, found = Slices(), 0, 0
    while at < len(result) and found < MAX_OF_RESULT:
        key = _find_key(result, at, at + _WINDOW)
        if key is None:
            at += _WINDOW - len(_KEY) + 1
        else:
            at = key.end()
            found += 1
            if (value := _VALUE.match(result, at)) is not None:
                yield msgspec.json.decode(value[1], type=str)
        await slices.rest()
