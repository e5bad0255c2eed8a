"""Mistakes with the sessions of `dynamic-mcp serve`."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from conformance.mutants import mutant, replace
from dynamic_mcp.extras.serving.legacy_era import LegacyEra
from dynamic_mcp.extras.serving.refused import RefusedRequest, respond
from dynamic_mcp.extras.serving.sessions import ServedSession, Sessions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dynamic_mcp.extras.serving.posted import Posted

SERVE = "reference-serve"
NOT_FOUND = 404


@mutant("SHARE-011", profile=SERVE)
def an_ended_session_goes_on() -> None:
    async def wrong(self: Sessions, session: ServedSession) -> None:
        """Confirms the DELETE, and keeps the session."""

    replace(Sessions.end, wrong)


@mutant("SHARE-011", profile=SERVE)
def an_ended_session_is_400() -> None:
    right = Sessions.of

    def wrong(self: Sessions, id: str | None) -> ServedSession:
        try:
            return right(self, id)
        except RefusedRequest as refused:
            raise RefusedRequest(400, str(refused)) from None

    replace(right, wrong)


@mutant("SHARE-011", profile=SERVE)
def an_unknown_session_is_another_one() -> None:
    right = Sessions.of
    used: list[ServedSession] = []

    def wrong(self: Sessions, id: str | None) -> ServedSession:
        try:
            used.append(right(self, id))
        except RefusedRequest:
            living = [session for session in used if not session.is_over]
            if id is None or not living:
                raise
            return living[-1]
        return used[-1]

    replace(right, wrong)


@mutant("SHARE-011", profile=SERVE)
def an_ended_session_still_streams() -> None:
    _answer_ended(LegacyEra.get, 200)


@mutant("SHARE-011", profile=SERVE)
def an_ended_session_confirms_each_delete() -> None:
    _answer_ended(LegacyEra.delete, 204)


@mutant("SHARE-011", profile=SERVE)
def an_ended_session_takes_notifications() -> None:
    right = LegacyEra.post

    async def wrong(self: LegacyEra, posted: Posted, *rest: Any) -> None:
        try:
            await right(self, posted, *rest)
        except RefusedRequest as refused:
            if posted.requests or refused.status != NOT_FOUND:
                raise
            await respond(rest[-1], 202)

    replace(right, wrong)


def _answer_ended(right: Callable[..., Awaitable[None]], status: int) -> None:
    """Answer this status where the session has ended; `right` has `send` as its last parameter."""

    @functools.wraps(right)
    async def wrong(*arguments: Any) -> None:
        try:
            await right(*arguments)
        except RefusedRequest as refused:
            if refused.status != NOT_FOUND:
                raise
            await respond(arguments[-1], status)

    replace(right, wrong)
