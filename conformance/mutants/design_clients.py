"""Legitimate designs: a proxy that listens, and several clients of it."""

from __future__ import annotations

import json
from typing import Any

from conformance.mutants import legitimate, replace
from conformance.mutants.design_calls import connects_anew_for_each_call, makes_one_call_of_a_server_at_a_time
from conformance.mutants.share import give_each_client_its_own_servers
from dynamic_mcp.extras.serving.legacy_era import LegacyEra
from dynamic_mcp.extras.serving.refused import RefusedRequest
from dynamic_mcp.extras.serving.sessions import ServedSession

_SERVED = """\
command = [
    "{python}", "-m", "dynamic_mcp", "serve", "{config}", "--listen", "127.0.0.1:{port}", "--linger", "200ms",
]
starts_within = 15

[client]
transport = "http"
url = "http://127.0.0.1:{port}/mcp"
shares = true
lingers = 0.2
"""
_UNSHARED = _SERVED.replace("shares = true\nlingers = 0.2\n", "")
#: the checks in which calls of several clients meet at one server
_MEETINGS = ("SHARE-001", "SHARE-002", "SHARE-003", "SHARE-004", "SHARE-008")


@legitimate(*_MEETINGS, profile=_SERVED)
def makes_one_call_of_a_server_at_a_time_for_all_clients() -> None:
    """A call waits for the answer to the call before, also to that of another client."""
    makes_one_call_of_a_server_at_a_time()


@legitimate(*_MEETINGS, profile=_SERVED)
def connects_anew_for_each_call_of_each_client() -> None:
    """The calls of two clients are at different processes of one server."""
    connects_anew_for_each_call()


@legitimate("SHARE-010", "SHARE-011", "FRONT-161", "FRONT-162", "FRONT-163", profile=_UNSHARED)
def ends_sessions_by_their_idle_time_alone() -> None:
    """It refuses every DELETE with 405, and each session has servers of its own."""

    async def refused(self: LegacyEra, *arguments: Any) -> None:
        raise RefusedRequest(405, "a session ends when it has been idle for a while")

    replace(LegacyEra.delete, refused)
    give_each_client_its_own_servers()


@legitimate("FRONT-024", "FRONT-180", profile=_SERVED)
def answers_what_the_client_cancels_with_an_error() -> None:
    """A gateway that answers in JSON needs a body for the response."""
    cancelled = ServedSession.cancelled

    def answered(self: ServedSession, request: object) -> None:
        # Private: no public method adds to the stream of one request.
        for name, requests in self._open.items():
            if request in requests:
                error = {"jsonrpc": "2.0", "id": request, "error": {"code": -32800, "message": "cancelled"}}
                self._streams[name].put(json.dumps(error).encode())
        cancelled(self, request)

    replace(cancelled, answered)
