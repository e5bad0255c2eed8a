"""Mistakes with what comes from an upstream unasked, and with requests that are under way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw

from conformance.mutants import mutant, replace
from dynamic_mcp.frontend.call import Call
from dynamic_mcp.frontend.catalog import Catalog
from dynamic_mcp.frontend.relay import Relay
from dynamic_mcp.frontend.server import Frontend
from dynamic_mcp.frontend.session import ClientSession
from dynamic_mcp.frontend.subscriptions import UPDATED
from dynamic_mcp.groups.group import Group
from dynamic_mcp.protocol import jsonrpc
from dynamic_mcp.protocol.peer import Peer

if TYPE_CHECKING:
    from dynamic_mcp.frontend.call import Incoming, OnProgress
    from dynamic_mcp.protocol.jsonrpc import Message
    from dynamic_mcp.upstream.base import Options


@mutant("FRONT-021")
def keeps_subscriptions_to_itself() -> None:
    async def wrong(self: Group, uri: str) -> None:
        return

    replace(Group.subscribe, wrong)


@mutant("FRONT-021")
def relays_updates_that_nobody_subscribed_to() -> None:
    def wrong(self: Relay, params: Raw) -> None:
        self._session.notify(UPDATED, bytes(params))

    replace(Relay._updated, wrong)


@mutant("FRONT-022")
def serves_the_first_listing_for_ever() -> None:
    def wrong(self: Group, message: Message) -> None:
        self._hub.on_notification(self, message)

    replace(Group.on_notification, wrong)


@mutant(
    "FRONT-022",
    also={
        "FRONT-003": "changes are declared and never come",
        "FRONT-030": "those who listen are not told either",
    },
)
def does_not_tell_of_changed_lists() -> None:
    replace(Relay.announce, lambda self, method: None)


@mutant("FRONT-023")
def passes_on_the_upstreams_own_token() -> None:
    def wrong(self: Relay, incoming: Incoming) -> OnProgress:
        def pass_on(token: Raw, members: dict[str, Raw]) -> None:
            incoming.send(jsonrpc.notification("notifications/progress", msgspec.json.encode(members)))

        return pass_on

    replace(Relay.on_progress, wrong)


@mutant("FRONT-023")
def sends_progress_after_the_answer() -> None:
    right = Relay.on_progress

    def wrong(self: Relay, incoming: Incoming) -> OnProgress:
        pass_on = right(self, incoming)

        def later(token: Raw, members: dict[str, Raw]) -> None:
            asyncio.get_running_loop().call_later(0.45, pass_on, token, members)

        return later

    replace(right, wrong)


@mutant("FRONT-023")
def relays_progress_that_the_client_did_not_ask_for() -> None:
    right = Call.options

    def wrong(self: Call, timeout: float) -> Options:
        if self._token is None:
            self._token = Raw(b"0")
        return right(self, timeout)

    replace(right, wrong)


@mutant("FRONT-024", also={"FRONT-030": "a cancelled stream goes on"})
def ignores_cancellations() -> None:
    replace(Frontend._on_cancelled, lambda self, params: None)


@mutant("FRONT-024", also={"FRONT-004": "the cancellation seems to be answered"})
def answers_the_cancelled_call() -> None:
    right = Frontend._on_cancelled

    def wrong(self: Frontend, params: Raw) -> None:
        right(self, params)
        id = bytes(msgspec.json.decode(params, type=dict[str, Raw])["requestId"])
        self._send(jsonrpc.error(id, jsonrpc.error_object(-32800, "Request cancelled")))

    replace(right, wrong)


@mutant("FRONT-024")
def forwards_the_clients_id() -> None:
    right_cancelled, right_abandon = Frontend._on_cancelled, Peer._abandon
    given: list[Raw] = []

    def on_cancelled(self: Frontend, params: Raw) -> None:
        given.append(msgspec.json.decode(params, type=dict[str, Raw])["requestId"])
        right_cancelled(self, params)

    def abandon(self: Peer, id: int, method: str, reason: str) -> None:
        self._pending.pop(id, None)
        for client_id in given:
            self.notify(
                "notifications/cancelled", msgspec.json.encode({"requestId": client_id, "reason": reason})
            )

    replace(right_cancelled, on_cancelled)
    replace(right_abandon, abandon)


@mutant("FRONT-025", also={"FRONT-003": "completions are declared and do not work"})
def completes_with_an_empty_object() -> None:
    async def wrong(self: Catalog, call: Call) -> bytes:
        return b"{}"

    replace(Catalog.complete, wrong)


@mutant("FRONT-025")
def accepts_any_log_level() -> None:
    def wrong(self: ClientSession, level: str) -> None:
        self.level = level if level in ("debug", "warning") else self.level

    replace(ClientSession.set_level, wrong)


@mutant("FRONT-025")
def relays_messages_below_the_level() -> None:
    def wrong(self: ClientSession, message: Message) -> None:
        self.notify("notifications/message", bytes(message.params))

    replace(ClientSession.log, wrong)


@mutant("FRONT-026")
def offers_sampling_and_leaves_the_request_unanswered() -> None:
    right = Relay.on_request

    async def wrong(self: Relay, group: Group, message: Message) -> bytes:
        if message.method == "sampling/createMessage":
            await asyncio.Event().wait()
        return await right(self, group, message)

    replace(Relay.offered, lambda self: b'{"sampling":{}}')
    replace(right, wrong)


@mutant("FRONT-026", also={"FRONT-031": "its client cannot be asked"})
def asks_the_client_what_it_cannot_answer() -> None:
    replace(ClientSession.can, lambda self, capability: True)
