"""Mistakes in the translation between the eras."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from conformance.mutants import mutant, replace
from dynamic_mcp.frontend import bridge, exchange
from dynamic_mcp.frontend.relay import Relay

if TYPE_CHECKING:
    from dynamic_mcp.groups.group import Group
    from dynamic_mcp.protocol.jsonrpc import Message


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


@mutant("FRONT-031", also={"FRONT-026": "a modern client has no requests to answer"})
def asks_modern_clients_by_requests() -> None:
    right = Relay.on_request

    async def wrong(self: Relay, group: Group, message: Message) -> bytes:
        if message.method == "elicitation/create":
            return await self._session.ask(message.method, bytes(message.params))
        return await right(self, group, message)

    replace(right, wrong)
