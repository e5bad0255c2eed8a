"""Mistakes with the revision 2026-07-28."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.mutants import mutant, wire
from conformance.mutants.wire import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    UNSUPPORTED_VERSION,
    answer,
    codes,
    is_modern,
    params_of,
    refusal,
    without,
)
from mock_servers.answers import CAPABILITIES_KEY, VERSION_KEY

if TYPE_CHECKING:
    from conformance.mutants.wire import Changed, Message, Way

EVERYTHING = {"toolsListChanged": True, "resourcesListChanged": True, "promptsListChanged": True}
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"


@mutant(
    "FRONT-027",
    also=dict.fromkeys(("FRONT-029", "FRONT-169", "FRONT-173", "FRONT-174"), "its modern client probes"),
)
def stays_silent_when_it_is_probed() -> None:
    """The client waits out its 10 s."""
    wire.from_client(without("server/discover"))


@mutant("FRONT-173", also={"FRONT-028": "its legacy client comes after a modern request"})
def refuses_initialize_after_the_probe() -> None:
    probed: set[Way] = set()

    def wrong(message: Message, way: Way) -> Changed:
        if is_modern(message):
            probed.add(way)
        elif message.get("method") == "initialize" and way in probed:
            way.back.send(refusal(message, UNSUPPORTED_VERSION, "This connection is modern"))
            return None
        return message

    wire.from_client(wrong)


@mutant(
    "FRONT-028",
    also=dict.fromkeys(
        (
            "FRONT-027",
            "FRONT-029",
            "FRONT-030",
            "FRONT-031",
            "FRONT-064",
            "FRONT-168",
            "FRONT-169",
            "FRONT-174",
            "FRONT-175",
        ),
        "its modern client makes none",
    ),
)
def wants_a_handshake_of_modern_clients() -> None:
    greeted: set[Way] = set()

    def wrong(message: Message, way: Way) -> Changed:
        if message.get("method") == "initialize":
            greeted.add(way)
        elif is_modern(message) and "id" in message and way not in greeted:
            way.back.send(refusal(message, INVALID_REQUEST, "Not initialized"))
            return None
        return message

    wire.from_client(wrong)


@mutant("FRONT-028")
def calls_an_unsupported_version_invalid_params() -> None:
    wire.to_client(codes({UNSUPPORTED_VERSION: INVALID_PARAMS}))


@mutant("FRONT-028")
def serves_removed_methods_to_modern_clients() -> None:
    def wrong(message: Message, way: Way) -> Changed:
        if message.get("method") != "ping" or not is_modern(message):
            return message
        way.back.send(answer(message, result={"resultType": "complete"}))
        return None

    wire.from_client(wrong)


@mutant(
    "FRONT-029",
    also=dict.fromkeys(
        ("FRONT-027", "FRONT-028", "FRONT-030", "FRONT-169", "FRONT-173", "FRONT-174", "FRONT-175"),
        "the type of other results is missing",
    ),
)
def wraps_results_of_calls_only() -> None:
    """Other results of a modern client have no envelope."""

    def wrong(message: Message, way: Way) -> Changed:
        result = message.get("result", {})
        if way.method_of(message) == "tools/call" or "resultType" not in result:
            return message
        envelope = ("resultType", "ttlMs", "cacheScope")
        return {**message, "result": {name: result[name] for name in result if name not in envelope}}

    wire.to_client(wrong)


@mutant("FRONT-174")
def lets_everybody_cache_everything() -> None:
    """Data that the proxy got with authorization is "public"."""
    wire.to_client.lines(lambda line, way: line.replace(b'"cacheScope":"private"', b'"cacheScope":"public"'))


@mutant("FRONT-030")
def tells_listeners_what_they_did_not_ask_for() -> None:
    wire.from_client(
        params_of("subscriptions/listen", lambda params: {**params, "notifications": EVERYTHING})
    )


@mutant("FRONT-175")
def acknowledges_subscriptions_and_forgets_them() -> None:
    def wrong(message: Message, way: Way) -> Changed:
        meta = (message.get("params") or {}).get("_meta", {})
        return None if SUBSCRIPTION in meta and message.get("method") != ACKNOWLEDGED else message

    wire.to_client(wrong)


@mutant("FRONT-175")
def acknowledges_a_resource_and_forgets_it() -> None:
    def wrong(message: Message, way: Way) -> Changed:
        meta = (message.get("params") or {}).get("_meta", {})
        is_update = message.get("method") == "notifications/resources/updated"
        return None if is_update and SUBSCRIPTION in meta else message

    wire.to_client(wrong)


@mutant("FRONT-030", also={"FRONT-175": "no change comes under the number"})
def turns_the_id_of_a_subscription_into_a_string() -> None:
    def wrong(message: Message, way: Way) -> Changed:
        params = message.get("params") or {}
        meta = params.get("_meta", {})
        if SUBSCRIPTION not in meta:
            return message
        text = {SUBSCRIPTION: str(meta[SUBSCRIPTION])}
        return {**message, "params": {**params, "_meta": {**meta, **text}}}

    wire.to_client(wrong)


@mutant("FRONT-030")
def speaks_to_modern_clients_that_do_not_listen() -> None:
    """The proxy behaves as if each modern client had asked for all notifications at its first request."""
    listening: set[Way] = set()

    def listen(message: Message, way: Way) -> Changed:
        if not is_modern(message) or way in listening:
            return message
        listening.add(way)
        params = {"_meta": message["params"]["_meta"], "notifications": EVERYTHING}
        return [
            {"jsonrpc": "2.0", "id": "unasked", "method": "subscriptions/listen", "params": params},
            message,
        ]

    def is_own(message: Message) -> bool:
        meta = (message.get("params") or {}).get("_meta", {})
        is_acknowledged = message.get("method") == ACKNOWLEDGED and meta.get(SUBSCRIPTION) == "unasked"
        return is_acknowledged or message.get("id") == "unasked"

    wire.from_client(listen)
    wire.to_client(lambda message, way: None if is_own(message) else message)


ACKNOWLEDGED = "notifications/subscriptions/acknowledged"


@mutant("FRONT-028")
def judges_the_envelope_of_lists_only() -> None:
    """A call of an unsupported version is executed."""

    def wrong(message: Message, way: Way) -> Changed:
        if message.get("method") != "tools/call" or not is_modern(message):
            return message
        params = message["params"]
        meta = {CAPABILITIES_KEY: {}, **params["_meta"], VERSION_KEY: "2026-07-28"}
        return {**message, "params": {**params, "_meta": meta}}

    wire.from_client(wrong)


@mutant("FRONT-030")
def tells_a_listener_for_one_resource_of_each_resource() -> None:
    listening: list[Message] = []

    def asked(message: Message, way: Way) -> Changed:
        if message.get("method") == "subscriptions/listen":
            listening.append(message)
        return message

    def told(message: Message, way: Way) -> Changed:
        if message.get("method") == "notifications/resources/updated":
            for one in listening:
                uris = one["params"]["notifications"].get("resourceSubscriptions")
                if uris and message["params"]["uri"] not in uris:
                    params = {**message["params"], "_meta": {SUBSCRIPTION: one["id"]}}
                    wire.to_client.send({**message, "params": params})
        return message

    wire.to_client.watch()
    wire.from_client(asked)
    wire.from_stdio_upstreams(told)
