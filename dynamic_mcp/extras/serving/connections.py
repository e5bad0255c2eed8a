"""The TCP connections of a proxy over HTTP.

A connection *waits* while the proxy answers no request on it: before its first request, between two requests, and after its last one. It
may do so for ``keep_alive`` seconds if it is idle after a response, else for ``head_time`` seconds. If all connections are in use, the one
that has waited longest makes room for a new client. So a client without a token cannot keep others out by connections on which it sends no
whole request.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from itertools import chain
from typing import TYPE_CHECKING, Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from dynamic_mcp.extras.serving.limits import ServingLimits
from dynamic_mcp.extras.serving.repeated import RepeatedWarning
from dynamic_mcp.frontend import backlog

if TYPE_CHECKING:
    from starlette.types import Scope

#: The member of the state in an ASGI scope that resets the connection.
_RESET = "reset"
#: RFC 9110, section 15.5.9.
_LATE = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
#: Closing a socket with this option drops what waits for the client, in the system too.
_DROP_UNREAD = struct.pack("ii", 1, 0)


class Connections:
    """Those that wait, of all connections."""

    def __init__(self, limits: ServingLimits) -> None:
        self.limits = limits
        #: those without any request yet, and those after one; the oldest first
        self._new: dict[HttpConnection, None] = {}
        self._idle: dict[HttpConnection, None] = {}
        self._warnings = RepeatedWarning()

    def make(self, **arguments: Any) -> HttpConnection:
        """A connection, for the HTTP library."""
        return HttpConnection(self, **arguments)

    def waits(self, connection: HttpConnection) -> None:
        """Note that a connection waits from now on."""
        (self._new if connection.cycle is None else self._idle)[connection] = None

    def waits_no_more(self, connection: HttpConnection) -> None:
        """Note that a connection has a request, or is lost."""
        self._new.pop(connection, None)
        self._idle.pop(connection, None)

    def make_room(self, newest: HttpConnection) -> None:
        """End another connection that waits, because there are too many. If none waits, the library answers 503 to the newest."""
        others = (one for one in chain(self._new, self._idle) if one is not newest)
        oldest = next(others, None)
        what = f"all {self.limits.max_connections} connections are in use"
        if oldest is None:
            reason = f"{what}, so a new client got 503"
        else:
            reason = f"{what}, so one without a request ended for a new client"
            oldest.reset()
        self._warnings.warn(reason, reason)

    def close(self) -> None:
        """Log what is left."""
        self._warnings.close()


class HttpConnection(H11Protocol):
    """One connection."""

    def __init__(self, owner: Connections, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.app_state = {**self.app_state, _RESET: self._reset_unfinished}
        self._owner = owner
        #: runs while the connection waits
        self._deadline: asyncio.TimerHandle | None = None
        #: whether it was idle when it began to wait
        self._was_idle = False
        #: bytes of the last response that the client had not read when last asked
        self._unread = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._look()
        if len(self.connections) > self._owner.limits.max_connections:
            self._owner.make_room(self)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._look()

    def timeout_keep_alive_handler(self) -> None:
        """Keep the connection, against the library, because ``_end_waiting`` ends it."""

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def reset(self) -> None:
        """End the connection at once. The client gets nothing more, and sees that it was reset."""
        if self not in self.connections:
            return
        self.connections.discard(self)
        self._stop_waiting()
        with contextlib.suppress(OSError):
            connection = self.transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DROP_UNREAD)
        self.transport.abort()

    def _reset_unfinished(self, scope: Scope) -> None:
        # The state belongs to one request, also in a copy of its scope.
        is_current = self.cycle is not None and self.cycle.scope["state"] is scope["state"]
        if is_current and not self.cycle.response_complete:
            self.reset()

    def _look(self) -> None:
        """Begin or stop waiting."""
        if self.cycle is not None and not self.cycle.response_complete:
            if self._deadline is not None:
                self._stop_waiting()
            return
        is_idle = self._is_idle()
        if self in self.connections and (self._deadline is None or (self._was_idle and not is_idle)):
            if self._deadline is not None:
                self._deadline.cancel()
            self._unread, self._was_idle = 0, is_idle
            limits = self._owner.limits
            seconds = limits.keep_alive if is_idle else limits.head_time
            self._deadline = self.loop.call_later(seconds, self._end_waiting)
            self._owner.waits(self)

    def _is_idle(self) -> bool:
        """Whether the last request has its response, and no byte of another one has come."""
        return self.cycle is not None and self.conn.our_state is h11.IDLE and not self.conn.trailing_data[0]

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self._owner.waits_no_more(self)

    def _end_waiting(self) -> None:
        """End the connection, after the client has read the last response."""
        unread = self.transport.get_write_buffer_size()
        if unread and unread != self._unread:
            self._unread = unread
        elif unread or self.transport.is_closing():
            self.reset()
            return
        else:
            if self.conn.our_state is h11.IDLE and self.conn.trailing_data[0]:
                self.transport.write(_LATE)
            self.transport.close()
        self._deadline = self.loop.call_later(backlog.STUCK_AFTER, self._end_waiting)


def reset(scope: Scope) -> None:
    """Reset the connection of a request, unless its response is complete."""
    scope["state"][_RESET](scope)
