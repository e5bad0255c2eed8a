"""Mistakes with notifications, cancellations, log levels, completions and requests to the client."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from conformance.mutants import mutant, wire
from conformance.mutants.wire import INVALID_PARAMS, LISTS, answer, params_of, refusal, results_of, without

if TYPE_CHECKING:
    from conformance.mutants.wire import Changed, Message, Way

CANCELLED, PROGRESS = "notifications/cancelled", "notifications/progress"
UPDATED, LOGGED = "notifications/resources/updated", "notifications/message"
LIST_CHANGED = [f"notifications/{kind}/list_changed" for kind in ("tools", "resources", "prompts")]


@mutant("FRONT-021")
def keeps_subscriptions_to_itself() -> None:
    def wrong(message: Message, way: Way) -> Changed:
        if message.get("method") != "resources/subscribe":
            return message
        way.back.send(answer(message, result={}))
        return None

    wire.to_stdio_upstreams(wrong)


@mutant("FRONT-021")
def relays_updates_without_a_subscription() -> None:
    relay_unchanged(UPDATED)


@mutant(
    "FRONT-022",
    also=dict.fromkeys(("FRONT-070", "FRONT-071"), "a list that is made anew is the first one too"),
)
def serves_the_first_listing_for_ever() -> None:
    first: dict[object, Message] = {}

    def wrong(message: Message, way: Way) -> Changed:
        request = way.request_of(message)
        if request.get("method") not in LISTS or "result" not in message:
            return message
        page = way, request["method"], request.get("params", {}).get("cursor")
        return {**first.setdefault(page, message), "id": message["id"]}

    wire.from_stdio_upstreams(wrong)


@mutant(
    "FRONT-022",
    also={
        "FRONT-003": "changes are declared and never come",
        "FRONT-175": "those who listen are not told either",
    },
)
def does_not_tell_of_changed_lists() -> None:
    wire.to_client(without(*LIST_CHANGED))


@mutant("FRONT-023", also={"FRONT-037": "progress of the request of another server passes too"})
def passes_on_the_upstreams_own_token() -> None:
    relay_unchanged(PROGRESS)


@mutant("FRONT-023")
def sends_progress_after_the_answer() -> None:
    def wrong(message: Message, way: Way) -> Changed:
        if message.get("method") != PROGRESS:
            return message
        wire.later(0.45, way.send, message)
        return None

    wire.to_client(wrong)


@mutant("FRONT-023")
def relays_progress_that_the_client_did_not_ask_for() -> None:
    def wrong(params: Message) -> Message:
        return {**params, "_meta": {"progressToken": 0, **params.get("_meta", {})}}

    wire.from_client(params_of("tools/call", wrong))


@mutant("FRONT-024", also={"FRONT-030": "a cancelled stream goes on"})
def ignores_cancellations() -> None:
    wire.from_client(without(CANCELLED))


@mutant("FRONT-024", also={"FRONT-004": "the cancellation seems to be answered"})
def answers_the_cancelled_call() -> None:
    def wrong(message: Message, way: Way) -> Changed:
        if message.get("method") == CANCELLED:
            way.back.send(refusal({"id": message["params"]["requestId"]}, -32800, "Request cancelled"))
        return message

    wire.from_client(wrong)


@mutant("FRONT-024")
def forwards_the_clients_id() -> None:
    cancelled: list[Message] = []

    def remember(message: Message, way: Way) -> Changed:
        if message.get("method") == CANCELLED:
            cancelled.append(message)
        return message

    wire.from_client(remember)
    wire.to_stdio_upstreams(
        params_of(CANCELLED, lambda params: cancelled[-1]["params"] if cancelled else params)
    )


@mutant("FRONT-025", also={"FRONT-003": "completions are declared and do not work"})
def completes_with_an_empty_object() -> None:
    wire.to_client(results_of("completion/complete", lambda result: {}))


@mutant("FRONT-025")
def accepts_any_log_level() -> None:
    """For example the level "verbose"."""

    def wrong(message: Message, way: Way) -> Changed:
        is_unknown_level = message.get("error", {}).get("code") == INVALID_PARAMS
        if not is_unknown_level or way.method_of(message) != "logging/setLevel":
            return message
        return answer(message, result={})

    wire.to_client(wrong)


@mutant("FRONT-025")
def relays_messages_below_the_level() -> None:
    relay_unchanged(LOGGED)


@mutant(
    "FRONT-026",
    also={"FRONT-171": "it offers sampling to every server", "STD-020": "its question has no answer either"},
)
def offers_sampling_and_leaves_the_request_unanswered() -> None:
    wire.to_stdio_upstreams(
        params_of("initialize", lambda params: {**params, "capabilities": {"sampling": {}}})
    )
    wire.from_stdio_upstreams(without("sampling/createMessage"))


@mutant(
    "FRONT-171",
    also={"FRONT-026": "the client gets these requests", "FRONT-031": "its client cannot be asked"},
)
def asks_the_client_what_it_cannot_answer() -> None:
    everything: Message = {"sampling": {}, "elicitation": {}, "roots": {}}
    wire.from_client(params_of("initialize", lambda params: {**params, "capabilities": everything}))


@mutant("FRONT-024")
def cancels_nothing_at_modern_servers_on_stdio() -> None:
    def wrong(message: Message, way: Way) -> Changed:
        if message.get("method") != CANCELLED:
            return message
        request = way.asked.get(msgspec.json.encode(message["params"]["requestId"]), {})
        return None if wire.VERSION_KEY in request.get("params", {}).get("_meta", {}) else message

    wire.to_stdio_upstreams(wrong)


@mutant("FRONT-024")
def forwards_the_first_cancellation_only() -> None:
    forwarded: list[Message] = []

    def wrong(message: Message, way: Way) -> Changed:
        if message.get("method") != CANCELLED:
            return message
        forwarded.append(message)
        return message if len(forwarded) == 1 else None

    wire.to_stdio_upstreams(wrong)


@mutant("FRONT-023")
def rounds_the_values_of_progress() -> None:
    def rounded(params: Message) -> Message:
        return {**params, "progress": round(float(msgspec.json.encode(params["progress"])))}

    wire.from_stdio_upstreams(params_of(PROGRESS, rounded))


@mutant("FRONT-025")
def relays_log_messages_as_text() -> None:
    def as_text(params: Message) -> Message:
        return {**params, "data": msgspec.json.encode(params["data"]).decode()}

    wire.from_stdio_upstreams(params_of(LOGGED, as_text))


@mutant("FRONT-070")
def shows_the_tools_of_its_last_run() -> None:
    """A server is known by its first listing. The last one stays in a file for ever."""
    folder = Path.home() / ".cache" / "lists"
    kept = {path.name: path.read_bytes() for path in folder.glob("*")}
    names: dict[Way, str] = {}

    def wrong(message: Message, way: Way) -> Changed:
        if way.method_of(message) != "tools/list" or "result" not in message:
            return message
        listing = msgspec.json.encode(message["result"])
        name = names.setdefault(way, sha256(listing).hexdigest())
        if name in kept:
            return {**message, "result": msgspec.Raw(kept[name])}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(listing)
        return message

    wire.from_stdio_upstreams(wrong)


@mutant("FRONT-026")
def relays_the_messages_of_a_sampling_request_alone() -> None:
    def bare(params: Message) -> Message:
        return {name: params[name] for name in ("messages", "maxTokens") if name in params}

    wire.from_stdio_upstreams(params_of("sampling/createMessage", bare))


@mutant("FRONT-026")
def a_declined_form_becomes_a_cancelled_one() -> None:
    wire.to_stdio_upstreams(
        results_of(
            "elicitation/create",
            lambda result: {"action": "cancel"} if result.get("action") == "decline" else result,
        )
    )


def relay_unchanged(method: str) -> None:
    """Send this notification of every upstream to the client as it is, past the proxy."""
    client = wire.to_client.watch()

    def wrong(message: Message, way: Way) -> Changed:
        if message.get("method") != method:
            return message
        client.send(message)
        return None

    wire.from_stdio_upstreams(wrong)
