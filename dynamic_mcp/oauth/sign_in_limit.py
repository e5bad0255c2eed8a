"""The limit of sign-ins that begin by themselves.

Each sign-in opens a page for the user. So a server that asks again and again gets at most ``MAX_SIGN_INS`` of them in
``SIGN_IN_PERIOD``. A sign-in that failed before its page opened does not count.
"""

from __future__ import annotations

from collections import deque

from dynamic_mcp.clock import Clock
from dynamic_mcp.errors import UpstreamFailed

#: The most sign-ins of one server that begin by themselves within a period, in seconds.
MAX_SIGN_INS = 4
SIGN_IN_PERIOD = 600.0


class SignInLimit:
    """The sign-ins of one server."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        #: the times of the last sign-ins
        self._began: deque[float] = deque(maxlen=MAX_SIGN_INS)

    def check(self, login: str) -> None:
        """Raises UpstreamFailed if too many sign-ins began. ``login`` is the command that begins one more."""
        now = self._clock()
        if len(self._began) == MAX_SIGN_INS and now - self._began[0] < SIGN_IN_PERIOD:
            raise UpstreamFailed(
                f"it asked for {MAX_SIGN_INS} sign-ins within {SIGN_IN_PERIOD / 60:g} minutes, so no further one begins by itself"
            ).with_remedy(f"To sign in, run: {login}")

    def begins(self) -> None:
        """Count a sign-in."""
        self._began.append(self._clock())

    def did_not_begin(self) -> None:
        """Do not count the last one, because no page has opened."""
        if self._began:
            self._began.pop()
