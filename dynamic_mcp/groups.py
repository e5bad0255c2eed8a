"""One upstream as the client sees it: a group, with one owner task that connects, reconnects and cleans up.

``run`` is the only place that opens and closes the upstream, so that no cancellation can leave one behind. Everybody else asks
``connected``, which waits while the server is started for the first time or after a first crash, and fails at once, with the
reason, while it is being retried after a failure. No lock is held across a request; a group that hangs or fails delays
nobody but its own callers.
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
from dynamic_mcp.errors import UpstreamError, UpstreamFailed, UpstreamRefused
from dynamic_mcp.log import log
from dynamic_mcp.process.guard import Guard
from dynamic_mcp.protocol.jsonrpc import Message
from dynamic_mcp.upstream.base import Upstream
from dynamic_mcp.upstream.stdio import StdioUpstream

#: Seconds for starting, handshake and tool listing together (README: "10-second timeout").
CONNECT_BUDGET = 10.0
#: Seconds before each attempt after a failure (README: "2s, 4s, 8s", then "every 30 seconds").
RETRY_DELAYS = (2.0, 4.0, 8.0)
RETRY_FOREVER = 30.0
#: Seconds before a server that was ready and died is started again for the first time; then the delays above.
RESTART_DELAY = 1.0
#: Seconds that a server must have been ready for its death to count as a first one.
STEADY = 30.0
# A listing during which the tools changed is made again; an upstream whose tools always change must not hold us for ever.
_LISTING_ATTEMPTS = 3
#: The most pages of one listing: an upstream that repeats a cursor must not hold us for ever.
MOST_PAGES = 1000


class Listing(msgspec.Struct, frozen=True):
    """The complete tool definitions of an upstream, as it wrote them, by name and in its order."""

    tools: dict[str, Raw]


class Group:
    """The life of one configured server."""

    def __init__(self, server: Server, guard: Guard) -> None:
        self.server = server
        self._guard = guard
        self._upstream: Upstream | None = None
        self._listing: Listing | None = None
        self._changes = 0
        self._failure: UpstreamFailed | None = None
        self._warned: str | None = None
        self._settled = anyio.Event()
        self._legacy = False
        self._paused = False

    @property
    def name(self) -> str:
        """The server's name in the configuration."""
        return self.server.name

    async def connected(self) -> Upstream:
        """The connected upstream; waits while it is starting. Raises UpstreamFailed with the reason when it has failed."""
        while self._upstream is None:
            if self._failure is not None:
                raise self._failure.again()
            await self._settled.wait()
        return self._upstream

    async def listing(self) -> Listing:
        """All tools of the upstream, from the cache unless they changed. Raises UpstreamError."""
        upstream = await self.connected()
        if self._listing is not None:
            return self._listing
        for _ in range(_LISTING_ATTEMPTS):
            changes = self._changes
            listing = await _list_tools(upstream, self.server.timeouts.tools)
            if changes == self._changes:
                self._listing = listing
                break
        return listing

    def pause(self, paused: bool) -> None:
        """Stop reading from the upstream, because the client does not read; go on with False."""
        self._paused = paused
        if self._upstream is not None:
            self._upstream.pause(paused)

    async def run(self) -> None:
        """Own the upstream until cancelled: connect, serve, and start again whenever it failed or was lost."""
        transport = self.server.transport
        if not isinstance(transport, StdioTransport):
            self._fail("servers with a url are not supported by this version", "")
            return
        delays = _retry_delays()
        first_crash = True
        while True:
            upstream: Upstream = StdioUpstream(transport, self._on_notification, self._guard)
            try:
                try:
                    await self._connect(upstream)
                except UpstreamError as error:
                    # Said before the cleaning up, which may take seconds.
                    said = error.last_words if isinstance(error, UpstreamFailed) else ""
                    self._fail(str(error), said or upstream.last_words())
                    delay = next(delays)
                else:
                    ready_at = time.monotonic()
                    self._set_ready(upstream)
                    end = await upstream.lost()
                    if time.monotonic() >= ready_at + STEADY:
                        delays, first_crash = _retry_delays(), True
                    if first_crash:
                        delay, first_crash = RESTART_DELAY, False
                        self._restart(str(end))
                    else:
                        delay = next(delays)
                        self._fail(f"it was connected, but {end}", end.last_words)
            finally:
                self._upstream = None
                await upstream.close()
            log.info("group %s: next attempt in %g s", self.name, delay)
            await anyio.sleep(delay)

    async def _connect(self, upstream: Upstream) -> None:
        try:
            with anyio.fail_after(CONNECT_BUDGET):
                await upstream.open(CONNECT_BUDGET, skip_probe=self._legacy)
                self._legacy = not upstream.modern
                if self.server.features.tools:
                    self._listing = await _list_tools(upstream, CONNECT_BUDGET)
        except TimeoutError:
            raise UpstreamFailed(f"it did not finish its start within {CONNECT_BUDGET:g} s") from None

    def _on_notification(self, message: Message) -> None:
        if message.method == "notifications/tools/list_changed":
            self._changes += 1
            self._listing = None

    def _set_ready(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._failure = self._warned = None
        upstream.pause(self._paused)
        self._settled.set()
        log.info("group %s: ready", self.name)

    def _restart(self, reason: str) -> None:
        """The server died and comes back soon: who calls it from now on waits."""
        log.warning("group %s: %s; it is being started again", self.name, reason)
        self._upstream = self._listing = self._failure = None
        self._settled = anyio.Event()

    def _fail(self, reason: str, last_words: str) -> None:
        # The same reason again, every 30 s for days, is news for nobody. What the server said is for its callers only.
        level = logging.INFO if reason == self._warned else logging.WARNING
        log.log(level, "group %s failed: %s", self.name, reason)
        self._upstream = self._listing = None
        self._failure = UpstreamFailed(reason, last_words)
        self._warned = reason
        self._settled.set()


def _retry_delays() -> Iterator[float]:
    return chain(RETRY_DELAYS, repeat(RETRY_FOREVER))


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
        try:
            answer = await upstream.request("tools/list", params, timeout)
        except UpstreamRefused as refusal:
            raise refusal.as_failure("tools/list") from None
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
