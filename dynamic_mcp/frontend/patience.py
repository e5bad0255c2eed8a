"""How long a list of all groups, or a search in all groups, waits for each group.

A group whose part comes later does not delay the others. Its listing goes on, and ``on_late`` tells when it is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection

import anyio

from dynamic_mcp.errors import UpstreamError
from dynamic_mcp.groups.group import Group
from dynamic_mcp.groups.listing import Freshness, Kind, Listing
from dynamic_mcp.log import log

#: Seconds to wait for a group that has let another list wait, and still does.
KNOWN_AS_LATE = 0.25


async def listing_within(group: Group, kind: Kind, timeout: float, freshness: Freshness) -> Listing | None:
    """The group's part of a list; None if it does not come in ``timeout`` seconds, its start included."""
    with anyio.move_on_after(timeout):
        try:
            return await group.listing(kind, freshness=freshness)
        except UpstreamError as error:
            log.debug("group %s is missing in %s: %s", group.name, kind.method, error)
    return None


class Patience:
    """Waits for the parts of lists. ``on_late`` gets the kind of a part that came after its list."""

    def __init__(self, on_late: Callable[[Kind], None]) -> None:
        self._on_late = on_late
        self._late: dict[tuple[Group, Kind], asyncio.Task[Listing | None]] = {}

    async def listing(
        self,
        group: Group,
        kind: Kind,
        freshness: Freshness = Freshness.REQUESTED,
        within: float | None = None,
    ) -> Listing | None:
        """The group's part of a list, or its last one if a new one takes longer than ``timeout.lists`` of the group, or ``within``.

        None if there is none, or the new one fails.
        """
        if (
            freshness in (Freshness.KNOWN, Freshness.COMPARED)
            and (certain := group.certain_listing(kind)) is not None
        ):
            return certain
        timeout = group.timeout(kind)
        wait = min(group.server.timeouts.lists, timeout if within is None else within)
        if any(late is group for late, _ in self._late):
            wait = min(wait, KNOWN_AS_LATE)
        task = asyncio.get_running_loop().create_task(listing_within(group, kind, timeout, freshness))
        try:
            await asyncio.wait([task], timeout=wait)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if task.done():
            return task.result()
        if (group, kind) in self._late:
            # The earlier task gets the same listing.
            task.cancel()
        else:
            self._late[group, kind] = task
            task.add_done_callback(lambda done: self._arrived(group, kind, done))
        return group.cached_listing(kind)

    def waits_for(self, group: Group, kind: Kind) -> bool:
        """Whether the group's part is late and may still come."""
        return (group, kind) in self._late

    async def arrivals(
        self, parts: Collection[tuple[Group, Kind]], timeout: float
    ) -> AsyncGenerator[None, None]:
        """Yield whenever one of these late parts has come, also before this call, for ``timeout`` seconds at most."""
        deadline = asyncio.get_running_loop().time() + timeout
        waiting = {self._late[part] for part in parts if part in self._late}
        if len(waiting) < len(parts):
            yield
        while waiting and (seconds := deadline - asyncio.get_running_loop().time()) > 0:
            done, waiting = await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if any(not task.cancelled() and task.result() is not None for task in done):
                yield

    def close(self) -> None:
        """Wait no longer."""
        for task in self._late.values():
            task.cancel()

    def _arrived(self, group: Group, kind: Kind, task: asyncio.Task[Listing | None]) -> None:
        del self._late[group, kind]
        if not task.cancelled() and task.result() is not None:
            self._on_late(kind)
