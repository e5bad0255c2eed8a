"""Tokens that the server has not taken yet, and the rule for the life of all tokens.

A server can refuse good tokens: its own check of tokens may be down, or a new token may reach it late. So the rule is:

- The proxy forgets tokens only if the authorization server refuses to renew them, if the server names another authorization
  server, or after a logout. While it has tokens, every attempt to connect and every call sends them. So a group comes back
  without a restart as soon as the server takes them. A group that waits for a sign-in and that no client uses tries them once a minute.
- The proxy renews a refused token at once. If the server refuses the new token too, the proxy keeps it, and calls fail with what the
  user can do. For ``PATIENCE`` seconds no further renewal follows, and no browser opens.
- A browser opens if there are no tokens, or if the refused ones cannot be renewed. It also opens if, after ``PATIENCE``, the server
  still refuses a request that it refused before the renewal. After a sign-in, no proxy opens another page until the server has taken a
  token. Meanwhile it renews its tokens once in ``PATIENCE``.
- The server has taken a token if it accepts a request. Once it has refused one, only a request like that one counts: the same method, of
  the same tool. Some servers check tokens only for some tools.
- A renewal that fails for now opens no browser and costs no tokens.
- ``dynamic-mcp login`` signs in if the server refuses the tokens, or if their renewal fails. If the server takes the stored ones, running
  proxies that wait for a sign-in use them again.
"""

from __future__ import annotations

from collections.abc import Callable

from dynamic_mcp.clock import Clock

#: Seconds for which the server may refuse a new token before the proxy does more than to send it again.
PATIENCE = 60.0


class NewTokens:
    """The last access token that was issued after a refusal, until the server takes a token."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._token: str | None = None
        self._issued_at = 0.0
        #: the number of tokens that were issued
        self._issued = 0
        #: the kinds of requests that the server has refused since it took a token, or since a sign-in, with the number of tokens then
        self._refused: dict[str, int] = {}
        #: whether the server has taken no token since the last sign-in
        self._is_after_sign_in = False

    def issued(self, token: str) -> None:
        """Note a token of a renewal. It may be the old one."""
        self._token, self._issued_at = token, self._clock()
        self._issued += 1

    def signed_in(self, token: str) -> None:
        """Note a token of a sign-in, in this process or in another one."""
        self.issued(token)
        self._is_after_sign_in = True
        # Those without a token, or with the old one, say nothing about this one.
        self._refused.clear()

    def refused(self, kind: str) -> None:
        """Note that the server has refused a request of this kind."""
        self._refused.setdefault(kind, self._issued)

    def accepted(self, kind: Callable[[], str]) -> None:
        """Note that the server has accepted a request of this kind, with the current token."""
        if not self._refused or kind() in self._refused:
            self._token, self._is_after_sign_in = None, False
            self._refused.clear()

    def is_young(self, token: str | None) -> bool:
        """Whether the refusal of this token may pass by itself."""
        return token is not None and token == self._token and self._clock() < self._issued_at + PATIENCE

    def may_renew(self, token: str, kind: str) -> bool:
        """Whether a renewal of this token may help, which the server has refused for a request of this kind."""
        return token != self._token or self._is_after_sign_in or self._refused.get(kind) == self._issued

    @property
    def may_ask_the_user(self) -> bool:
        """Whether a page may open although there are tokens, because the server refuses them."""
        return not self._is_after_sign_in

    @property
    def reason(self) -> str:
        """Why a call fails while the server refuses the new token."""
        if self._is_after_sign_in:
            return "it refuses the tokens of the sign-in that just succeeded"
        return "it refuses the token that its authorization server has just issued"
