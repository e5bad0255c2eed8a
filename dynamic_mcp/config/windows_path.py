"""Finds Windows paths that lost their backslashes: JSON reads ``"C:\\temp"`` with one backslash as ``C:``, a tab and ``emp``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from dynamic_mcp.config.model import Server, StdioTransport

_CONTROLS = "\b\f\n\r\t"
#: The beginning of a path, its names, and a character that no path has. The beginning is a drive, dots, a backslash, or a name before a
#: backslash.
_PATH = re.compile(
    rf"(?:(?<![A-Za-z0-9])[A-Za-z]:(?=[\\{_CONTROLS}])|(?<![\w.])\.{{1,2}}(?=[\\{_CONTROLS}])|\A\\|\A[\w.-]+\\)"
    rf"[^\"'();|<>*?{_CONTROLS}]*(?P<control>[{_CONTROLS}])(?=[\w.])"
)
_NAMED = {"\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_CONTROL = re.compile(rf"(?P<control>[{_CONTROLS}])")
_NEVER_WANTED = re.compile("(?P<control>[\b\f])")


def broken_escape(value: str, *, is_program: bool = False) -> str | None:
    """The first escape, such as ``\\t``, that JSON read in a text with a Windows path; None for any other text.

    In the name of a program (``is_program``), every such escape is wrong.
    """
    found = _CONTROL.search(value) if is_program else _PATH.search(value) or _NEVER_WANTED.search(value)
    return None if found is None else _NAMED[found["control"]]


def warning(location: str, escape: str) -> str:
    """The sentence for the author of the file."""
    return (
        f"{location}: JSON reads {escape} in this Windows path as one character; "
        "write two backslashes for each, as in C:\\\\temp"
    )


def warnings(servers: Iterable[Server]) -> Iterator[str]:
    """One sentence for each broken path of a child."""
    for server in servers:
        transport = server.transport
        if isinstance(transport, StdioTransport):
            texts = [
                ("command", transport.command),
                *((f"args[{n}]", arg) for n, arg in enumerate(transport.args)),
                *((f"env.{name}", value.reveal()) for name, value in transport.env),
            ]
            for field, text in texts:
                if (escape := broken_escape(text, is_program=field == "command")) is not None:
                    yield warning(f"mcpServers.{server.name}.{field}", escape)
