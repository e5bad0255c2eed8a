"""Scripts as programs: those without ``#!``, and those whose interpreter is missing.

The system starts no text file without a ``#!`` line (ENOEXEC). Shells then run it by ``/bin/sh``, and so does the C library (POSIX.1-2017,
XSH exec: ``execvp``). Python does not, so the proxy does it here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

_SHELL = "/bin/sh"
#: Bytes of a file that decide whether it is text; a binary has a NUL character among them.
_BEGIN = 256


def by_shell(argv: Sequence[str], environment: Mapping[str, str]) -> tuple[str, ...]:
    """The command that runs a script by the shell."""
    return (_SHELL, _place(argv[0], environment), *argv[1:])


def is_text(program: str, environment: Mapping[str, str], cwd: str | None) -> bool:
    """Whether the program is a file that a shell can read, and no binary of another machine."""
    begin = _begin_of(program, environment, cwd)
    return begin is not None and b"\0" not in begin


def missing_interpreter(program: str, environment: Mapping[str, str], cwd: str | None) -> str | None:
    """The interpreter that a script names in its first line, if it does not exist; None for anything else.

    The system then reports that the script itself does not exist.
    """
    begin = _begin_of(program, environment, cwd)
    if begin is None or not begin.startswith(b"#!"):
        return None
    # Only spaces end the name: a carriage return at its end is a usual reason.
    name = begin[2:].partition(b"\n")[0].strip(b" \t").replace(b"\t", b" ").partition(b" ")[0]
    return None if not name or os.path.exists(name) else name.decode(errors="replace")


def _place(program: str, environment: Mapping[str, str]) -> str:
    """The path of a program; one without a folder is on ``PATH``."""
    if os.path.dirname(program):
        return program
    import shutil

    return shutil.which(program, path=environment.get("PATH", os.defpath)) or program


def _begin_of(program: str, environment: Mapping[str, str], cwd: str | None) -> bytes | None:
    try:
        with open(os.path.join(cwd or "", _place(program, environment)), "rb") as file:
            return file.read(_BEGIN)
    except (OSError, ValueError):
        return None
