"""Legitimate designs: a relay, which passes the messages of one server on as they are."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import IO, Any

from conformance.mutants import legitimate, replace
from dynamic_mcp.cli import main
from dynamic_mcp.frontend import client

#: seconds for the end of the server after the end of its stdin
_PATIENCE = 2.0
_RELAY = """
relay = true
face = "flat"
tool = "{tool}"
prompt = "{prompt}"
uri = "{uri}"
revisions = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"]
[single]
command = ["{command}"]
"""


@legitimate(
    "FRONT-003",
    "FRONT-011",
    "FRONT-012",
    "FRONT-013",
    "FRONT-022",
    "FRONT-025",
    "FRONT-026",
    "FRONT-075",
    "FRONT-101",
    "FRONT-171",
    "STD-006",
    "STD-010",
    "STD-020",
    profile=_RELAY,
)
def passes_the_messages_of_one_server_on() -> None:
    """The words of its command line are those of the server. It ends with the server."""
    replace(main, _relay)


def _relay(words: list[str]) -> None:
    source, sink = client.take_over_stdio()
    server = subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, bufsize=0
    )

    def end(*_: Any) -> None:
        os.killpg(server.pid, signal.SIGKILL)
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    assert server.stdin is not None
    assert server.stdout is not None
    threading.Thread(target=_pass_answers, args=(server.stdout, sink), daemon=True).start()
    _pass(os.fdopen(source, "rb"), server.stdin)
    try:
        server.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        end()


def _pass_answers(stdout: IO[bytes], sink: int) -> None:
    """Pass on what the server writes, then end the program."""
    with os.fdopen(sink, "wb", 0) as opened:
        _pass(stdout, opened)
    os._exit(0)


def _pass(source: IO[bytes], sink: IO[bytes]) -> None:
    """Pass lines on until one side ends, then end the other side."""
    with sink:
        try:
            for line in source:
                rest = memoryview(line)
                while rest:
                    rest = rest[sink.write(rest) :]
        except BrokenPipeError:
            return
