"""The program by which the implementation starts a stdio mock, so that the command line tells nothing about the check.

The implementation knows a program with a random name, and the arguments that the check gives the mock. The program itself holds the
options of the mock: where its script and its journal are.

Limit: an implementation that opens the program reads these paths, as it can read every file of the user.
"""

from __future__ import annotations

import sys
import uuid
from typing import TYPE_CHECKING

from mock_servers import commands

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_PROGRAM = """\
import sys
sys.path.insert(0, {packages!r})
from mock_servers.cli import main
main([*{options!r}, *sys.argv[1:]])
"""


def random_name() -> str:
    """A name for a file or folder that means nothing."""
    return uuid.uuid4().hex[:12]


def write_launcher(folder: Path, mock: Path, *, max_life: float) -> Path:
    """Write a program into `folder` that starts the mock whose script is in the folder `mock`; returns its path.

    The mock ends after `max_life` seconds at the latest.
    """
    command = commands.stdio(mock, max_life=max_life)
    options = command[command.index(str(commands.MAIN)) + 1 :]
    program = folder / random_name()
    program.write_text(_PROGRAM.format(packages=str(commands.MAIN.parent.parent), options=options))
    return program


def command(program: Path, args: Sequence[str]) -> list[str]:
    """The command line that starts the program, on an interpreter that reads neither the environment nor the working directory."""
    return [sys.executable, "-I", "-S", str(program), *args]
