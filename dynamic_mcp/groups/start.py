"""The start of a connection: its turn, and then the handshake and the list of tools within ``timeout.start``."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from dynamic_mcp.config.model import Server
from dynamic_mcp.errors import SignInNeeded, UpstreamFailed, UpstreamTimeout
from dynamic_mcp.groups.listing import TOOLS, list_all
from dynamic_mcp.groups.listing_cache import ListingCache
from dynamic_mcp.groups.state import GroupState
from dynamic_mcp.upstream.base import Connector, Upstream, not_started_within
from dynamic_mcp.upstream.handshake import NoCommonVersion


class Starter:
    """Starts the connections of one group, one after the other."""

    def __init__(self, connector: Connector, state: GroupState, listings: ListingCache) -> None:
        self._connector = connector
        self._state = state
        self._listings = listings
        #: whether the next connection begins with ``initialize``, without the probe
        self._skip_probe = False

    async def open(self, upstream: Upstream, server: Server, last_output: Callable[[], str]) -> None:
        """Open a connection and list the tools. ``last_output`` tells callers what the server says. Raises UpstreamError."""
        # If this attempt fails, the probe may be the reason, or its absence. A success sets the right value.
        skip_probe, self._skip_probe = self._skip_probe, not self._skip_probe
        limit = server.timeouts.start
        async with self._connector.turn(self._state.is_wanted):
            with self._state.attempt(last_output):
                try:
                    with anyio.fail_after(limit):
                        await upstream.open(limit, skip_probe=skip_probe)
                        self._skip_probe = not upstream.modern
                        if server.features.tools:
                            await self._listings.fill(TOOLS, lambda: list_all(upstream, TOOLS, limit))
                except TimeoutError:
                    raise UpstreamFailed(not_started_within(limit)) from None
                except UpstreamTimeout as error:
                    raise error.by(server.name, "start") from None
                except NoCommonVersion:
                    self._skip_probe = False  # the probe told what is wrong
                    raise
                except SignInNeeded:
                    self._skip_probe = skip_probe  # it says nothing about the era
                    raise
