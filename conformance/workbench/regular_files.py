"""Reads files that the implementation has made. A pipe in the place of a file does not block the runner."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from conformance.errors import Violation

if TYPE_CHECKING:
    from pathlib import Path


def content_of(file: Path, most: int = -1) -> bytes:
    """The bytes of a file, the first `most` of them if that is not negative.

    Raises `FileNotFoundError` if there is none, and `Violation` if it is not a readable regular file.
    """
    try:
        with open(file, "rb", opener=_without_waiting) as opened:
            if stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                return opened.read(most)
    except FileNotFoundError:
        raise
    except OSError as problem:
        raise Violation(f"{file} is a regular file", str(problem.strerror)) from None
    raise Violation(f"{file} is a regular file", "another kind of file")


def text_of(file: Path) -> str:
    """The same as text, with a replacement for each byte that is not UTF-8."""
    return content_of(file).decode(errors="replace")


def _without_waiting(path: str, flags: int) -> int:
    """Open a pipe at once, whether or not another process has opened it."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
