"""Legitimate designs: a proxy that listens, and several clients of it."""

from __future__ import annotations

from conformance.mutants import legitimate
from conformance.mutants.design_calls import connects_anew_for_each_call, makes_one_call_of_a_server_at_a_time

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
