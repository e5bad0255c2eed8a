"""Mistakes in the session with the client: versions, stdout, ping, malformed input, ids, batches."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw

from conformance.mutants import mutant, replace
from dynamic_mcp.frontend.batch import Batch
from dynamic_mcp.frontend.client import ClientLink
from dynamic_mcp.frontend.server import Frontend
from dynamic_mcp.frontend.session import ClientSession
from dynamic_mcp.groups.reload import Reload
from dynamic_mcp.groups.supervisor import Supervisor
from dynamic_mcp.oauth import browser
from dynamic_mcp.protocol import jsonrpc

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynamic_mcp.config.diff import Diff
    from dynamic_mcp.config.model import Config
    from dynamic_mcp.frontend.call import Incoming
    from dynamic_mcp.protocol.jsonrpc import Message, OnOversized


@mutant(
    "FRONT-001",
    also=dict.fromkeys(("FRONT-026", "FRONT-031"), "questions have another form in another version"),
)
def answers_with_a_constant_version() -> None:
    right = ClientSession.initialize

    def wrong(self: ClientSession, params: Raw) -> str:
        right(self, params)
        return "2024-11-05"

    replace(right, wrong)


@mutant("FRONT-002")
def echoes_any_version() -> None:
    right = ClientSession.initialize

    def wrong(self: ClientSession, params: Raw) -> str:
        right(self, params)
        return str(msgspec.json.decode(params)["protocolVersion"])

    replace(right, wrong)


@mutant("FRONT-004")
def greets_on_stdout() -> None:
    right = ClientLink.open

    async def wrong(
        self: ClientLink, receive: Callable[[bytes], None], receive_oversized: OnOversized
    ) -> None:
        await right(self, receive, receive_oversized)
        self.send(b"dynamic-mcp is ready\n")

    replace(right, wrong)


@mutant("FRONT-004", also={"OAUTH-023": "where there is no browser, it says so too"})
def talks_about_the_sign_in_on_stdout() -> None:
    right, say = browser.show, _on_stdout()

    async def wrong(url: str, server: str) -> None:
        say("waiting for your browser")
        await right(url, server)

    replace(right, wrong)


@mutant("FRONT-004")
def talks_about_a_reload_on_stdout() -> None:
    right, say = Supervisor.apply, _on_stdout()

    def wrong(self: Supervisor, new: Config, changes: Diff) -> None:
        say("the configuration has changed")
        right(self, new, changes)

    replace(right, wrong)


@mutant("FRONT-004", also={"OPS-009": "a reload that is not valid is part of it"})
def talks_about_a_bad_file_on_stdout() -> None:
    right, say = Reload._say, _on_stdout()

    def wrong(self: Reload, problem: str) -> None:
        say(problem)
        right(self, problem)

    replace(right, wrong)


@mutant(
    "FRONT-004",
    also={
        "FRONT-006": "there are more answers than lines that want one",
        "FRONT-007": "there are more answers than requests",
        "FRONT-008": "a batch of notifications is answered",
    },
)
def answers_notifications() -> None:
    right = Frontend._on_notification

    def wrong(self: Frontend, message: Message) -> None:
        right(self, message)
        error = jsonrpc.error_object(jsonrpc.METHOD_NOT_FOUND, f"Method not found: {message.method}")
        self._send(jsonrpc.error(jsonrpc.NULL, error))

    replace(right, wrong)


@mutant("FRONT-005", also={"FRONT-028": "ping has to work in a session"})
def does_not_know_ping() -> None:
    right = Frontend._route_legacy

    def wrong(self: Frontend, incoming: Incoming) -> None:
        if incoming.method == "ping":
            raise jsonrpc.Refusal(jsonrpc.METHOD_NOT_FOUND, "Method not found: ping")
        right(self, incoming)

    replace(right, wrong)


@mutant(
    "FRONT-005",
    also={
        "FRONT-030": "a stream of changes is a request that stays",
        "FRONT-031": "the call waits for the client while the client answers",
    },
)
def serves_one_request_after_the_other() -> None:
    right = Frontend.receive

    def wrong(self: Frontend, line: bytes) -> None:
        if self._running:
            asyncio.get_running_loop().call_later(0.01, wrong, self, line)
        else:
            right(self, line)

    replace(right, wrong)


@mutant("FRONT-006", also={"FRONT-008": "an invalid batch is no broken JSON"})
def takes_everything_malformed_for_broken_json() -> None:
    replace(jsonrpc.INVALID_REQUEST, jsonrpc.PARSE_ERROR)


@mutant(
    "FRONT-006",
    also={
        "FRONT-003": "methods that are not declared are unknown",
        "FRONT-028": "ping is unknown to modern clients",
    },
)
def an_unknown_method_is_an_internal_error() -> None:
    replace(jsonrpc.METHOD_NOT_FOUND, jsonrpc.INTERNAL_ERROR)


@mutant("FRONT-007")
def turns_negative_ids_into_strings() -> None:
    right = jsonrpc.result

    def wrong(id: bytes, value: bytes) -> bytes:
        return right(b'"%b"' % id if id.startswith(b"-") else id, value)

    replace(right, wrong)


@mutant("FRONT-007")
def takes_a_request_with_id_0_for_a_notification() -> None:
    right = jsonrpc.parse

    def wrong(line: bytes) -> Message:
        message = right(line)
        if message.method is not None and bytes(message.id) == b"0":
            return msgspec.structs.replace(message, id=Raw(b""))
        return message

    replace(right, wrong)


@mutant("FRONT-008")
def answers_each_member_of_a_batch_in_a_line_of_its_own() -> None:
    def wrong(self: Batch, line: bytes) -> None:
        self._send(line)

    replace(Batch.answer, wrong)


@mutant("FRONT-008")
def ignores_batches_in_silence() -> None:
    replace(Frontend._receive_batch, lambda self, line: None)


def _on_stdout() -> Callable[[str], None]:
    """What writes a line to the stdout of now: the reference moves that out of the way of a plain print."""
    stdout = os.fdopen(os.dup(1), "w", buffering=1)
    return lambda text: print(text, file=stdout)
