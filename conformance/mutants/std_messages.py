"""Mistakes in talking to stdio upstreams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from conformance.mutants import mutant, replace
from dynamic_mcp.errors import UpstreamFailed, UpstreamGone
from dynamic_mcp.groups import backoff
from dynamic_mcp.protocol import jsonrpc
from dynamic_mcp.protocol.peer import Peer

if TYPE_CHECKING:
    from collections.abc import Callable

    Message = dict[str, Any]


@mutant(
    "STD-011",
    also=dict.fromkeys(
        (f"STD-0{n:02}" for n in (9, 10, 12, 13, 14, 15, 16, 18, 20)), "no call arrives, and these make one"
    ),
)
def writes_calls_on_several_lines() -> None:
    right = jsonrpc.request

    def wrong(id: bytes, method: str, params: bytes) -> bytes:
        line = right(id, method, params)
        return msgspec.json.format(line, indent=2) + b"\n" if method == "tools/call" else line

    replace(right, wrong)


@mutant("STD-011")
def writes_latin_1() -> None:
    right = jsonrpc.request

    def wrong(id: bytes, method: str, params: bytes) -> bytes:
        return right(id, method, params).decode().encode("latin-1", errors="replace")

    replace(right, wrong)


@mutant("STD-012", also={"STD-013": "one of the calls is never answered, and all that follow are off by one"})
def gives_each_answer_to_the_oldest_request() -> None:
    def oldest(peer: Peer, message: Message) -> Message:
        return {**message, "id": min(peer._pending, default=None)}

    _change_answers(oldest)


@mutant("STD-013")
def closes_at_the_first_line_that_is_no_message() -> None:
    right = Peer.receive

    def wrong(self: Peer, line: bytes) -> None:
        try:
            jsonrpc.parse(line)
        except jsonrpc.Malformed as problem:
            self.close(UpstreamFailed(problem.what))
        right(self, line)

    replace(right, wrong)


@mutant("STD-013")
def takes_a_notification_for_the_answer() -> None:
    def wrong(peer: Peer, message: Message) -> Message:
        if "id" in message:
            return message
        return {"jsonrpc": "2.0", "id": min(peer._pending, default=None), "result": message["params"]}

    _change_messages(wrong)


@mutant("STD-015", also={"STD-013": "what comes late is an answer to the next"})
def stays_one_answer_behind() -> None:
    unread: list[Message] = []

    def next_unread(peer: Peer, message: Message) -> Message | None:
        unread.append(message)
        return {**unread.pop(0), "id": message["id"]} if message["id"] in peer._pending else None

    _change_answers(next_unread)


@mutant("STD-016")
def does_not_notice_that_a_child_is_gone() -> None:
    right = Peer.close

    def wrong(self: Peer, reason: Any) -> None:
        if not isinstance(reason, UpstreamGone):
            right(self, reason)

    replace(right, wrong)


@mutant("STD-017")
def starts_the_dead_again_without_a_pause() -> None:
    backoff.RETRY_DELAYS = (0.0, 0.0, 0.0)
    backoff.RETRY_FOREVER = backoff.RESTART_DELAY = 0.0


@mutant("STD-018")
def gives_up_on_a_line_of_64_kib() -> None:
    right = Peer.receive

    def wrong(self: Peer, line: bytes) -> None:
        if len(line) > 1 << 16:
            self.close(UpstreamFailed("a line is too long"))
        right(self, line)

    replace(right, wrong)


@mutant("STD-018")
def shortens_long_arguments() -> None:
    right = jsonrpc.request

    def wrong(id: bytes, method: str, params: bytes) -> bytes:
        if len(params) > 1 << 16:
            value = msgspec.json.decode(params)
            value["arguments"] = {name: text[: 1 << 16] for name, text in value["arguments"].items()}
            params = msgspec.json.encode(value)
        return right(id, method, params)

    replace(right, wrong)


@mutant("STD-020")
def ignores_requests_from_upstreams() -> None:
    _change_messages(lambda peer, message: None if "method" in message and "id" in message else message)


@mutant("STD-021")
def never_cancels_a_call() -> None:
    right = Peer.notify

    def wrong(self: Peer, method: str, params: bytes = b"") -> None:
        if method != "notifications/cancelled":
            right(self, method, params)

    replace(right, wrong)


@mutant("STD-021")
def cancels_by_another_id() -> None:
    right = Peer.notify

    def wrong(self: Peer, method: str, params: bytes = b"") -> None:
        if method == "notifications/cancelled":
            value = msgspec.json.decode(params)
            params = msgspec.json.encode({**value, "requestId": value["requestId"] + 1})
        right(self, method, params)

    replace(right, wrong)


def _change_messages(change: Callable[[Peer, Message], Message | None]) -> None:
    """Let ``change`` alter, or drop, each message of an upstream before the reference sees it."""
    right = Peer.receive

    def wrong(self: Peer, line: bytes) -> None:
        try:
            message = msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.DecodeError:
            right(self, line)
            return
        changed = change(self, message)
        if changed is not None:
            right(self, msgspec.json.encode(changed))

    replace(right, wrong)


def _change_answers(change: Callable[[Peer, Message], Message | None]) -> None:
    """The same for answers alone."""
    _change_messages(lambda peer, message: message if "method" in message else change(peer, message))
