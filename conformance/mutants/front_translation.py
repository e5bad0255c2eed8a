"""Mistakes in the translation between the eras."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.mutants import mutant, replace, wire
from conformance.mutants.wire import is_modern
from dynamic_mcp.frontend import bridge, questions

if TYPE_CHECKING:
    from conformance.mutants.wire import Changed, Message, Way


@mutant("FRONT-031")
def shows_a_legacy_client_questions_as_the_result() -> None:
    """An `input_required` result looks like the final success."""
    replace(questions.questions_of, lambda result: None)


@mutant("FRONT-168")
def puts_the_state_of_an_upstream_into_its_own_words() -> None:
    def wrong(message: Message, way: Way) -> Changed:
        result = message.get("result", {})
        if "requestState" not in result:
            return message
        return {**message, "result": {**result, "requestState": result["requestState"].strip('\\"')}}

    wire.to_client(wrong)


@mutant("FRONT-169")
def passes_forbidden_codes_to_modern_clients() -> None:
    replace(bridge.modern_error, lambda error: error)


@mutant("FRONT-168", also={"FRONT-031": "the question gets no answer"})
def asks_modern_clients_by_requests() -> None:
    modern: list[Way] = []
    asked: dict[str, tuple[Way, Message]] = {}

    def ask(message: Message, way: Way) -> Changed:
        if not modern or message.get("method") != "elicitation/create":
            return message
        id = f"asked {len(asked)}"
        asked[id] = way.back, message
        modern[0].back.send({**message, "id": id})
        return None

    def bring_the_answer(message: Message, way: Way) -> Changed:
        if is_modern(message):
            modern.append(way)
        upstream, request = asked.get(str(message.get("id")), (None, {}))
        if upstream is None or "method" in message:
            return message
        upstream.send({**message, "id": request["id"]})
        return None

    wire.from_stdio_upstreams(ask)
    wire.from_client(bring_the_answer)
