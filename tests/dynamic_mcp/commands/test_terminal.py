"""Messages of the commands on a stderr that takes nothing."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

#: Says something twice, logs something, and shows the result.
PROGRAM = """
from dynamic_mcp import log
from dynamic_mcp.commands.terminal import say, show
from dynamic_mcp.unread import occupy_streams
occupy_streams()
log.configure("debug")
say("first")
log.log.debug("second")
say("third")
show("the result")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows starts no program without a stderr")
@pytest.mark.parametrize("way", ["closed by its reader", "closed"])
def test_a_stderr_that_takes_nothing_stops_no_command(way: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    close = (lambda: os.close(2)) if way == "closed" else None
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        stdout=subprocess.PIPE,
        stderr=writer,
        preexec_fn=close,
        timeout=60,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stdout) == (0, b"the result\n")
