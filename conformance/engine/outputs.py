"""Files that a run is asked to write: proved writable before it begins, so that no finished run is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.errors import HarnessError, UsageError

if TYPE_CHECKING:
    from pathlib import Path


def prove_writable(file: Path, asked: str) -> None:
    """Leaves a file that exists as it is, and none where there was none. Raises `UsageError`, naming what was asked."""
    existed = file.exists()
    try:
        with file.open("a", encoding="utf-8"):
            pass
        # An empty report of a run that never happened would be mistaken for a result.
        if not existed:
            file.unlink()
    except OSError as error:
        raise UsageError(f"{asked}: {error.strerror or error}") from error


def write(file: Path, text: str) -> None:
    """Replace the file by this text. Raises `HarnessError`: that it can be written was proved before."""
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise HarnessError(f"{file}: {error.strerror or error}") from error
