"""The table `[client]` of a profile: how a client reaches the program, and how the program ends.

A program on stdio needs no table. A program that listens gets a free port for each start, wherever its command, its `env` or the URL says
`{port}`. Limit: the runner finds a free port and then gives it away, so another program can take it in between.
"""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import msgspec

from conformance.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PORT = "{port}"
_LOCAL = ("127.0.0.1", "::1", "localhost")


class Ready(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the runner knows that the program listens. Without a member, its port takes connections."""

    #: a path below the address of the program that answers a GET with a status below 400
    path: str = ""
    #: a regular expression for a line that the program writes
    stderr: str = ""
    stdout: str = ""


class ClientTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a client reaches the program."""

    #: stdio, Streamable HTTP, or the HTTP+SSE of 2024-11-05
    transport: Literal["stdio", "http", "sse"] = "stdio"
    #: the endpoint; for `sse` the one of the stream
    url: str = ""
    ready: Ready = Ready()
    #: the signal that ends a program that listens
    ends: Literal["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"] = "SIGTERM"
    #: headers of each request of the client, such as an API key
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    #: variables of the program, in which `{port}` stands for its port
    env: dict[str, str] = msgspec.field(default_factory=dict)
    #: whether its clients share one process of each stdio server; on stdio, each client is a start with the same configuration
    shares: bool = False
    #: seconds that shared servers outlive the last client
    lingers: float = 0.0

    @property
    def listens(self) -> bool:
        return self.transport != "stdio"

    @property
    def end_signal(self) -> int:
        return signal.Signals[self.ends]

    @property
    def has_several(self) -> bool:
        """Whether the program can have several clients at once."""
        return self.listens or self.shares

    def problem(self) -> str | None:
        """What is wrong with the table, and what to write instead; None if nothing is."""
        if self.lingers and not self.shares:
            return "lingers needs shares = true"
        if not self.listens:
            given = [name for name in ("url", "headers", "ready") if getattr(self, name) != _DEFAULTS[name]]
            return f'{given[0]} needs transport = "http" or "sse"' if given else None
        try:
            parts = urlsplit(self.url.replace(PORT, "1"))
        except ValueError as error:
            return f"url: {self.url!r} is not a URL: {error}"
        if parts.scheme != "http" or parts.hostname not in _LOCAL or PORT not in self.url:
            return f'url: {self.url!r} is not a URL of this machine with the port: write "http://127.0.0.1:{PORT}/mcp"'
        said = [name for name in ("path", "stderr", "stdout") if getattr(self.ready, name)]
        if len(said) > 1:
            return f"ready: give one of path, stderr and stdout, not {' and '.join(said)}"
        if self.ready.path and not self.ready.path.startswith("/"):
            return f"ready.path: {self.ready.path!r} does not begin with /"
        for name in ("stderr", "stdout"):
            try:
                re.compile(getattr(self.ready, name))
            except re.error as error:
                return f"ready.{name}: {getattr(self.ready, name)!r} is not a regular expression: {error}"
        return None

    def check_command(self, command: Iterable[str]) -> None:
        """Raise `UsageError` if a program that listens cannot know its port, or if nothing says where another one listens."""
        words = [*command]
        if not self.listens and any(PORT in word for word in words):
            raise UsageError(
                f"the command has {PORT}, and nothing says where the program listens: write "
                f'transport = "http" and url = "http://127.0.0.1:{PORT}/mcp" into [client] of its profile; '
                "`profile` has --url for that"
            )
        if self.listens and not any(PORT in word for word in (*words, *self.env.values())):
            raise UsageError(
                f"the program cannot know on which port to listen: write {PORT} into its command, or into [client.env] of its profile"
            )


_DEFAULTS = {"url": "", "headers": {}, "ready": Ready()}


def with_port(words: Sequence[str], port: int | None) -> list[str]:
    """The words with the port in its places; unchanged without a port."""
    return [word if port is None else word.replace(PORT, str(port)) for word in words]
