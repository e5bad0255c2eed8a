"""The terminal of a started program: it controls the program, and shows what was written to it."""

from __future__ import annotations

import asyncio
import subprocess
import sys

from conformance.workbench.terminal import Terminal

PROGRAM = """
import os
os.write(os.open("/dev/tty", os.O_RDWR), b"words")
print(os.getpid() == os.getsid(0))
"""


async def test_program_has_the_terminal_and_pipes() -> None:
    with Terminal() as terminal:
        command = terminal.controlling([sys.executable, "-c", PROGRAM])
        process = await asyncio.create_subprocess_exec(
            *command, stdout=subprocess.PIPE, start_new_session=True
        )
        output, _ = await process.communicate()
        assert output == b"True\n"
        assert terminal.text == "words"
