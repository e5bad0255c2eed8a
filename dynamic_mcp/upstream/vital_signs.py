"""Notices a server that is dead or unreachable although its connection is open.

- ``ask_for_life``: what the proxy asks a server that stopped answering (``protocol.liveness``).
- ``ChildWatch``: the child exited, and a process that it started holds its stdout open; or the child closed its stdin. Both leave no
  end of file. A launcher may exit while the server that it started uses its pipes, so the server gets the chance to answer first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from dynamic_mcp.errors import UpstreamError, UpstreamTimeout
from dynamic_mcp.process.child import Child
from dynamic_mcp.protocol.peer import Peer
from dynamic_mcp.protocol.pending import Options
from dynamic_mcp.upstream import handshake
from dynamic_mcp.upstream.flow import Holds

#: Seconds to wait for the end of the child's stdout, which usually comes with its exit and with the end of its stdin.
USUAL_END = 0.25
#: Seconds in which a process that a child left behind has to answer. One that has no error status is more likely a launcher.
AFTER_FAILURE = 1.5
AFTER_SUCCESS = 10.0
#: Seconds for the answers to the requests that a child read before it closed its stdin.
ANSWERS_OF_A_DEAF_CHILD = 5.0
#: Seconds to read what the child left in its stdout. Only processes that it left behind can write more.
_REST = 5.0


async def ask_for_life(peer: Peer, modern: bool, holds: Holds, timeout: float) -> None:
    """Send a request that every server can answer at once, with a timeout in seconds. 2026-07-28 has no ``ping``.

    Raises UpstreamError, but no UpstreamTimeout while the proxy does not read from the server.
    """
    method, params = ("server/discover", handshake.with_request_meta(b"")) if modern else ("ping", b"")
    if holds.reasons:
        return
    try:
        await peer.request(method, params, Options(timeout))
    except UpstreamTimeout:
        if not holds.reasons:
            raise


class ChildWatch:
    """Watches one child until ``close``."""

    def __init__(
        self,
        child: Child,
        peer: Peer,
        holds: Holds,
        unread: Callable[[], int],
        has_output: Callable[[], bool],
        end: Callable[[str], None],
    ) -> None:
        """``unread`` gives the bytes that wait for the child; ``has_output`` says whether output of the child waits for the proxy.

        ``end`` ends the connection, and gets the state of the streams.
        """
        self._child = child
        self._peer = peer
        self._holds = holds
        self._unread = unread
        self._has_output = has_output
        self._end = end
        #: set once the handshake is done; before, no question may come
        self._open = asyncio.Event()
        self._modern = False
        #: whether the child has closed its stdin
        self.is_deaf = False
        self._is_closed = False
        self._tasks = [asyncio.get_running_loop().create_task(self._watch_exit())]

    async def ask(self, timeout: float) -> None:
        """Ask for a sign of life, with a timeout in seconds.

        Raises UpstreamTimeout unless the child answers, or reads what waits for it, and other kinds of UpstreamError.
        """
        before = self._unread()
        try:
            await ask_for_life(self._peer, self._modern, self._holds, timeout)
        except UpstreamTimeout:
            if self._unread() >= before:
                raise

    def opened(self, modern: bool) -> None:
        """Note that the handshake is done, and whether the server speaks 2026-07-28."""
        self._modern = modern
        self._open.set()

    def close(self) -> None:
        """Watch no longer."""
        self._is_closed = True
        for task in self._tasks:
            task.cancel()

    def input_lost(self) -> None:
        """Note that no process reads the child's stdin any more."""
        if self._is_closed:
            return
        self.is_deaf = True
        self._tasks.append(asyncio.get_running_loop().create_task(self._end_deaf()))

    async def _end_deaf(self) -> None:
        await self._wait_usual_end()
        if not self._child.has_exited:
            await self._peer.settle(ANSWERS_OF_A_DEAF_CHILD)
        self._end("closed its input")

    async def _watch_exit(self) -> None:
        await self._child.wait_left()
        await self._wait_usual_end()
        if self._child.has_failed:
            if self._open.is_set():
                await self._end_unless_answered(AFTER_FAILURE)
            else:
                self._end("left its output open")
            return
        await self._open.wait()
        await self._end_unless_answered(AFTER_SUCCESS)

    async def _wait_usual_end(self) -> None:
        """Wait for the end of stdout. It is behind the last messages, which a busy proxy or a hold may keep waiting."""
        left = _REST
        quiet = False
        while True:
            was_quiet, quiet = quiet, not self._holds.reasons and (left <= 0 or not self._has_output())
            if quiet and was_quiet:
                return
            await asyncio.sleep(USUAL_END)
            if not self._holds.reasons:
                left -= USUAL_END

    async def _end_unless_answered(self, patience: float) -> None:
        try:
            await self.ask(patience)
        except UpstreamTimeout:
            self._end("left its output open")
        except UpstreamError:
            pass  # a refusal is an answer
