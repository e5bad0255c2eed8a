"""Everything that can go wrong, and who is to blame.

::

    DynamicMcpError
    ├── ConfigError          the operator's file: what, where, what to do; ends the start (exit 2)
    ├── CallRefused          a call that the operator's policy for its server does not let through
    └── UpstreamError        a server behind us
        ├── UpstreamFailed   it could not be started or reached, or broke the protocol
        │   ├── UpstreamGone it went away while it was needed
        │   ├── StoreFailed  the place for its tokens cannot be used
        │   ├── TooLarge     one answer was larger than is taken; nothing else is wrong
        │   ├── HttpStatus   it answered with an HTTP status that is no answer
        │   └── SignInNeeded only the user can give it what it wants
        ├── UpstreamTimeout  it did not answer in time
        └── UpstreamRefused  it answered with a JSON-RPC error, kept byte for byte

A message names the place and the mend. It never holds a value from the configuration: any value may be a secret.
"""

from __future__ import annotations

import copy

import msgspec


class DynamicMcpError(Exception):
    """Base of all errors that this package raises on purpose."""


class ConfigError(DynamicMcpError):
    """The configuration cannot be used."""


class CallRefused(DynamicMcpError):
    """The policy for a server does not let a call through. The message is for the model: what it did, and what it can do."""


class UpstreamError(DynamicMcpError):
    """A request to an upstream server did not produce a result."""


class UpstreamFailed(UpstreamError):
    """The upstream could not be started or reached, or it broke the protocol.

    ``stderr_tail`` is what the upstream said about it, such as the end of its stderr: for the caller, not for our own stderr.
    """

    def __init__(self, message: str, stderr_tail: str = "") -> None:
        super().__init__(message)
        self.stderr_tail = stderr_tail

    def copy(self) -> UpstreamFailed:
        """The same error as a new object: one that is raised many times collects the frames of all its tracebacks."""
        return copy.copy(self)


class UpstreamGone(UpstreamFailed):
    """The process or connection ended."""


class StoreFailed(UpstreamFailed):
    """The place where the tokens for it are to be kept cannot be used. Nothing takes its place without being asked."""


class TooLarge(UpstreamFailed):
    """One answer was larger than is taken; nothing else is wrong with the upstream."""


class HttpStatus(UpstreamFailed):
    """A server behind a URL answered with a status that is no answer; its body is not shown, it may hold anything."""

    def __init__(self, message: str, stderr_tail: str = "", *, status: int = 0) -> None:
        super().__init__(message, stderr_tail)
        self.status = status


class SignInNeeded(UpstreamFailed):
    """Only the user can help: the server wants an authorization that no stored token gives.

    ``challenge`` is what the server said it wants (``oauth.challenge.Challenge``).
    """

    def __init__(self, message: str, stderr_tail: str = "", *, challenge: object = None) -> None:
        super().__init__(message, stderr_tail)
        self.challenge = challenge


class UpstreamTimeout(UpstreamError):
    """No answer came within the time allowed (seconds in the message)."""


class UpstreamRefused(UpstreamError):
    """The upstream answered with a JSON-RPC error.

    ``error`` is the error object as the upstream wrote it, so that code, message, data and unknown members survive. Its text is
    for the caller; it is not part of this exception's message, because it may hold what was asked for.
    """

    def __init__(self, error: bytes) -> None:
        self.error = error
        try:
            read = msgspec.json.decode(error, type=_ErrorObject)
        except msgspec.DecodeError:
            read = _ErrorObject()
        self.code = read.code
        self.text = read.message
        super().__init__(f"the upstream answered with JSON-RPC error {self.code}")

    def as_failure(self, method: str) -> UpstreamFailed:
        """The failure of an upstream that refuses what a proxy cannot do without."""
        return UpstreamFailed(f"it answered {method} with JSON-RPC error {self.code}", self.text)


class _ErrorObject(msgspec.Struct):
    code: int | float | None = None
    message: str = ""
