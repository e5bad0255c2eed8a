"""Mistakes with the sessions of `dynamic-mcp serve`."""

from __future__ import annotations

from conformance.mutants import mutant, replace
from dynamic_mcp.extras.serving.refused import RefusedRequest
from dynamic_mcp.extras.serving.sessions import ServedSession, Sessions

SERVE = "reference-serve"


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
