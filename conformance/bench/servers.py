"""The configuration entries of the upstream servers, and how to recognise their processes."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mock_servers.commands import MAIN

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

UPSTREAMS = Path(__file__).with_name("upstreams.py")

Entry = dict[str, Any]


def command(*arguments: str) -> list[str]:
    """The command line of an upstream."""
    return [sys.executable, "-I", "-S", str(UPSTREAMS), *arguments]


def stdio(start: float | str = 0) -> Entry:
    """The entry of a child process that needs `start` seconds to start: see `upstreams` for other values."""
    program, *arguments = command("stdio", str(start))
    return {"description": "bench", "command": program, "args": arguments}


def listing(count: int, size: int) -> Entry:
    """The entry of a child process that lists so many more tools, whose definitions have about so many bytes each."""
    entry = stdio()
    return {**entry, "args": [*entry["args"], str(count), str(size)]}


def hostile(name: str) -> Entry:
    """The entry of a hostile child process of `mock_servers.hostile`."""
    return {
        "description": "bench",
        "command": sys.executable,
        "args": ["-I", "-S", str(MAIN), "stdio", "--hostile", name],
    }


@contextmanager
def child() -> Iterator[Entry]:
    """The entry of a child process, which the proxy or the client starts."""
    yield stdio()


@contextmanager
def http() -> Iterator[Entry]:
    """The entry of a server behind a URL, which runs inside the block."""
    with subprocess.Popen(command("http"), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin is not None and server.stdout is not None
        try:
            yield {"description": "bench", "url": server.stdout.readline().decode().strip(), "type": "http"}
        finally:
            server.stdin.close()


def is_upstream(command_line: Sequence[str]) -> bool:
    """Whether a process with this command line is an upstream."""
    return str(UPSTREAMS) in command_line
