"""Mistakes in the capabilities that the client sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.mutants import mutant, wire
from conformance.mutants.wire import results_of, without

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.mutants.wire import Message


@mutant("FRONT-003", also=dict.fromkeys(("FRONT-021", "FRONT-175"), "no update comes"))
def declares_subscriptions_and_never_sends_an_update() -> None:
    """dmcp 1.5.0 behaves like this."""
    wire.to_client(without("notifications/resources/updated"))


@mutant("FRONT-003")
def declares_changes_of_tools_and_never_announces_one() -> None:
    _declare(lambda capabilities: {**capabilities, "tools": {"listChanged": True}})
    wire.to_client(without("notifications/tools/list_changed"))


@mutant(
    "FRONT-003",
    also=dict.fromkeys(("FRONT-025", "FRONT-045"), "methods that are not declared work"),
)
def declares_nothing_but_tools() -> None:
    _declare(lambda capabilities: {"tools": {}})


def _declare(change: Callable[[Message], Message]) -> None:
    def wrong(result: Message) -> Message:
        return {**result, "capabilities": change(result["capabilities"])}

    wire.to_client(results_of("initialize", wrong), results_of("server/discover", wrong))
