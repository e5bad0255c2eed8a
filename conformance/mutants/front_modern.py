"""Mistakes with the revision 2026-07-28."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.mutants import mutant, replace
from dynamic_mcp.frontend import bridge, server
from dynamic_mcp.frontend.server import Frontend
from dynamic_mcp.frontend.session import ClientSession
from dynamic_mcp.frontend.subscriptions import Listener
from dynamic_mcp.protocol import era, jsonrpc
from dynamic_mcp.protocol.jsonrpc import Refusal

if TYPE_CHECKING:
    from dynamic_mcp.frontend.call import Incoming


@mutant("FRONT-027", also=dict.fromkeys(("FRONT-018", "FRONT-029", "FRONT-031"), "its modern client probes"))
def stays_silent_when_it_is_probed() -> None:
    right = Frontend._route_modern

    def wrong(self: Frontend, incoming: Incoming) -> None:
        if incoming.method != "server/discover":
            right(self, incoming)

    replace(right, wrong)


@mutant("FRONT-027", also={"FRONT-028": "its client of the handshake comes after a modern request"})
def refuses_initialize_after_the_probe() -> None:
    right_modern, right_legacy = Frontend._route_modern, Frontend._route_legacy
    probed: set[Frontend] = set()

    def modern(self: Frontend, incoming: Incoming) -> None:
        probed.add(self)
        right_modern(self, incoming)

    def legacy(self: Frontend, incoming: Incoming) -> None:
        if incoming.method == "initialize" and self in probed:
            raise Refusal(era.UNSUPPORTED_VERSION, "This connection is modern")
        right_legacy(self, incoming)

    replace(right_modern, modern)
    replace(right_legacy, legacy)


@mutant(
    "FRONT-028", also=dict.fromkeys(("FRONT-029", "FRONT-030", "FRONT-031"), "its modern client makes none")
)
def wants_a_handshake_of_modern_clients() -> None:
    right = Frontend._route_modern

    def wrong(self: Frontend, incoming: Incoming) -> None:
        if self._session.version is None:
            raise Refusal(jsonrpc.INVALID_REQUEST, "Not initialized")
        right(self, incoming)

    replace(right, wrong)


@mutant("FRONT-028")
def calls_an_unsupported_version_invalid_params() -> None:
    replace(era.UNSUPPORTED_VERSION, jsonrpc.INVALID_PARAMS)


@mutant("FRONT-028")
def serves_removed_methods_to_modern_clients() -> None:
    right = Frontend._route_modern

    def wrong(self: Frontend, incoming: Incoming) -> None:
        if incoming.method == "ping":
            server._answer(incoming, b"{}")
        else:
            right(self, incoming)

    replace(right, wrong)


@mutant(
    "FRONT-029",
    also=dict.fromkeys(
        ("FRONT-018", "FRONT-027", "FRONT-028", "FRONT-030", "FRONT-031"),
        "the type of other results is missing",
    ),
)
def wraps_results_of_calls_only() -> None:
    right = bridge.modern_result
    replace(right, lambda method, result: right(method, result) if method == "tools/call" else result)


@mutant("FRONT-029")
def lets_everybody_cache_everything() -> None:
    right = bridge.modern_result
    replace(right, lambda method, result: right(method, result).replace(b'"private"', b'"public"'))


@mutant("FRONT-030")
def tells_listeners_what_they_did_not_ask_for() -> None:
    replace(Listener.wants, lambda self, method, uri=None: True)


@mutant("FRONT-030")
def turns_the_id_of_a_subscription_into_a_string() -> None:
    right = Listener.tell

    def wrong(self: Listener, method: str, params: bytes = b"") -> None:
        self._id = b'"%b"' % self._id.strip(b'"')
        right(self, method, params)

    replace(right, wrong)


@mutant("FRONT-030")
def speaks_to_modern_clients_that_do_not_listen() -> None:
    def wrong(self: ClientSession, method: str, params: bytes = b"") -> None:
        self.client_peer.notify(method, params)

    replace(ClientSession.notify, wrong)
