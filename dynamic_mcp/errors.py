"""The errors of the proxy.

::

    DynamicMcpError
    ├── ConfigError          the configuration is invalid; ends the start (exit status 2)
    ├── CallRefused          the proxy does not make a call
    └── UpstreamError        a request to an upstream has no result
        ├── UpstreamFailed   the upstream does not start, is unreachable, or breaks the protocol
        │   ├── StillStarting its start goes on
        │   ├── UpstreamGone the process or connection ended
        │   │   ├── StreamEnded its event stream ended without a failure
        │   │   ├── EraChanged  it speaks another era now, and refused the request
        │   │   └── Unreachable no connection came about
        │   ├── StoreFailed  the storage of its tokens fails
        │   ├── TooLarge     one answer is too large
        │   ├── HttpStatus   it answered with an error status of HTTP
        │   ├── SignInMayHelp its tokens have no use at the moment
    │   └── SignInNeeded the user has to sign in
        ├── UpstreamTimeout  it did not answer in time
        └── UpstreamRefused  it answered with a JSON-RPC error, which the client gets as a valid error object
            └── HeadersRefused its error is about the HTTP headers of the request

A message names the location and the fix. It contains no value of the configuration that may be a secret. If a server cannot start, it names
the command or the folder.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import NamedTuple, Self

import msgspec

#: Mistakes of a file that a message lists.
_MAX_MISTAKES = 20
#: Characters of the text of a refusal that a failure shows.
_MAX_SHOWN = 600


class DynamicMcpError(Exception):
    """The base of the errors of the configuration, of upstreams, and of calls that the proxy does not make.

    The expected errors of one module derive from Exception, such as ``jsonrpc.Refusal``.
    """


class Mistake(NamedTuple):
    """One mistake in a file: where it is, as "line 3, column 7", and what is wrong."""

    place: str
    problem: str


class ConfigError(DynamicMcpError):
    """The configuration cannot be used. ``message`` is the reason, or the name of the file in which ``mistakes`` are."""

    def __init__(self, message: str, mistakes: Sequence[Mistake] = ()) -> None:
        shown = [f"{place}: {problem}" for place, problem in mistakes[:_MAX_MISTAKES]]
        if len(mistakes) > _MAX_MISTAKES:
            shown.append(f"and {len(mistakes) - _MAX_MISTAKES} more")
        self.mistakes = tuple(mistakes)
        #: the message for a terminal: a line for each mistake
        self.lines = [f"{message}: {len(mistakes)} mistakes", *(f"  {line}" for line in shown)]
        text = f"{self.lines[0]}: " + "; ".join(f"({n}) {line}" for n, line in enumerate(shown, 1))
        if len(shown) < 2:
            text = ": ".join((message, *shown))
            self.lines = [text]
        super().__init__(text)


class CallRefused(DynamicMcpError):
    """The proxy does not make a call: its address or arguments are wrong, or the configuration or the policy forbids it.

    The message tells the model the reason, and what it can do.
    """


class UpstreamError(DynamicMcpError):
    """A request to an upstream server did not produce a result."""


class UpstreamFailed(UpstreamError):
    """The upstream could not be started or reached, or it broke the protocol.

    ``last_output`` is what the upstream sent last: the end of its stderr, the body of an HTTP reply, or the text of a refusal.
    ``remedy`` says in lines of their own what the user can do. Both are for the caller, not for the log.
    """

    remedy = ""

    def __init__(self, message: str, last_output: str = "") -> None:
        super().__init__(message)
        self.last_output = last_output

    def copy(self) -> Self:
        """The same error as a new object, because raising one object several times collects the frames of all tracebacks."""
        return copy.copy(self)

    def with_remedy(self, remedy: str) -> Self:
        """A copy with what the user can do."""
        other = self.copy()
        other.remedy = remedy
        return other

    def with_last_output(self, text: str) -> Self:
        """A copy with this last output of the upstream, unless the error has another."""
        other = self.copy()
        other.last_output = self.last_output or text
        return other


class StillStarting(UpstreamFailed):
    """The upstream cannot be used yet, because its start goes on."""


class UpstreamGone(UpstreamFailed):
    """The process or connection ended."""


class StreamEnded(UpstreamGone):
    """A server behind a URL ended its event stream in good order, as gateways do every few seconds or minutes."""


class EraChanged(UpstreamGone):
    """A server behind a URL speaks the other era of MCP now. It refused the request, which can be repeated on a new connection."""


class Unreachable(UpstreamGone):
    """No connection to a server behind a URL came about, so it got nothing."""


class StoreFailed(UpstreamFailed):
    """The configured storage of the tokens fails. The proxy does not use another storage instead."""


class TooLarge(UpstreamFailed):
    """One answer is too large; the upstream itself still works."""


class HttpStatus(UpstreamFailed):
    """A server behind a URL answered with an error status. The message lacks the body, which may contain anything."""

    def __init__(
        self,
        message: str,
        last_output: str = "",
        *,
        status: int = 0,
        is_session_lost: bool = False,
        retry_after: float = 0.0,
    ) -> None:
        """``is_session_lost`` is whether the answer to a request of a session says that the server has lost the session.

        ``retry_after`` is the time in seconds for which the server asks for no further request.
        """
        super().__init__(message, last_output)
        self.status = status
        self.is_session_lost = is_session_lost
        self.retry_after = retry_after


class SignInMayHelp(UpstreamFailed):
    """The tokens have no use at the moment. This may pass by itself, so no browser opens. ``dynamic-mcp login`` signs in at once."""


class SignInNeeded(UpstreamFailed):
    """The user has to sign in, because the server refuses all stored tokens.

    ``challenge`` is the challenge of the server (``oauth.challenge.Challenge``).
    """

    def __init__(self, message: str, last_output: str = "", *, challenge: object = None) -> None:
        super().__init__(message, last_output)
        self.challenge = challenge
        #: whether there are tokens, which the server may take later
        self.may_pass = False


class UpstreamTimeout(UpstreamError):
    """No answer came within the timeout, which is in the message."""

    def by(self, server: str, setting: str) -> UpstreamTimeout:
        """The same error, with the setting of the server that would give it more time."""
        return UpstreamTimeout(f"{self} (timeout.{setting} of server {server!r})")


class UpstreamRefused(UpstreamError):
    """The upstream answered with a JSON-RPC error.

    ``error`` is the error object, repaired if that of the upstream is not valid (``protocol.answers``). Its text is for the caller. The
    message of this exception lacks the text, which may repeat parts of the request.
    """

    def __init__(self, error: bytes) -> None:
        self.error = error
        try:
            decoded = msgspec.json.decode(error, type=_ErrorObject)
        except msgspec.DecodeError:
            decoded = _ErrorObject()
        self.code = decoded.code
        self.text = decoded.message
        super().__init__(f"the upstream answered with JSON-RPC error {self.code}")

    def as_failure(self, method: str) -> UpstreamFailed:
        """The failure of an upstream that refuses a request which the proxy cannot do without."""
        return UpstreamFailed(f"it answered {method} with JSON-RPC error {self.code}", self.text[:_MAX_SHOWN])


class HeadersRefused(UpstreamRefused):
    """A modern server behind a URL refused a request before it ran, because the HTTP headers do not fit the body.

    ``are_outdated`` tells whether the request would have other headers now, because the proxy has listed the tools again.
    """

    def __init__(self, error: bytes, are_outdated: Callable[[], bool]) -> None:
        super().__init__(error)
        self.are_outdated = are_outdated


class _ErrorObject(msgspec.Struct):
    code: int | float | None = None
    message: str = ""
