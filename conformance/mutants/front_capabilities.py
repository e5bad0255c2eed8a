"""Mistakes in what is declared to the client."""

from __future__ import annotations

from typing import Any

from conformance.mutants import mutant, replace
from dynamic_mcp.face.server import Face
from dynamic_mcp.face.session import Session


@mutant("FRONT-003")
def declares_subscriptions_and_never_sends_an_update() -> None:
    right = Session.notify

    def wrong(self: Session, method: str, params: bytes = b"") -> None:
        if method != "notifications/resources/updated":
            right(self, method, params)

    replace(right, wrong)


@mutant("FRONT-003")
def declares_nothing_but_tools() -> None:
    def wrong(self: Face, *, legacy: bool) -> dict[str, Any]:
        return {"tools": {}}

    replace(Face._capabilities, wrong)
