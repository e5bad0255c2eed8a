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


async def test_each_of_several_terminals_knows_its_program() -> None:
    for _ in range(2):
        with Terminal() as terminal, Terminal() as other:
            command = terminal.controlling([sys.executable, "-c", "print(flush=True); input()"])
            process = await asyncio.create_subprocess_exec(
                *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
            )
            assert process.stdout
            await process.stdout.readline()
            assert (terminal.controls(process.pid), other.controls(process.pid)) == (True, False)
            await process.communicate(b"\n")
            assert not terminal.controls(process.pid)
