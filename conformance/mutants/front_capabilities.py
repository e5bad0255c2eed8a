"""Mistakes in what is declared to the client."""

from __future__ import annotations

from typing import Any

from conformance.mutants import mutant, replace
from dynamic_mcp.frontend.server import Frontend
from dynamic_mcp.frontend.session import ClientSession


@mutant("FRONT-003", also={"FRONT-021": "no update comes"})
def declares_subscriptions_and_never_sends_an_update() -> None:
    _never_sends("notifications/resources/updated")


@mutant("FRONT-003")
def declares_changes_of_tools_and_never_announces_one() -> None:
    right = Frontend._capabilities

    def wrong(self: Frontend, *, legacy: bool) -> dict[str, Any]:
        return {**right(self, legacy=legacy), "tools": {"listChanged": True}}

    replace(right, wrong)
    _never_sends("notifications/tools/list_changed")


@mutant(
    "FRONT-003",
    also={
        "FRONT-021": "subscriptions are not declared and work",
        "FRONT-025": "logging is not declared and works",
    },
)
def declares_nothing_but_tools() -> None:
    def wrong(self: Frontend, *, legacy: bool) -> dict[str, Any]:
        return {"tools": {}}

    replace(Frontend._capabilities, wrong)


def _never_sends(notification: str) -> None:
    right = ClientSession.notify

    def wrong(self: ClientSession, method: str, params: bytes = b"") -> None:
        if method != notification:
            right(self, method, params)

    replace(right, wrong)
