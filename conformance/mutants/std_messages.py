"""Mistakes in the messages with stdio upstreams."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import msgspec

from conformance.mutants import mutant, wire, wire_http
from conformance.mutants.wire import params_of, results_of, without
from dynamic_mcp.groups import backoff

if TYPE_CHECKING:
    from conformance.mutants.wire import Changed, Message, Way
    from conformance.mutants.wire_http import ProxyRequest

CANCELLED = "notifications/cancelled"


@mutant(
    "STD-011",
    also=dict.fromkeys(
        (*(f"STD-0{n:02}" for n in (9, 10, 12, 13, 14, 15, 16, 18, 20, 46)), "OPS-003", "OPS-016"),
        "no call arrives, and these make one",
    ),
)
def writes_calls_on_several_lines() -> None:
    def wrong(message: Message, way: Way) -> Changed:
        if message.get("method") != "tools/call":
            return message
        return msgspec.json.format(msgspec.json.encode(message), indent=2) + b"\n"

    wire.to_stdio_upstreams(wrong)


@mutant("STD-011")
def writes_latin_1() -> None:
    wire.to_stdio_upstreams.lines(lambda line, way: line.decode().encode("latin-1", errors="replace"))


@mutant("STD-012", also={"STD-046": "one of the calls gets no answer, and all later ones are off by one"})
def gives_each_answer_to_the_oldest_request() -> None:
    """dmcp 1.5.0 takes the next line as the answer to its last request, in send_request."""
    wire.from_stdio_upstreams(
        lambda message, way: message if "method" in message else {**message, "id": way.back.oldest}
    )


@mutant("STD-012")
def gives_answers_of_reads_and_prompts_to_the_oldest_of_their_kind() -> None:
    def wrong(message: Message, way: Way) -> Changed:
        method = way.method_of(message)
        if "method" in message or method not in ("resources/read", "prompts/get"):
            return message
        same = (one["id"] for one in way.back.asked.values() if one["method"] == method)
        return {**message, "id": next(same)}

    wire.from_stdio_upstreams(wrong)


@mutant("STD-030")
def closes_at_the_first_line_that_is_no_message() -> None:
    def wrong(line: bytes, way: Way) -> bytes:
        if "jsonrpc" not in (wire.decoded(line) or {}):
            raise wire.HangUp
        return line

    wire.from_stdio_upstreams.lines(wrong)


@mutant("STD-013")
def takes_a_notification_for_the_answer() -> None:
    def wrong(message: Message, way: Way) -> Changed:
        if "id" in message:
            return message
        return {"jsonrpc": "2.0", "id": way.back.oldest, "result": message["params"]}

    wire.from_stdio_upstreams(wrong)


@mutant("STD-015", also={"STD-046": "a late answer goes to the next call"})
def stays_one_answer_behind() -> None:
    unread: list[Message] = []

    def wrong(message: Message, way: Way) -> Changed:
        if "method" in message:
            return message
        unread.append(message)
        return {**unread.pop(0), "id": message["id"]} if way.request_of(message) else None

    wire.from_stdio_upstreams(wrong)


@mutant("STD-046", also={"STD-015": "a late answer has an unknown id too"})
def gives_an_answer_with_an_unknown_id_to_the_oldest_call() -> None:
    def wrong(message: Message, way: Way) -> Changed:
        if "method" in message or way.request_of(message):
            return message
        return {**message, "id": way.back.oldest}

    wire.from_stdio_upstreams(wrong)


@mutant("STD-016")
def does_not_notice_that_a_child_is_gone() -> None:
    """The call waits for its full 30 s."""
    wire.from_stdio_upstreams.watch().at_end = threading.Event().wait


@mutant("STD-016")
def calls_the_death_of_a_child_a_success() -> None:
    """The client gets an empty result in place of the error."""

    def wrong(result: Message) -> Message:
        text = result["content"][0]["text"] if result.get("isError") else ""
        return {"content": []} if "ended" in text or "closed" in text else result

    wire.to_client(results_of("tools/call", wrong))


@mutant("STD-017")
def starts_the_dead_again_without_a_pause() -> None:
    backoff.RETRY_DELAYS = (0.0, 0.0, 0.0)
    backoff.RETRY_FOREVER = backoff.RESTART_DELAY = 0.0


@mutant("STD-061")
def listens_to_the_first_process_only() -> None:
    first: list[Way] = []

    def wrong(message: Message, way: Way) -> Changed:
        if message.get("method") != "subscriptions/listen":
            return message
        first.append(way)
        return message if way is first[0] else None

    wire.to_stdio_upstreams(wrong)


@mutant("STD-018")
def gives_up_on_a_line_of_64_kib() -> None:
    """That is the default limit of Python's asyncio streams."""

    def wrong(line: bytes, way: Way) -> bytes:
        if len(line) > 1 << 16:
            raise wire.HangUp
        return line

    wire.from_stdio_upstreams.lines(wrong)


@mutant("STD-018")
def shortens_long_arguments() -> None:
    def wrong(params: Message) -> Message:
        arguments = {
            name: value[: 1 << 16] if isinstance(value, str) else value
            for name, value in params.get("arguments", {}).items()
        }
        return {**params, "arguments": arguments}

    wire.to_stdio_upstreams(params_of("tools/call", wrong))


@mutant("STD-020")
def ignores_requests_from_upstreams() -> None:
    wire.from_stdio_upstreams(
        lambda message, way: None if "method" in message and "id" in message else message
    )


@mutant("STD-020")
def ignores_requests_with_the_id_0() -> None:
    """It takes the id for a missing one."""
    wire.from_stdio_upstreams(
        lambda message, way: None if "method" in message and message.get("id") == 0 else message
    )


@mutant("STD-021")
def never_cancels_a_call() -> None:
    wire.to_stdio_upstreams(without(CANCELLED))


@mutant("STD-021")
def cancels_by_another_id() -> None:
    wire.to_stdio_upstreams(
        params_of(CANCELLED, lambda params: {**params, "requestId": params["requestId"] + 1})
    )


def _is_question(message: Message) -> bool:
    return {"id", "method"} <= message.keys()


@mutant("STD-020")
def answers_requests_of_a_server_only_during_its_calls() -> None:
    def wrong(message: Message, way: Way) -> Changed:
        return None if _is_question(message) and not way.back.asked else message

    wire.from_stdio_upstreams(wrong)


@mutant("STD-020")
def leaves_unknown_requests_of_servers_unanswered() -> None:
    wire.from_stdio_upstreams(without("example/unknown"))


@mutant("STD-020")
def leaves_requests_of_servers_unanswered_over_http() -> None:
    """A ping gets its answer."""

    def wrong(request: ProxyRequest, event: bytes) -> bytes | None:
        message = wire.decoded(wire_http.data_of(event)) or {}
        return None if _is_question(message) and message["method"] != "ping" else event

    wire_http.change_events(wrong)
