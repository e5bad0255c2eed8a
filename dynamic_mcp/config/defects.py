"""Settings with which no program can start, or which no HTTP request can carry.

The server with such a setting fails with this reason, and the others work. The checks follow the expansion, because a variable can
hold anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from dynamic_mcp.config.model import RemoteTransport, Server, StdioTransport
from dynamic_mcp.origin import NO_WEB_ADDRESS, is_plain, is_web_address

#: What the name of a variable must not have.
_NO_NAME = re.compile(r"[=\0]")
#: What the name of a header must not have (RFC 9110, section 5.6.2).
_NO_TOKEN = re.compile(r"[^!#$%&'*+.^_`|~0-9A-Za-z-]")
#: What a header value must not have (RFC 9110, section 5.5): a tab is allowed.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
#: Headers that describe one message, so that a fixed one is wrong for most (RFC 9112, section 6).
_FRAMING = frozenset({"content-length", "transfer-encoding"})


class Defect(NamedTuple):
    """One setting that cannot work."""

    #: its place below the server, such as ``headers.X-Team``
    place: str
    #: what is wrong, and what to do
    problem: str

    def __str__(self) -> str:
        return f"{self.place} {self.problem}"


def of_child(transport: StdioTransport) -> Iterator[Defect]:
    """Why no program starts: the words, the folder and the variables that the system does not take."""
    words = [
        *((f"security.command_prefix[{n}]", word) for n, word in enumerate(transport.prefix)),
        ("command", transport.command),
        *((f"args[{n}]", word) for n, word in enumerate(transport.args)),
        ("cwd", transport.cwd or ""),
    ]
    for place, word in words:
        if "\0" in word:
            yield Defect(place, "has a NUL character, which no program can get; remove it")
    for name, value in transport.env:
        if not name:
            yield Defect("env", "has a variable without a name; remove it")
        elif (wrong := _NO_NAME.search(name)) is not None:
            # The rest may be the value, and so a secret.
            yield Defect(
                f"env.{name[: wrong.start()]}...",
                "is not the name of a variable; a name has neither '=' nor a NUL character",
            )
        elif "\0" in value.reveal():
            yield Defect(f"env.{name}", "has a NUL character, which no program can get; remove it")


def of_headers(headers: Mapping[str, str]) -> Iterator[Defect]:
    """Why no request can carry these headers."""
    for name, value in headers.items():
        place = f"headers.{name}"
        if not name:
            yield Defect("headers", "has a header without a name; remove it")
        elif (wrong := _NO_TOKEN.search(name)) is not None:
            place = f"headers.{name[: wrong.start()]}..."
            yield Defect(place, "is not the name of a header; write letters, digits and hyphens only")
        elif name.lower() in _FRAMING:
            yield Defect(place, "differs from message to message, so the proxy sets it itself; remove it")
        elif _CONTROL.search(value):
            yield Defect(place, "has a line end or another control character; a header is one line")


def _of(transport: StdioTransport | RemoteTransport) -> Iterator[Defect]:
    if isinstance(transport, StdioTransport):
        yield from of_child(transport)
        return
    headers = {name: value.reveal() for name, value in transport.headers}
    yield from of_headers(headers)
    for name, value in headers.items():
        try:
            value.encode("latin-1")
        except UnicodeEncodeError:
            yield Defect(
                f"headers.{name}",
                "has characters beyond Latin-1, which go out as UTF-8; many servers read them wrongly, so use ASCII",
            )


def warnings(servers: Iterable[Server]) -> Iterator[str]:
    """One sentence for each defect."""
    for server in servers:
        yield from (f"mcpServers.{server.name}.{defect}" for defect in _of(server.transport))


def url_warnings(servers: Iterable[Server]) -> Iterator[str]:
    """One sentence for each URL that is no address of the web, or that others on the way can read."""
    for server in servers:
        transport = server.transport
        if isinstance(transport, StdioTransport):
            continue
        if not is_web_address(transport.url.reveal()):
            yield f"mcpServers.{server.name}.url {NO_WEB_ADDRESS}"
        elif is_plain(transport.url.reveal()) and not transport.require_https:
            yield (
                f"mcpServers.{server.name}.url begins with http://: others can read credentials and everything else on the way; "
                "use https://, or refuse such URLs with security.require_https"
            )
