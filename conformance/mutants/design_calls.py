"""Legitimate designs: the order and the connections of calls, and questions to a modern client without a state."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from conformance.mutants import legitimate, replace, wire
from conformance.mutants.connections import connect_anew
from dynamic_mcp.protocol.peer import Peer
from dynamic_mcp.upstream.http.connector import HttpConnector
from dynamic_mcp.upstream.stdio_connector import StdioConnector

if TYPE_CHECKING:
    from dynamic_mcp.groups.group import Group


@legitimate(
    "FRONT-013",
    "FRONT-020",
    "FRONT-037",
    "FRONT-125",
    "FRONT-168",
    "FRONT-178",
    "OPS-002",
    "OPS-016",
    "STD-015",
)
def makes_one_call_of_a_server_at_a_time() -> None:
    """A call waits for the answer to the call before."""
    right = Peer.request
    locks: WeakKeyDictionary[Peer, asyncio.Lock] = WeakKeyDictionary()

    async def one_by_one(self: Peer, method: str, *arguments: Any, **options: Any) -> Any:
        if method != "tools/call":
            return await right(self, method, *arguments, **options)
        async with locks.setdefault(self, asyncio.Lock()):
            return await right(self, method, *arguments, **options)

    replace(right, one_by_one)


#: the checks in which several calls meet at one upstream, or that look at its processes and sessions
_CONNECTIONS = (
    "FRONT-037",
    "FRONT-178",
    "FRONT-179",
    "FRONT-180",
    "HTTP-006",
    "HTTP-009",
    "OPS-009",
    "OPS-016",
    "RLD-003",
    "RLD-004",
    "RLD-005",
    "RLD-008",
    "SEC-011",
)
_PROCESSES = ("STD-004", "STD-006", "STD-009", "STD-015")


@legitimate(*_CONNECTIONS, *_PROCESSES, "SSE-006", "SSE-007")
def connects_anew_for_each_call() -> None:
    """One child, session or stream for each call, and one for the lists. STD-060, HTTP-070 and SSE-014 are no MUST."""
    connect_anew(StdioConnector, lambda group: True)
    connect_anew(HttpConnector, lambda group: True)


@legitimate(*_CONNECTIONS, *_PROCESSES)
def calls_over_two_connections_in_turn() -> None:
    """Every second call has a child, session or stream of its own."""
    calls: Counter[str] = Counter()

    def is_second(group: Group) -> bool:
        calls[group.name] += 1
        return calls[group.name] % 2 == 0

    connect_anew(StdioConnector, is_second)
    connect_anew(HttpConnector, is_second)


@legitimate("FRONT-031", "FRONT-125", "FRONT-152", "FRONT-168")
def gives_its_modern_client_no_state() -> None:
    """It finds the call again by the names of its questions. It refuses a state that is not text, as MCP demands."""
    states: dict[str, str] = {}

    def without_state(message: wire.Message, way: wire.Way) -> wire.Changed:
        result = message.get("result")
        if not isinstance(result, dict) or not {"requestState", "inputRequests"} <= result.keys():
            return message
        state = result["requestState"]
        asked = {f"{name}#{len(states)}": one for name, one in result["inputRequests"].items()}
        states.update((name, state) for name in asked)
        others = {name: value for name, value in result.items() if name != "requestState"}
        return {**message, "result": {**others, "inputRequests": asked}}

    def with_state(message: wire.Message, way: wire.Way) -> wire.Changed:
        params = message.get("params")
        if not isinstance(params, dict) or "inputResponses" not in params:
            return message
        if "requestState" in params:
            error = {"code": wire.INVALID_PARAMS, "message": "this proxy gave no requestState"}
            way.back.send(wire.answer(message, error=error))
            return None
        given = params["inputResponses"]
        known = [states[name] for name in given if name in states]
        state = {"requestState": known[0]} if known else {}
        answers = {name.rpartition("#")[0]: value for name, value in given.items()}
        return {**message, "params": {**params, "inputResponses": answers, **state}}

    wire.to_client(without_state)
    wire.from_client(with_state)
