"""Mistakes in the session with the client: versions, stdout, ping, malformed input, ids, batches."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec

from conformance.mutants import mutant, replace, wire
from conformance.mutants.wire import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    answer,
    codes,
    refusal,
    results_of,
)
from dynamic_mcp.groups.supervisor import Supervisor
from dynamic_mcp.log import log
from dynamic_mcp.oauth import browser

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.mutants.wire import Change, Changed, Message, Way
    from dynamic_mcp.config.diff import Diff
    from dynamic_mcp.config.model import Config

#: the checks of other requirements whose client pings
_PINGS = dict.fromkeys(
    ("FRONT-005", "FRONT-028", "OAUTH-027", "OPS-012"),
    "a ping is part of it, and each request has one answer",
)


@mutant(
    "FRONT-001",
    also=dict.fromkeys(
        ("FRONT-026", "FRONT-031", "FRONT-037"), "questions have another form in another version"
    ),
)
def answers_with_a_constant_version() -> None:
    """dmcp 1.5.0 behaves like this, with 2024-11-05."""
    wire.to_client(results_of("initialize", lambda result: {**result, "protocolVersion": "2024-11-05"}))


@mutant("FRONT-002")
def echoes_any_version() -> None:
    """The proxy repeats the version of the client, whether it knows the version or not."""

    def wrong(message: Message, way: Way) -> Changed:
        if way.method_of(message) != "initialize" or "result" not in message:
            return message
        version = way.request_of(message)["params"]["protocolVersion"]
        return answer(message, result={**message["result"], "protocolVersion": version})

    wire.to_client(wrong)


@mutant(
    "FRONT-004",
    also=dict.fromkeys(("CFG-011", "OPS-003", "OPS-009", "OPS-042"), "stdout has to stay clean there too"),
)
def greets_on_stdout() -> None:
    greeting: list[Message | bytes] = [b"dynamic-mcp is ready\n"]

    def wrong(message: Message, way: Way) -> Changed:
        return [greeting.pop(), message] if greeting else message

    wire.to_client(wrong)


@mutant(
    "FRONT-004",
    also={"OAUTH-023": "without a browser, this line appears on stdout too"},
)
def talks_about_the_sign_in_on_stdout() -> None:
    right, client = browser.show, wire.to_client.watch()

    async def wrong(url: str, server: str) -> None:
        client.send(b"waiting for your browser\n")
        await right(url, server)

    replace(right, wrong)


@mutant("FRONT-004")
def talks_about_a_reload_on_stdout() -> None:
    right, client = Supervisor.apply, wire.to_client.watch()

    def wrong(self: Supervisor, new: Config, changes: Diff) -> None:
        client.send(b"the configuration has changed\n")
        right(self, new, changes)

    replace(right, wrong)


@mutant(
    "FRONT-004",
    also={"OPS-009": "a reload that is not valid is part of it"},
)
def talks_about_a_bad_file_on_stdout() -> None:
    client = wire.to_client.watch()

    class OnStdout(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "not reloaded" in record.msg:
                client.send(f"{record.getMessage()}\n".encode())

    log.addHandler(OnStdout())


@mutant("FRONT-004")
def talks_about_a_dead_server_on_stdout() -> None:
    def wrong(message: Message, way: Way) -> Changed:
        has_died = "method" not in message and b" ended" in msgspec.json.encode(message)
        return [b"WARNING a server has died\n", message] if has_died else message

    wire.to_client(wrong)


@mutant("FRONT-004", also={"FRONT-007": "it sends an unknown notification too"})
def answers_unknown_notifications() -> None:
    """The answer is an error whose id is null."""

    def wrong(message: Message, way: Way) -> Changed:
        if message.get("method") == "notifications/unknown":
            way.back.send(refusal({"id": None}, METHOD_NOT_FOUND, f"Method not found: {message['method']}"))
        return message

    wire.from_client(wrong)


@mutant("FRONT-005", also={"FRONT-028": "ping has to work in a session"})
def does_not_know_ping() -> None:
    """dmcp 1.5.0 behaves like this."""

    def wrong(message: Message, way: Way) -> Changed:
        if way.method_of(message) != "ping" or "result" not in message:
            return message
        return refusal(message, METHOD_NOT_FOUND, "Method not found: ping")

    wire.to_client(wrong)


@mutant(
    "FRONT-005",
    also={
        "FRONT-030": "a stream of changes is a request that stays",
        "FRONT-047": "other requests wait too",
        "FRONT-031": "the call waits for the client while the client answers",
    },
)
def serves_one_request_after_the_other() -> None:
    def wrong(message: Message, way: Way) -> Changed:
        wire.wait_until(lambda: not way.asked)
        return message

    wire.from_client(wrong)


@mutant(
    "FRONT-047",
    also={
        "FRONT-037": "a server gets other calls while it works on one",
        "HTTP-018": "the calls to a server behind a URL wait for each other too",
    },
)
def makes_one_call_at_a_time() -> None:
    def wrong(message: Message, way: Way) -> Changed:
        if message.get("method") == "tools/call":
            wire.wait_until(lambda: not any(one.get("method") == "tools/call" for one in way.asked.values()))
        return message

    wire.from_client(wrong)


@mutant("FRONT-006", also=dict.fromkeys(("FRONT-008", "FRONT-046"), "an error has a code"))
def answers_malformed_input_with_a_result() -> None:
    def wrong(message: Message, way: Way) -> Changed:
        is_refusal = message.get("error", {}).get("code") in (PARSE_ERROR, INVALID_REQUEST)
        return answer({"id": message["id"] or "none"}, result={}) if is_refusal else message

    wire.to_client(wrong)


@mutant("FRONT-046", also={"FRONT-008": "an invalid batch is no broken JSON"})
def takes_everything_malformed_for_broken_json() -> None:
    wire.to_client(codes({INVALID_REQUEST: PARSE_ERROR}))


@mutant(
    "FRONT-006",
    also={
        "FRONT-045": "methods that are not declared are unknown",
        "FRONT-028": "ping is unknown to modern clients",
    },
)
def an_unknown_method_is_an_internal_error() -> None:
    wire.to_client(codes({METHOD_NOT_FOUND: INTERNAL_ERROR}))


@mutant("FRONT-007")
def turns_negative_ids_into_strings() -> None:
    def wrong(message: Message, way: Way) -> Changed:
        id = message.get("id")
        is_negative = isinstance(id, int) and id < 0 and "method" not in message
        return {**message, "id": str(id)} if is_negative else message

    wire.to_client(wrong)


@mutant("FRONT-007")
def cuts_long_ids() -> None:
    """It keeps as many characters as a UUID has."""

    def wrong(message: Message, way: Way) -> Changed:
        id = message.get("id")
        return {**message, "id": id[:36]} if isinstance(id, str) and "method" not in message else message

    wire.to_client(wrong)


@mutant("FRONT-007", also=_PINGS)
def answers_ping_twice() -> None:
    wire.to_client(_again("ping", lambda message: message))


@mutant("FRONT-007", also=_PINGS)
def answers_ping_also_under_an_unused_id() -> None:
    wire.to_client(_again("ping", lambda message: {**message, "id": "unused"}))


def _again(method: str, change: Callable[[Message], Message]) -> Change:
    """Let a second answer follow each answer to this method."""

    def wrong(message: Message, way: Way) -> Changed:
        return [message, change(message)] if _is_result_of(message, way, method) else message

    return wrong


def _is_result_of(message: Message, way: Way, method: str) -> bool:
    return "result" in message and way.method_of(message) == method


@mutant("FRONT-007")
def gives_the_results_of_calls_to_the_oldest_call_of_the_client() -> None:
    def wrong(message: Message, way: Way) -> Changed:
        calls = [one["id"] for one in way.back.asked.values() if one["method"] == "tools/call"]
        return {**message, "id": calls[0]} if _is_result_of(message, way, "tools/call") else message

    wire.to_client(wrong)


@mutant("FRONT-007")
def takes_a_request_with_id_0_for_a_notification() -> None:
    def wrong(message: Message, way: Way) -> Changed:
        if "method" not in message or message.get("id") != 0:
            return message
        return {name: value for name, value in message.items() if name != "id"}

    wire.from_client(wrong)


@mutant("FRONT-008")
def answers_each_member_of_a_batch_in_a_line_of_its_own() -> None:
    def wrong(line: bytes, way: Way) -> bytes:
        if line[:1] != b"[":
            return line
        return b"".join(bytes(one) + b"\n" for one in msgspec.json.decode(line, type=list[msgspec.Raw]))

    wire.to_client.lines(wrong)


@mutant("FRONT-172", also={"FRONT-008": "batches of other revisions get no error either"})
def ignores_batches_in_silence() -> None:
    wire.from_client.lines(lambda line, way: None if line.lstrip()[:1] == b"[" else line)
