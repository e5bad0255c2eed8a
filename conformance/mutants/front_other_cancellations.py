"""Mistakes with cancellations of questions, reads and prompts, and with the roots of the client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.mutants import mutant, wire, wire_http
from conformance.mutants.front_notifications import CANCELLED, relay_unchanged
from conformance.mutants.wire import without

if TYPE_CHECKING:
    from conformance.mutants.wire import Changed, Message, Way

ROOTS_CHANGED = "notifications/roots/list_changed"


@mutant("FRONT-178")
def leaves_questions_open_that_a_server_takes_back() -> None:
    wire.from_stdio_upstreams(without(CANCELLED))


@mutant("FRONT-178", also={"FRONT-037": "cancellations of a server reach the client under ids of others"})
def cancels_a_question_under_the_id_of_the_server() -> None:
    relay_unchanged(CANCELLED)


@mutant("FRONT-179")
def does_not_tell_servers_of_changed_roots() -> None:
    wire.from_client(without(ROOTS_CHANGED))


@mutant("FRONT-179")
def tells_one_server_of_changed_roots() -> None:
    def wrong(message: Message, way: Way) -> Changed:
        is_other = way is not wire.to_stdio_upstreams.ways[0]
        return None if message.get("method") == ROOTS_CHANGED and is_other else message

    wire.to_stdio_upstreams(wrong)


@mutant("FRONT-179")
def tells_no_server_behind_a_url_of_changed_roots() -> None:
    wire_http.drop_notifications(ROOTS_CHANGED)


@mutant("FRONT-179")
def gives_servers_the_first_roots_for_ever() -> None:
    first: dict[str, Message] = {}

    def wrong(message: Message, way: Way) -> Changed:
        if way.method_of(message) != "roots/list" or "result" not in message:
            return message
        return {**message, "result": first.setdefault("roots", message["result"])}

    wire.to_stdio_upstreams(wrong)


@mutant("FRONT-180")
def forwards_cancellations_of_calls_alone() -> None:
    calls: list[object] = []

    def wrong(message: Message, way: Way) -> Changed:
        if message.get("method") == "tools/call":
            calls.append(message["id"])
        is_foreign = message.get("method") == CANCELLED and message["params"]["requestId"] not in calls
        return None if is_foreign else message

    wire.to_stdio_upstreams(wrong)


@mutant("FRONT-181")
def forwards_the_metadata_of_calls_alone() -> None:
    wire.to_stdio_upstreams(_without_metadata("resources/read", "prompts/get"))


@mutant("FRONT-181")
def forwards_the_progress_token_alone() -> None:
    wire.to_stdio_upstreams(_without_metadata("tools/call"))


def _without_metadata(*methods: str) -> wire.Change:
    """Keep of `_meta` only what belongs to MCP itself."""

    def wrong(message: Message, way: Way) -> Changed:
        if message.get("method") not in methods or "_meta" not in message["params"]:
            return message
        meta = {
            name: one
            for name, one in message["params"]["_meta"].items()
            if name == "progressToken" or name.startswith("io.modelcontextprotocol/")
        }
        return {**message, "params": {**message["params"], "_meta": meta}}

    return wrong
