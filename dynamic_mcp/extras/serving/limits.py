"""The bounds of a proxy that serves clients over HTTP."""

from __future__ import annotations

import msgspec

from dynamic_mcp.protocol.lines import MAX_MESSAGE


class ServingLimits(msgspec.Struct, frozen=True):
    """Times are in seconds, and sizes in bytes."""

    #: one message of a client, and all that arrive at the same time
    max_body: int = MAX_MESSAGE
    max_bodies: int = 2 * MAX_MESSAGE
    #: in which the body of a request has to arrive
    body_time: float = 60.0
    #: connections, and the time that each may have without a request that is being answered
    max_connections: int = 1024
    head_time: float = 10.0
    max_sessions: int = 192
    #: requests of a session in flight, and its streams for messages outside of requests
    max_streams: int = 256
    max_listeners: int = 8
    #: after which a session without a connection ends, and after which it makes room for a new one
    idle: float = 1800.0
    idle_enough: float = 60.0
    #: sent events of a session that it keeps for a client that resumes; of how many answered requests, and how long
    max_replay: int = 1 << 20
    max_kept: int = 64
    resume_time: float = 60.0
    #: what a session keeps for a client that has no stream for it
    max_backlog: int = 1 << 18
    #: to wait for an answer before a stream begins in its place
    patience: float = 1.0
    #: between two signs of life on a stream
    ping: float = 15.0
    #: a client with more unread bytes counts as one that does not read
    unread: int = 1 << 20


LIMITS = ServingLimits()
