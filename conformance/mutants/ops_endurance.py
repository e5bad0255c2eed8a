"""Mistakes that show only after many calls."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from conformance.mutants import mutant, wire

if TYPE_CHECKING:
    from conformance.mutants.wire import Changed, Message, Way

#: calls that are served right, or ids until the first one comes again
_ENOUGH = 64


@mutant("OPS-016")
def repeats_its_last_answer_after_64_calls() -> None:
    answered: defaultdict[Way, list[Message]] = defaultdict(list)

    def wrong(message: Message, way: Way) -> Changed:
        if "result" not in message or way.method_of(message) != "tools/call":
            return message
        answers = answered[way]
        if len(answers) < _ENOUGH:
            answers.append(message)
        return message if answers[-1] is message else {**answers[-1], "id": message["id"]}

    wire.from_stdio_upstreams(wrong)


@mutant("OPS-016")
def numbers_its_requests_modulo_64() -> None:
    """A call that waits meanwhile shares its id with a later one, and gets its answer."""
    real: defaultdict[Way, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))

    def shortened(message: Message, way: Way) -> Changed:
        if "method" not in message or not isinstance(message.get("id"), int):
            return message
        id_ = message["id"]
        real[way][id_ % _ENOUGH].append(id_)
        return {**message, "id": id_ % _ENOUGH}

    def restored(message: Message, way: Way) -> Changed:
        waiting = real[way.back].get(message["id"]) if "method" not in message else None
        return {**message, "id": waiting.pop(0)} if waiting else message

    wire.to_stdio_upstreams(shortened)
    wire.from_stdio_upstreams(restored)


@mutant("OPS-016")
def forgets_a_call_after_64_others() -> None:
    """The table of the waiting calls has a bound."""
    begun: defaultdict[Way, list[object]] = defaultdict(list)

    def note(message: Message, way: Way) -> Changed:
        if message.get("method") == "tools/call":
            begun[way].append(message["id"])
        return message

    def wrong(message: Message, way: Way) -> Changed:
        calls = begun[way.back]
        is_old = "result" in message and message["id"] in calls[:-_ENOUGH]
        return None if is_old else message

    wire.to_stdio_upstreams(note)
    wire.from_stdio_upstreams(wrong)
