"""The task that owns the upstream of a group: it connects, waits for the end of the connection, cleans up, and connects again.

Only ``run`` opens and closes the upstream, so no cancellation can leave one behind. It tells the callers by ``state``.
"""

from __future__ import annotations

from collections.abc import Callable

import anyio
from anyio.abc import TaskGroup

from dynamic_mcp.config.model import Server
from dynamic_mcp.errors import SignInNeeded, StreamEnded, UpstreamError, UpstreamFailed
from dynamic_mcp.groups.backoff import Backoff
from dynamic_mcp.groups.connection_record import ConnectionRecord
from dynamic_mcp.groups.listing_cache import ListingCache
from dynamic_mcp.groups.signing_in import SigningIn, WaitEnd
from dynamic_mcp.groups.start import Starter
from dynamic_mcp.groups.state import GroupState
from dynamic_mcp.groups.subscriptions import UpstreamSubscriptions
from dynamic_mcp.hooks import Hooks
from dynamic_mcp.log import log, report_bug
from dynamic_mcp.upstream.base import Connector, Events, Upstream


class UpstreamOwner:
    """The owner of the upstream of one group."""

    def __init__(
        self,
        server: Callable[[], Server],
        connector: Connector,
        hooks: Hooks,
        state: GroupState,
        listings: ListingCache,
        signing_in: SigningIn,
        subscriptions: UpstreamSubscriptions,
        on_ready: Callable[[], None],
    ) -> None:
        """``server`` is the current definition. ``on_ready`` is called after each successful start."""
        self._server = server
        self._connector = connector
        self._hooks = hooks
        self._state = state
        self._listings = listings
        self._signing_in = signing_in
        self._subscriptions = subscriptions
        self._on_ready = on_ready
        self._starter = Starter(connector, state, listings)
        #: the upstream that is connected or being connected, until it is closed
        self._connection: Upstream | None = None
        self._paused = False
        #: set to end the current delay before the next attempt
        self._retry = anyio.Event()

    async def run(self, events: Events) -> None:
        """Own the upstream until cancelled: connect it, and connect it again after each failure. ``events`` takes its messages."""
        backoff = Backoff()
        name = self._server().name
        while True:
            try:
                need = await self._run_connection(events, backoff)
                if need is not None and await self.sign_in(need, backoff):
                    continue
            except Exception as error:
                # An unexpected error, such as a lack of memory, must not stop the other groups.
                backoff.after_failure()
                self._fail(report_bug(f"group {name}", error))
            log.info("group %s: next attempt in %.1f s", name, backoff.next)
            with anyio.move_on_after(backoff.next), self._state.backoff(self.retry):
                await self._retry.wait()

    def retry(self) -> None:
        """End the delay before the next attempt."""
        self._retry.set()

    def set_paused(self, paused: bool) -> None:
        """Stop reading from the upstream, because the client does not read; with False, read again."""
        self._paused = paused
        if self._state.upstream is not None:
            self._state.upstream.set_paused(paused)

    async def _run_connection(self, events: Events, backoff: Backoff) -> SignInNeeded | None:
        """Run one connection, from its start to its end; the sign-in that the next one needs, or None."""
        # A new event for each attempt: ``retry`` may come while the failed attempt still cleans up.
        self._retry = anyio.Event()
        record = ConnectionRecord(self._hooks.record, self._server().name)
        try:
            async with anyio.create_task_group() as tasks:
                need = await self._connect_and_serve(events, tasks, backoff, record)
                tasks.cancel_scope.cancel()
            return need
        finally:
            self._state.drop_upstream()
            self._listings.clear()
            self._subscriptions.end()
            connection, self._connection = self._connection, None
            if connection is not None:
                await connection.close()
            record.closed()

    async def _connect_and_serve(
        self, events: Events, tasks: TaskGroup, backoff: Backoff, record: ConnectionRecord
    ) -> SignInNeeded | None:
        """Connect, wait for the end of the connection, and set the state of the group to the reason."""
        try:
            upstream = await self._connect(events)
        except SignInNeeded as need:
            record.failed(str(need), outcome="sign_in_needed")
            if not self._signing_in.has_signed_in:
                return need
            backoff.after_failure()
            self._fail(
                "it refuses the tokens of the sign-in that just succeeded",
                remedy=self._connector.sign_in_help(),
            )
        except UpstreamError as error:
            record.failed(str(error))
            backoff.after_failure()
            pause = backoff.pause(error)
            # Callers learn of the failure before the clean-up, which may take seconds.
            tail, remedy = (
                (error.last_output, error.remedy) if isinstance(error, UpstreamFailed) else ("", "")
            )
            if not tail and self._connection is not None:
                tail = self._connection.stderr_tail()
            self._fail(str(error), tail, remedy, pause=pause)
        except Exception as error:
            # Before the clean-up, so that callers do not wait for it.
            record.failed("internal error")
            backoff.after_failure()
            self._fail(report_bug(f"group {self._server().name}", error))
        else:
            backoff.connected()
            record.ready()
            self._set_ready(upstream, tasks)
            end = await upstream.wait_lost()
            record.failed(str(end), outcome="lost")
            if (isinstance(end, StreamEnded) and backoff.after_end()) or backoff.after_crash():
                self._listings.clear()
                self._state.set_restarting(str(end))
            else:
                self._fail(f"it was connected, but {end}", end.last_output, end.remedy)
        return None

    async def _connect(self, events: Events) -> Upstream:
        """Open a connection and list the tools, within the timeout of a start. Raises UpstreamError."""
        server = self._server()
        self._connection = upstream = self._hooks.connection(self._connector.connect(events), server)
        await self._starter.open(upstream, server, lambda: self.shown(upstream.stderr_tail()))
        return upstream

    async def sign_in(self, need: SignInNeeded, backoff: Backoff) -> bool:
        """Let the user sign in, once a client names the group; ``oauth.signin`` limits the time. False after a failure.

        If the server may take the tokens again, there is no sign-in before the next connection.
        """
        need.last_output = self.shown(need.last_output)
        may_have_passed = need.may_pass and self._signing_in.waits_for_clients
        try:
            end = await self._signing_in.wait_until_named(need)
            if end is WaitEnd.TIME or (end is WaitEnd.NAMED and may_have_passed):
                # The server may take the tokens now, so the next connection comes before a browser.
                return True
            if end is WaitEnd.NAMED:
                await self._signing_in.run(need)
        except UpstreamError as error:
            backoff.after_failure()
            remedy = error.remedy if isinstance(error, UpstreamFailed) else ""
            self._fail(str(error), need.last_output, remedy)
            return False
        self._signing_in.has_signed_in = True
        return True

    def _set_ready(self, upstream: Upstream, tasks: TaskGroup) -> None:
        self._signing_in.is_named = self._signing_in.has_signed_in = False
        self._state.set_ready(upstream)
        upstream.set_paused(self._paused)
        self._subscriptions.begin(upstream, tasks)
        self._on_ready()
        log.info("group %s: ready", self._server().name)

    def _fail(self, reason: str, last_output: str = "", remedy: str = "", *, pause: float = 0.0) -> None:
        self._listings.clear()
        self._state.set_failed(reason, self.shown(last_output), remedy, pause=pause)

    def shown(self, text: str) -> str:
        """What may be shown of the last output, or of the text of a refusal."""
        return text and self._server().transport.hidden().end_of(text)
