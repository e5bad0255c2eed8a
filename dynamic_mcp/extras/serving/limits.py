"""The bounds of a proxy that serves clients over HTTP."""

from __future__ import annotations

import msgspec

from dynamic_mcp.protocol.lines import MAX_MESSAGE


class ServingLimits(msgspec.Struct, frozen=True):
    """The bounds of sessions, connections and messages."""

    #: bytes of one message of a client
    max_body: int = MAX_MESSAGE
    #: bytes of all messages that arrive at the same time
    max_bodies: int = 2 * MAX_MESSAGE
    #: seconds for the body of a request to arrive
    body_time: float = 60.0
    #: connections at once
    max_connections: int = 1024
    #: seconds for the head of a request to arrive, from the beginning of the connection or from its first byte after a response
    head_time: float = 10.0
    #: seconds without a byte after a response. Reverse proxies keep connections for up to 600 s, and a request can meet the end of one.
    keep_alive: float = 620.0
    #: sessions at once
    max_sessions: int = 192
    #: requests of a session in flight
    max_streams: int = 256
    #: streams of a session for messages outside of requests
    max_listeners: int = 8
    #: seconds after which a session without a connection ends
    idle: float = 1800.0
    #: seconds after which a session without a connection makes room for a new one
    idle_enough: float = 60.0
    #: bytes of sent events that a session keeps for a client that resumes
    max_replay: int = 1 << 20
    #: answered requests whose events a session keeps
    max_kept: int = 64
    #: seconds for which a session keeps the events of an answered request
    resume_time: float = 60.0
    #: bytes of messages that a session keeps for a client that has no stream for them
    max_backlog: int = 1 << 18
    #: seconds to wait for an answer before a stream begins in its place
    patience: float = 1.0
    #: seconds between two signs of life on a stream
    ping: float = 15.0
    #: unread bytes from which on a client counts as one that does not read
    unread: int = 1 << 20


LIMITS = ServingLimits()
