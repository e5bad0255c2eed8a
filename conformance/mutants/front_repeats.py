"""Mistakes in how often a call reaches its server."""

from __future__ import annotations

import msgspec

from conformance.mutants import mutant, wire
from conformance.mutants.wire import Changed, Message, Way


@mutant("FRONT-164")
def calls_again_after_its_server_died() -> None:
    """The proxy starts the server again, and takes the call that the server broke off for one that it has not read."""
    repeated: set[bytes] = set()

    def wrong(message: Message, way: Way) -> Changed:
        request, identity = way.request_of(message), msgspec.json.encode(message.get("id"))
        if request.get("method") != "tools/call" or b"process ended" not in msgspec.json.encode(message):
            return message
        if identity in repeated:
            return message
        repeated.add(identity)
        way.back.send(request)
        return None

    wire.from_client.watch()
    wire.to_client(wrong)


@mutant("FRONT-165")
def runs_equal_calls_in_flight_once() -> None:
    """All of them get the answer of the first."""
    waiting: dict[bytes, list[Message]] = {}

    def asked(message: Message, way: Way) -> Changed:
        if message.get("method") != "tools/call":
            return message
        others = waiting.setdefault(_call(message), [])
        others.append(message)
        return message if len(others) == 1 else None

    def answered(message: Message, way: Way) -> Changed:
        others = waiting.pop(_call(way.request_of(message)), [])
        return [{**message, "id": other["id"]} for other in others] or message

    wire.from_client(asked)
    wire.to_client(answered)


@mutant("FRONT-165")
def keeps_errors_in_a_cache() -> None:
    kept: dict[bytes, Message] = {}

    def asked(message: Message, way: Way) -> Changed:
        if message.get("method") != "tools/call" or _call(message) not in kept:
            return message
        way.back.send({**kept[_call(message)], "id": message["id"]})
        return None

    def answered(message: Message, way: Way) -> Changed:
        if "error" in message and way.method_of(message) == "tools/call":
            kept[_call(way.request_of(message))] = message
        return message

    wire.from_client(asked)
    wire.to_client(answered)


@mutant("FRONT-165")
def answers_the_third_of_equal_calls_from_a_cache() -> None:
    kept: dict[bytes, list[Message]] = {}

    def asked(message: Message, way: Way) -> Changed:
        earlier = kept.get(_call(message), [])
        if message.get("method") != "tools/call" or len(earlier) < 2:
            return message
        way.back.send({**earlier[-1], "id": message["id"]})
        return None

    def answered(message: Message, way: Way) -> Changed:
        if "result" in message and way.method_of(message) == "tools/call":
            kept.setdefault(_call(way.request_of(message)), []).append(message)
        return message

    wire.from_client(asked)
    wire.to_client(answered)


def _call(request: Message) -> bytes:
    """What two equal calls have in common."""
    params = request.get("params") or {}
    return msgspec.json.encode({name: value for name, value in params.items() if name != "_meta"})
