"""One upstream as the client sees it: a group, with one owner task that connects, reconnects and cleans up.

``run`` is the only place that opens and closes the upstream, so that no cancellation can leave one behind. Everybody else asks
``connected``, which waits for a start that is under way and fails at once when the group has failed. No lock is held
across a request; a group that hangs or fails delays nobody but its own callers.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from itertools import chain, repeat

import anyio
import msgspec
from msgspec import Raw

from dynamic_mcp.config.model import Server, StdioTransport
from dynamic_mcp.errors import UpstreamError, UpstreamFailed
from dynamic_mcp.log import log
from dynamic_mcp.protocol.jsonrpc import Message
from dynamic_mcp.upstream import stdio
from dynamic_mcp.upstream.base import Upstream

#: Seconds for starting, handshake and tool listing together (README: "10-second timeout").
CONNECT_BUDGET = 10.0
#: Seconds before each attempt after a failure (README: "2s, 4s, 8s", then "every 30 seconds").
RETRY_DELAYS = (2.0, 4.0, 8.0)
RETRY_FOREVER = 30.0
#: Seconds before a server that was ready and died is started again.
RESTART_DELAY = 1.0
#: Seconds that a server must have been ready for its death to count as a first failure.
STEADY = 30.0
#: The most pages of one listing: an upstream that repeats a cursor must not hold us for ever.
MOST_PAGES = 1000


class Listing(msgspec.Struct, frozen=True):
    """The complete tool definitions of an upstream, as it wrote them, by name and in its order."""

    tools: dict[str, Raw]


class Group:
    """The life of one configured server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._upstream: Upstream | None = None
        self._listing: Listing | None = None
        self._failure: str | None = None
        self._warned: str | None = None
        self._settled = anyio.Event()
        self._legacy = False

    @property
    def name(self) -> str:
        """The server's name in the configuration."""
        return self.server.name

    async def connected(self) -> Upstream:
        """The connected upstream; waits while it is starting. Raises UpstreamFailed with the reason when it has failed."""
        if self._upstream is not None:
            return self._upstream
        if self._failure is None:
            await self._settled.wait()
        return self._ready_or_failed()

    def _ready_or_failed(self) -> Upstream:
        if self._upstream is None:
            raise UpstreamFailed(self._failure or "it is not connected")
        return self._upstream

    async def listing(self) -> Listing:
        """All tools of the upstream, from the cache unless they changed. Raises UpstreamError."""
        upstream = await self.connected()
        if self._listing is None:
            self._listing = await _list_tools(upstream, self.server.timeouts.tools)
        return self._listing

    async def run(self) -> None:
        """Own the upstream until cancelled: connect, serve, and start again whenever it failed or was lost."""
        delays = _retry_delays()
        while True:
            try:
                upstream = await self._connect()
            except UpstreamError as error:
                self._fail(str(error))
                delay = next(delays)
            else:
                steady_at = time.monotonic() + STEADY
                try:
                    self._set_ready(upstream)
                    reason = await upstream.lost()
                finally:
                    self._upstream = None
                    await upstream.close()
                self._fail(f"it was connected, but {reason}; it is being started again")
                if time.monotonic() >= steady_at:
                    delays = _retry_delays()
                    delay = RESTART_DELAY
                else:
                    delay = next(delays)
            log.info("group %s: next attempt in %g s", self.name, delay)
            await anyio.sleep(delay)
            self._failure = None
            self._settled = anyio.Event()

    async def _connect(self) -> Upstream:
        upstream: Upstream | None = None
        try:
            with anyio.fail_after(CONNECT_BUDGET):
                upstream = await self._open()
                self._legacy = not upstream.modern
                if self.server.features.tools:
                    self._listing = await _list_tools(upstream, CONNECT_BUDGET)
        except TimeoutError:
            await _close(upstream)
            raise UpstreamFailed(f"it did not finish its start within {CONNECT_BUDGET:g} s") from None
        except BaseException:
            await _close(upstream)
            raise
        return upstream

    async def _open(self) -> Upstream:
        transport = self.server.transport
        if isinstance(transport, StdioTransport):
            # The era of an unchanged definition is remembered: a restart does not pay for the probe again.
            return await stdio.connect(
                transport, self._on_notification, CONNECT_BUDGET, skip_probe=self._legacy
            )
        raise UpstreamFailed("servers with a url are not supported by this version")

    def _on_notification(self, message: Message) -> None:
        if message.method == "notifications/tools/list_changed":
            self._listing = None

    def _set_ready(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._settled.set()
        self._warned = None
        log.info("group %s: ready", self.name)

    def _fail(self, reason: str) -> None:
        # The same reason again, every 30 s for days, is news for nobody.
        log.log(
            logging.INFO if reason == self._warned else logging.WARNING,
            "group %s failed: %s",
            self.name,
            reason,
        )
        self._failure = self._warned = reason
        self._listing = None
        self._settled.set()


def _retry_delays() -> Iterator[float]:
    return chain(RETRY_DELAYS, repeat(RETRY_FOREVER))


async def _close(upstream: Upstream | None) -> None:
    if upstream is not None:
        await upstream.close()


class _Page(msgspec.Struct):
    tools: list[Raw]
    next_cursor: str | None = msgspec.field(name="nextCursor", default=None)


class _Named(msgspec.Struct):
    name: str


async def _list_tools(upstream: Upstream, timeout: float) -> Listing:
    """All pages of ``tools/list``; an upstream without tools has none. An empty cursor is a cursor, a repeated one ends it."""
    if "tools" not in upstream.capabilities:
        return Listing({})
    tools: dict[str, Raw] = {}
    cursor: str | None = None
    seen: set[str] = set()
    for _ in range(MOST_PAGES):
        params = b"" if cursor is None else msgspec.json.encode({"cursor": cursor})
        if upstream.modern:
            params = stdio.stamped(params)
        answer = await upstream.request("tools/list", params, timeout)
        try:
            page = msgspec.json.decode(answer, type=_Page)
            for raw in page.tools:
                # Copied: a view would keep the whole line alive for as long as one tool of it is cached.
                tools[msgspec.json.decode(raw, type=_Named).name] = raw.copy()
        except msgspec.DecodeError:
            raise UpstreamFailed("its answer to tools/list is not a list of tools") from None
        cursor = page.next_cursor
        if cursor is None or cursor in seen:
            break
        seen.add(cursor)
    return Listing(tools)
