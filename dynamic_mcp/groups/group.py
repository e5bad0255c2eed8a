"""One upstream as the client sees it: a group, with one owner task that connects, reconnects and cleans up.

``run`` is the only place that opens and closes the upstream, so that no cancellation can leave one behind. Everybody else asks
``connected``, which waits while the server is started for the first time or after a first crash, and fails at once, with the
reason, while it is being retried after a failure. No lock is held across a request; a group that hangs or fails delays
nobody but its own callers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Protocol, TypeVar

import anyio
import msgspec

from dynamic_mcp.config.model import CallPolicy, Server, StdioTransport
from dynamic_mcp.errors import SignInNeeded, UpstreamError, UpstreamFailed
from dynamic_mcp.extras.audit import Life
from dynamic_mcp.extras.policy.gate import Gate
from dynamic_mcp.extras.tracing.base import Tracing
from dynamic_mcp.groups.backoff import Backoff
from dynamic_mcp.groups.listing import CHANGED, TOOLS, Kind, Listing, list_all
from dynamic_mcp.log import log, report_bug
from dynamic_mcp.process.guard import Guard
from dynamic_mcp.protocol.jsonrpc import Message
from dynamic_mcp.upstream.base import Options, Upstream
from dynamic_mcp.upstream.stdio import StdioUpstream

if TYPE_CHECKING:
    from dynamic_mcp.upstream.http.detect import Remote

#: Seconds for starting, handshake and tool listing together (README: "10-second timeout").
CONNECT_BUDGET = 10.0
# A listing during which the tools changed is made again; an upstream whose tools always change must not hold us for ever.
_LISTING_ATTEMPTS = 3

_T = TypeVar("_T")


class GroupListener(Protocol):
    """Who speaks for the client, and hears what the upstreams say by themselves."""

    def offered(self) -> bytes:
        """What the client can be asked for: the ``capabilities`` of a handshake."""
        ...

    def on_ready(self, group: Group) -> None:
        """The group is connected, for the first time or again."""
        ...

    def on_notification(self, group: Group, message: Message) -> None:
        """The group's upstream announces something; what it changes here has been done."""
        ...

    async def on_request(self, group: Group, message: Message) -> bytes:
        """The group's upstream asks something; the result for it. Raises ``jsonrpc.Refusal``."""
        ...


class Group:
    """The life of one configured server."""

    def __init__(
        self, server: Server, guard: Guard, hub: GroupListener, tracing: Tracing | None = None
    ) -> None:
        self.server = server
        self._guard = guard
        self._hub = hub
        self._tracing = tracing
        self._upstream: Upstream | None = None
        self._listings: dict[Kind, Listing] = {}
        self._changes = 0
        self._subscribed: set[str] = set()
        self._background: set[asyncio.Task[None]] = set()
        self._listening: asyncio.Task[None] | None = None
        #: what outlives the connections to a server behind a URL
        self._remote: Remote | None = None
        self._failure: UpstreamFailed | None = None
        self._warned: str | None = None
        self._settled = anyio.Event()
        self._legacy = False
        self._paused = False
        self._successor: Group | None = None
        self._over: UpstreamFailed | None = None
        #: what its calls have to pass; None where the configuration wants nothing of the kind
        self.gate: Gate | None = None
        self._in_flight = 0
        self._idle = anyio.Event()
        self._hurry = anyio.Event()
        self.define(server)

    def define(self, server: Server) -> None:
        """Go over to a definition of the server that differs in everything but its transport."""
        self.server = server
        if self.gate is not None:
            self.gate.set(server.policy)
        elif server.policy != CallPolicy():
            self.gate = Gate(self.name, server.policy, self._guard)

    @property
    def name(self) -> str:
        """The server's name in the configuration."""
        return self.server.name

    async def connected(self) -> Upstream:
        """The connected upstream; waits while it is starting. Raises UpstreamFailed with the reason when it has failed."""
        while self._upstream is None:
            if self._successor is not None:
                return await self._successor.connected()
            if (reason := self._over or self._failure) is not None:
                raise reason.again()
            await self._settled.wait()
        return self._upstream

    @property
    def upstream(self) -> Upstream | None:
        """The connected upstream, if there is one now."""
        return self._upstream

    def has(self, kind: Kind) -> bool:
        """Whether the configuration lets this kind of thing be used."""
        return bool(getattr(self.server.features, kind.feature))

    def timeout(self, kind: Kind) -> float:
        """Seconds that a request about this kind of thing may take."""
        return float(getattr(self.server.timeouts, kind.feature))

    async def listing(self, kind: Kind) -> Listing:
        """All definitions of one kind, from the cache unless they changed. Raises UpstreamError."""
        upstream = await self.connected()
        if (cached := self._listings.get(kind)) is not None:
            return cached
        for _ in range(_LISTING_ATTEMPTS):
            changes = self._changes
            listing = await self._tracked(list_all(upstream, kind, Options(self.timeout(kind))))
            if changes == self._changes:
                self._listings[kind] = listing
                break
        return listing

    async def request(self, method: str, params: bytes, options: Options) -> bytes:
        """Send a request to the upstream and return its result. Raises UpstreamError."""
        upstream = await self.connected()
        return await self._tracked(upstream.request(method, params, options))

    async def _tracked(self, request: Coroutine[object, object, _T]) -> _T:
        """A request that ``finish_calls`` waits for, and that is told why the connection was closed."""
        self._in_flight += 1
        try:
            return await request
        except UpstreamFailed:
            if self._over is not None:
                raise self._over.again() from None
            raise
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._idle.set()

    async def subscribe(self, uri: str) -> None:
        """Have updates of a resource announced, also after a restart of the upstream. Raises UpstreamError."""
        if self._successor is not None:
            await self._successor.subscribe(uri)
            return
        upstream = await self.connected()
        if not upstream.modern:
            await self._ask_about(upstream, "resources/subscribe", uri)
        self._subscribed.add(uri)
        self._listen_anew(upstream)

    async def unsubscribe(self, uri: str) -> None:
        """End ``subscribe``. Raises UpstreamError."""
        if self._successor is not None:
            await self._successor.unsubscribe(uri)
            return
        self._subscribed.discard(uri)
        upstream = await self.connected()
        if not upstream.modern:
            await self._ask_about(upstream, "resources/unsubscribe", uri)
        self._listen_anew(upstream)

    def unsubscribe_later(self, uri: str) -> None:
        """``unsubscribe`` in the background, where nobody waits for the outcome."""
        self._in_background(lambda: self.unsubscribe(uri))

    async def _ask_about(self, upstream: Upstream, method: str, uri: str) -> None:
        params = msgspec.json.encode({"uri": uri})
        await upstream.request(method, params, Options(self.server.timeouts.resources))

    def pause(self, paused: bool) -> None:
        """Stop reading from the upstream, because the client does not read; go on with False."""
        self._paused = paused
        if self._upstream is not None:
            self._upstream.pause(paused)

    async def run(self) -> None:
        """Own the upstream until cancelled: connect, serve, and start again whenever it failed or was lost."""
        backoff = Backoff()
        try:
            while True:
                need = await self._live(backoff)
                if need is None:
                    log.info("group %s: next attempt in %g s", self.name, backoff.next)
                    with anyio.move_on_after(backoff.next):
                        await self._hurry.wait()
                else:
                    await self._sign_in(need, backoff)
        finally:
            if self.gate is not None:
                await self.gate.close()
            if self._remote is not None:
                await self._remote.authorization.close()

    async def _live(self, backoff: Backoff) -> SignInNeeded | None:
        """One life of the upstream, from its start to its end; the sign-in that has to come before the next one."""
        # New for each attempt, because one that failed may be told to hurry while it is still being cleaned up.
        self._hurry = anyio.Event()
        upstream: Upstream | None = None
        life = Life(self.name)
        try:
            try:
                upstream = self._make_upstream()
                await self._connect(upstream)
            except SignInNeeded as need:
                life.failed(str(need), outcome="sign_in_needed")
                if not backoff.signed_in:
                    self._fail("it waits for you to sign in, in the browser", "", level=logging.INFO)
                    return need
                backoff.after_failure()
                self._fail("it refuses the authorization that was just given to it", "")
            except UpstreamError as error:
                life.failed(str(error))
                backoff.after_failure()
                # Said before the cleaning up, which may take seconds.
                said = error.stderr_tail if isinstance(error, UpstreamFailed) else ""
                self._fail(str(error), said or (upstream.stderr_tail() if upstream is not None else ""))
            except Exception as error:
                # What nobody thought of must not end the others.
                life.failed("internal error")
                backoff.after_failure()
                report_bug(f"group {self.name}", error)
                self._fail(f"an internal error of the proxy ({type(error).__name__})", "")
            else:
                backoff.connected()
                life.ready()
                self._set_ready(upstream)
                end = await upstream.lost()
                life.failed(str(end), outcome="lost")
                if backoff.after_crash():
                    self._restart(str(end))
                else:
                    self._fail(f"it was connected, but {end}", end.stderr_tail)
        finally:
            self._upstream = None
            for task in self._background:
                task.cancel()
            if upstream is not None:
                await upstream.close()
            life.closed()
        return None

    async def _sign_in(self, need: SignInNeeded, backoff: Backoff) -> None:
        """Wait for the user, who is in no hurry (ARCHITECTURE.md, "OAuth": its own time limit)."""
        assert self._remote is not None
        try:
            await self._remote.authorization.sign_in(need)
        except UpstreamError as error:
            backoff.after_failure()
            self._fail(str(error), "")
            # Not to be hurried: the next attempt opens a browser.
            await anyio.sleep(backoff.next)
        else:
            backoff.signed_in = True

    # What the configuration makes of it (``supervisor``)

    async def settled(self) -> None:
        """Wait until the first attempt to connect is over, or the group is."""
        await self._settled.wait()

    def retry_now(self) -> None:
        """Do not wait for the next attempt, where the last one failed."""
        if self._failure is not None:
            self._hurry.set()

    def remove(self) -> None:
        """The server is not wanted any more: whoever waits for it is told so, now or when ``run`` is cancelled."""
        self._over = UpstreamFailed("it is not part of the configuration any more")
        self._upstream = None
        self._settled.set()

    def hand_over(self, successor: Group) -> None:
        """Another group takes the place of this one: it gets the subscriptions, and every call that is not on its way."""
        self._successor = successor
        self._settled.set()
        successor.inherit(self._subscribed, self.gate)

    def inherit(self, subscribed: set[str], gate: Gate | None) -> None:
        """Go on with the subscriptions of a predecessor, and with what counts towards its limits."""
        if self.gate is not None and gate is not None:
            self.gate.succeed(gate)
        self._subscribed |= subscribed
        if subscribed and self._upstream is not None:
            self._subscribe_all(self._upstream)

    async def finish_calls(self) -> None:
        """Wait until no call is on its way, or each of them has had the longest time that one may take."""
        timeouts = self.server.timeouts
        with anyio.move_on_after(max(timeouts.tools, timeouts.resources, timeouts.prompts)):
            while self._in_flight:
                self._idle = anyio.Event()
                await self._idle.wait()
        self._over = UpstreamFailed("its definition in the configuration was changed")

    def _make_upstream(self) -> Upstream:
        upstream = self._connection()
        return upstream if self._tracing is None else self._tracing.traced(upstream, self.server)

    def _connection(self) -> Upstream:
        transport = self.server.transport
        if isinstance(transport, StdioTransport):
            return StdioUpstream(transport, self, self._guard)
        if self._remote is None:
            from dynamic_mcp.upstream.http.detect import Remote

            self._remote = Remote(self.name, transport)
        return self._remote.upstream(self)

    async def _connect(self, upstream: Upstream) -> None:
        try:
            with anyio.fail_after(CONNECT_BUDGET):
                await upstream.open(CONNECT_BUDGET, skip_probe=self._legacy)
                self._legacy = not upstream.modern
                if self.server.features.tools:
                    self._listings[TOOLS] = await list_all(upstream, TOOLS, Options(CONNECT_BUDGET))
        except TimeoutError:
            raise UpstreamFailed(f"it did not finish its start within {CONNECT_BUDGET:g} s") from None

    # What the upstream says by itself (``upstream.base.Events``)

    def capabilities(self) -> bytes:
        """See ``Events``."""
        return self._hub.offered()

    def on_notification(self, message: Message) -> None:
        """See ``Events``."""
        for kind in CHANGED.get(message.method or "", ()):
            self._changes += 1
            self._listings.pop(kind, None)
        self._hub.on_notification(self, message)

    async def on_request(self, message: Message) -> bytes:
        """See ``Events``."""
        return await self._hub.on_request(self, message)

    # What a modern upstream only sends to those who ask for it (MCP 2026-07-28, subscriptions/listen)

    def _listen_anew(self, upstream: Upstream) -> None:
        if not upstream.modern:
            return
        before = self._listening
        self._listening = self._in_background(lambda: self._listen(upstream))
        if before is not None:
            before.cancel()

    async def _listen(self, upstream: Upstream) -> None:
        features = [
            name for name in ("tools", "resources", "prompts") if name in upstream.agreed.capabilities
        ]
        wanted: dict[str, object] = {f"{name}ListChanged": True for name in features}
        if self._subscribed:
            wanted["resourceSubscriptions"] = sorted(self._subscribed)
        if wanted:
            params = msgspec.json.encode({"notifications": wanted})
            await upstream.request("subscriptions/listen", params, Options(None))

    def _subscribe_all(self, upstream: Upstream) -> None:
        self._listen_anew(upstream)
        if self._subscribed and not upstream.modern:
            self._in_background(lambda: self._subscribe_again(upstream))

    async def _subscribe_again(self, upstream: Upstream) -> None:
        for uri in sorted(self._subscribed):
            await self._ask_about(upstream, "resources/subscribe", uri)

    def _in_background(self, work: Callable[[], Coroutine[object, object, None]]) -> asyncio.Task[None]:
        async def quietly() -> None:
            try:
                await work()
            except UpstreamError as error:
                log.debug("group %s: %s", self.name, error)

        task = asyncio.get_running_loop().create_task(quietly())
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    # Its states

    def _set_ready(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._failure = self._warned = None
        upstream.pause(self._paused)
        self._settled.set()
        self._subscribe_all(upstream)
        self._hub.on_ready(self)
        log.info("group %s: ready", self.name)

    def _restart(self, reason: str) -> None:
        """The server died and comes back soon: who calls it from now on waits."""
        log.warning("group %s: %s; it is being started again", self.name, reason)
        self._upstream = self._failure = None
        self._listings.clear()
        self._settled = anyio.Event()

    def _fail(self, reason: str, stderr_tail: str, *, level: int = logging.WARNING) -> None:
        # The same reason again, every 30 s for days, is news for nobody. What the server said is for its callers only.
        level = logging.INFO if reason == self._warned else level
        log.log(level, "group %s is not available: %s", self.name, reason)
        self._upstream = None
        self._listings.clear()
        self._failure = UpstreamFailed(reason, stderr_tail)
        self._warned = reason
        self._settled.set()
