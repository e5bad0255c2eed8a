"""One configured server as the client sees it: a group, with one owner task that connects, reconnects and cleans up (``owner``).

Only ``run`` opens and closes the upstream, so no cancellation can leave one behind. ``state`` says whether a call waits for the
upstream. No lock is held during a request, so a group that hangs or fails delays only its own callers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Sequence
from contextlib import suppress
from typing import TypeVar

import anyio

from dynamic_mcp.config.model import Server
from dynamic_mcp.errors import (
    EraChanged,
    HeadersRefused,
    SignInNeeded,
    UpstreamError,
    UpstreamFailed,
    UpstreamTimeout,
)
from dynamic_mcp.groups.in_flight import InFlight
from dynamic_mcp.groups.listener import GroupListener
from dynamic_mcp.groups.listing import CHANGED, TOOLS, Freshness, Kind, Listing, announces_changes, list_all
from dynamic_mcp.groups.listing_cache import ListingCache
from dynamic_mcp.groups.notification_stream import ACKNOWLEDGED
from dynamic_mcp.groups.oddities import Oddities
from dynamic_mcp.groups.owner import UpstreamOwner
from dynamic_mcp.groups.renewals import INTERVAL, Renewals
from dynamic_mcp.groups.signing_in import WAITS, SigningIn
from dynamic_mcp.groups.state import GroupState
from dynamic_mcp.groups.subscriptions import UpstreamSubscriptions
from dynamic_mcp.hooks import CallPolicy, Hooks
from dynamic_mcp.log import log
from dynamic_mcp.pacing import Paced
from dynamic_mcp.protocol.jsonrpc import Message, Refusal
from dynamic_mcp.protocol.nulls import valid_result
from dynamic_mcp.protocol.pending import MAX_TIMES, ClientCall, Options
from dynamic_mcp.sign_in_page import SignInPage
from dynamic_mcp.upstream.base import Connector, Upstream
from dynamic_mcp.wording import cut

_T = TypeVar("_T")


class Group:
    """One configured server, until the configuration removes it."""

    def __init__(
        self, server: Server, connector: Connector, listener: GroupListener[Group], hooks: Hooks
    ) -> None:
        self.server = server
        #: checks each call; None allows every call
        self.policy: CallPolicy | None = None
        self._connector = connector
        self._listener = listener
        self._hooks = hooks
        self._state = GroupState(server.name)
        self._signing_in = SigningIn(server.name, connector, self._state)
        self._listings = ListingCache(server.name)
        self._oddities = Oddities(server.name)
        self._subscriptions = UpstreamSubscriptions(
            server.name,
            self.connected,
            lambda: self.server.timeouts.resources,
            self._doubt_lists,
            lambda message: listener.on_notification(self, message),
        )
        self._owner = UpstreamOwner(
            lambda: self.server,
            connector,
            hooks,
            self._state,
            self._listings,
            self._signing_in,
            self._subscriptions,
            lambda: listener.on_ready(self),
        )
        #: set once the upstream may start
        self._may_start = asyncio.Event()
        self._may_start.set()
        self._successor: Group | None = None
        self._suspicions = Paced(lambda: listener.suspect_lists(self), Renewals(), INTERVAL)
        self.in_flight = InFlight()
        self.define(server)

    # For callers

    @property
    def name(self) -> str:
        """The server's name in the configuration."""
        return self.server.name

    @property
    def upstream(self) -> Upstream | None:
        """The connected upstream, or None."""
        return self._state.upstream

    def has(self, kind: Kind) -> bool:
        """Whether the configuration allows this kind."""
        return bool(getattr(self.server.features, kind.feature))

    def timeout(self, kind: Kind) -> float:
        """Seconds that a request of this kind may take."""
        return float(getattr(self.server.timeouts, kind.feature))

    def switched_off_by(self, tool: str) -> str:
        """The setting that switches a tool off, whether the upstream has the tool or not; "" for an allowed tool."""
        return self._listings.tools.switched_off_by(tool)

    def try_again(self) -> None:
        """A client names this group: start the sign-in, or the next attempt if the last one failed, but not just now."""
        if self._state.upstream is None:
            self._signing_in.is_named = True
            self._state.try_again()

    async def live(self) -> tuple[Group, Upstream]:
        """This group, or the one that replaced it, with its connected upstream; waits while the upstream starts.

        Raises UpstreamFailed with the reason of a failure.
        """
        group = self
        while True:
            group.begin()
            if (upstream := await group._state.connected()) is not None:
                return group, upstream
            assert group._successor is not None
            group = group._successor

    async def connected(self) -> Upstream:
        """The connected upstream, as ``live``."""
        return (await self.live())[1]

    def leads_to(self, group: Group) -> bool:
        """Whether a call that waits for this group gets that one: it is the same, or replaced it."""
        return group is self or (self._successor is not None and self._successor.leads_to(group))

    def certain_listing(self, kind: Kind) -> Listing | None:
        """The listing of the connected upstream, if it is cached and the upstream could announce its changes since."""
        return self._listings.get(kind)

    async def listing(
        self, kind: Kind, timeout: float | None = None, freshness: Freshness = Freshness.KNOWN
    ) -> Listing:
        """All definitions of one kind, from the cache if it is fresh enough. Raises UpstreamError.

        The pages together may take ``timeout`` seconds, by default the timeout of one request of this kind.
        """
        group, upstream = await self.live()
        if group is not self:
            return await group.listing(kind, timeout, freshness)
        if freshness is Freshness.REQUESTED and not self._would_notice_change(upstream, kind):
            freshness = Freshness.RENEWED
        try:
            return await self._listings.obtain(
                kind,
                lambda: self._tracked(self._list(upstream, kind)),
                self.timeout(kind) if timeout is None else timeout,
                freshness,
            )
        except UpstreamTimeout as error:
            raise self._explained(error, kind) from None

    def _would_notice_change(self, upstream: Upstream, kind: Kind) -> bool:
        """Whether a change of this list since the last listing would be known."""
        if not announces_changes(upstream, kind):
            return False
        return self._subscriptions.announces(kind) if upstream.modern else upstream.delivers_notifications

    async def _list(self, upstream: Upstream, kind: Kind) -> Listing:
        """List one kind. Only the tools are worth a sign-in, because a client lists the others of every group."""
        try:
            return await list_all(upstream, kind, self.timeout(kind))
        except SignInNeeded as need:
            if kind is not TOOLS:
                raise
            await self._connector.sign_in(need)
            return await list_all(upstream, kind, self.timeout(kind))

    def cached_listing(self, kind: Kind) -> Listing | None:
        """The last listing of the connected upstream, also while it is made anew."""
        return self._listings.last(kind)

    def last_names(self, kind: Kind) -> Collection[str] | None:
        """The names in the last listing of this kind, also while the upstream is gone. None if there was no listing yet."""
        return self._listings.names(kind)

    async def request(self, method: str, params: bytes, options: Options, kind: Kind = TOOLS) -> bytes:
        """Send a request of this kind to the upstream and return its result. Raises UpstreamError."""
        # The usual case costs no further coroutine.
        if (upstream := self._state.upstream) is None:
            group, upstream = await self.live()
            if group is not self:
                return await group.request(method, params, options, kind)
        try:
            # As ``_tracked``, whose coroutine would add up to 0.2 us to the 13 us that the logic of a call takes.
            with self.in_flight:
                try:
                    result = await upstream.request(method, params, options)
                except (HeadersRefused, EraChanged) as error:
                    result = await self._request_again(error, upstream, method, params, options)
        except UpstreamFailed as error:
            raise self._as_shown(error) from None
        except UpstreamTimeout as error:
            raise self._explained(error, kind) from None
        if method == "tools/call":
            self._listings.tool_called()
        return valid_result(method, result)

    async def _request_again(
        self,
        error: HeadersRefused | EraChanged,
        upstream: Upstream,
        method: str,
        params: bytes,
        options: Options,
    ) -> bytes:
        """Make a failed request again, if it may succeed now. Raises UpstreamError."""
        if isinstance(error, EraChanged):
            self._state.leave(upstream)
            upstream = await self.connected()
        elif await self._learns_other_headers(error):
            self.in_flight.count()
        else:
            raise error
        return await upstream.request(method, params, options)

    async def _learns_other_headers(self, refusal: HeadersRefused) -> bool:
        """Whether a new listing of the tools gives the refused call other headers."""
        # If the listing fails, the refusal says more.
        with suppress(UpstreamError):
            await self.listing(TOOLS, freshness=Freshness.RENEWED)
        return refusal.are_outdated()

    def _explained(self, error: UpstreamTimeout, kind: Kind) -> UpstreamError:
        """Why a request got no answer in time: the user has to sign in, or the upstream is slow."""
        if remedy := self._connector.sign_in_help(pending=True):
            return UpstreamFailed(f"{WAITS} ({error})").with_remedy(remedy)
        return error.by(self.name, kind.feature)

    @property
    def subscriptions(self) -> UpstreamSubscriptions:
        """The subscriptions of the clients; those of the successor, if there is one."""
        return self._subscriptions if self._successor is None else self._successor.subscriptions

    async def _tracked(self, request: Coroutine[object, object, _T]) -> _T:
        """Make a request that ``finish_calls`` waits for."""
        with self.in_flight:
            try:
                return await request
            except UpstreamFailed as error:
                raise self._as_shown(error) from None

    def _as_shown(self, error: UpstreamFailed) -> UpstreamFailed:
        """The failure of a request as callers see it: the reason of the end, if the group has ended meanwhile."""
        if self._state.ended is not None:
            return self._state.ended.copy()
        error.last_output = self._owner.shown(error.last_output)
        return error

    # The owner task

    async def run(self) -> None:
        """Own the upstream until cancelled: connect it, and connect it again after each failure."""
        try:
            await self._may_start.wait()
            await self._owner.run(self)
        finally:
            self._suspicions.stop()
            if self.policy is not None:
                await self.policy.close()
            await self._signing_in.close()
            await self._connector.close()

    # For the supervisor

    def start_when_used(self) -> None:
        """Start no upstream before a client uses the group. For a group that does not run yet."""
        self._may_start.clear()

    def begin(self) -> None:
        """Start the upstream, if it has not started."""
        self._may_start.set()

    def define(self, server: Server) -> None:
        """Use another definition of the server, with the same transport."""
        self.server = server
        self._listings.set_tools(server.tools)
        self.policy = self._hooks.policy(server, self.policy)

    def set_paused(self, paused: bool) -> None:
        """Stop reading from the upstream, because the client does not read; with False, read again."""
        self._owner.set_paused(paused)

    async def wait_first_attempt(self) -> None:
        """Wait until the first attempt to connect has succeeded or failed, or the group has ended."""
        await self._state.first_attempt_over.wait()

    def retry_now(self) -> None:
        """Start the next attempt now, if the last one failed."""
        if self._state.failure is not None:
            self._owner.retry()

    def remove(self) -> None:
        """Fail all calls, because the configuration no longer has this server."""
        self._state.end("it is not part of the configuration any more")

    def hand_over(self, successor: Group) -> None:
        """Let another group replace this one: it gets the subscriptions, and every call that waits."""
        self._successor = successor
        if self._may_start.is_set():
            successor.begin()
        successor._listings.inherit(self._listings)
        self._state.set_replaced()
        successor.inherit(self._subscriptions, self.policy)
        if self._signing_in.is_named:
            successor.try_again()

    def inherit(self, subscriptions: UpstreamSubscriptions, policy: CallPolicy | None) -> None:
        """Take over the subscriptions of a predecessor, and the limits of its policy."""
        if self.policy is not None and policy is not None:
            self.policy.inherit(policy)
        self._subscriptions.inherit(subscriptions)
        if subscriptions.holders and self.upstream is not None:
            self._subscriptions.restore()

    async def finish_calls(self) -> None:
        """Wait until no call is in flight, at most as long as a call can take that reports progress."""
        timeouts = self.server.timeouts
        self._listings.clear()
        with anyio.move_on_after(MAX_TIMES * max(timeouts.tools, timeouts.resources, timeouts.prompts)):
            await self.in_flight.none_left()
        self._state.end("its definition in the configuration was changed")

    def _doubt_lists(self) -> None:
        """Doubt the earlier lists, because the upstream announced no change until now."""
        upstream = self.upstream
        for kinds in CHANGED.values():
            # The owner of a starting upstream does not know yet what it declares.
            if upstream is None or announces_changes(upstream, kinds[0]):
                self._listings.doubt(kinds)
        if upstream is not None:
            self._suspicions.act()

    # Messages that the upstream begins (``upstream.base.Events``)

    def capabilities(self) -> bytes:
        return self._listener.client_capabilities()

    def client_info(self) -> bytes:
        return self._listener.client_info()

    def on_notification(self, message: Message) -> None:
        self._listings.invalidate(message.method or "")
        if message.method == ACKNOWLEDGED:
            self._subscriptions.take_acknowledgement(message.params)
        self._listener.on_notification(self, message)

    def on_new_session(self) -> None:
        for method in CHANGED:
            self._listings.invalidate(method)
        if self.upstream is not None:
            self._subscriptions.restore()
            self._listener.on_ready(self)

    def on_stream_open(self) -> None:
        self._doubt_lists()
        self._subscriptions.on_stream_open()

    def on_oddity(self, what: str) -> None:
        self._oddities.report(what)

    async def on_request(self, message: Message, callers: Sequence[ClientCall]) -> bytes:
        try:
            return await self._listener.on_request(self, message, callers)
        except Refusal as refusal:
            log.debug("group %s: the proxy refuses its %s: %s", self.name, cut(message.method or ""), refusal)
            raise

    def on_sign_in(self, page: SignInPage) -> bool:
        if not self._listener.can_show_pages(self):
            return False
        self._signing_in.on_page(page, lambda shown: self._listener.show_page(self, shown))
        return True
