"""Mistakes with the revision 2026-07-28 and in the translation between it and those before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from conformance.mutants import mutant, replace
from dynamic_mcp.face import bridge, exchange
from dynamic_mcp.face.relay import Relay
from dynamic_mcp.face.server import Face
from dynamic_mcp.face.session import Session
from dynamic_mcp.face.subscriptions import Listener
from dynamic_mcp.protocol import era, jsonrpc
from dynamic_mcp.protocol.jsonrpc import Refusal

if TYPE_CHECKING:
    from dynamic_mcp.face.call import Incoming
    from dynamic_mcp.groups import Group


@mutant("FRONT-027")
def stays_silent_when_it_is_probed() -> None:
    right = Face._route_modern

    def wrong(self: Face, incoming: Incoming) -> None:
        if incoming.method != "server/discover":
            right(self, incoming)

    replace(right, wrong)


@mutant("FRONT-027")
def refuses_initialize_after_the_probe() -> None:
    right_modern, right_legacy = Face._route_modern, Face._route_legacy
    probed: set[Face] = set()

    def modern(self: Face, incoming: Incoming) -> None:
        probed.add(self)
        right_modern(self, incoming)

    def legacy(self: Face, incoming: Incoming) -> None:
        if incoming.method == "initialize" and self in probed:
            raise Refusal(era.UNSUPPORTED_VERSION, "This connection is modern")
        right_legacy(self, incoming)

    replace(right_modern, modern)
    replace(right_legacy, legacy)


@mutant("FRONT-028")
def wants_a_handshake_of_modern_clients() -> None:
    right = Face._route_modern

    def wrong(self: Face, incoming: Incoming) -> None:
        if self._session.version is None:
            raise Refusal(jsonrpc.INVALID_REQUEST, "Not initialized")
        right(self, incoming)

    replace(right, wrong)


@mutant("FRONT-028")
def calls_an_unsupported_version_invalid_params() -> None:
    replace(era.UNSUPPORTED_VERSION, jsonrpc.INVALID_PARAMS)


@mutant("FRONT-028")
def serves_removed_methods_to_modern_clients() -> None:
    right = Face._route_modern

    def wrong(self: Face, incoming: Incoming) -> None:
        if incoming.method == "ping":
            self._answer(incoming, b"{}")
        else:
            right(self, incoming)

    replace(right, wrong)


@mutant("FRONT-029")
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
    def wrong(self: Session, method: str, params: bytes = b"") -> None:
        self.asking.notify(method, params)

    replace(Session.notify, wrong)


@mutant("FRONT-031")
def shows_a_legacy_client_questions_as_the_result() -> None:
    replace(exchange.questions_of, lambda result: None)


@mutant("FRONT-031")
def puts_the_state_of_an_upstream_into_its_own_words() -> None:
    right = bridge.modern_result

    def wrong(method: str, result: bytes) -> bytes:
        members = msgspec.json.decode(right(method, result), type=dict[str, Any])
        if "requestState" in members:
            members["requestState"] = members["requestState"].strip('\\"')
        return msgspec.json.encode(members)

    replace(right, wrong)


@mutant("FRONT-031")
def passes_forbidden_codes_to_modern_clients() -> None:
    replace(bridge.modern_error, lambda error: error)


@mutant("FRONT-031")
def asks_modern_clients_by_requests() -> None:
    right = Relay.on_request

    async def wrong(self: Relay, group: Group, message: Any) -> bytes:
        if message.method == "elicitation/create":
            return await self._session.ask(message.method, bytes(message.params))
        return await right(self, group, message)

    replace(right, wrong)
