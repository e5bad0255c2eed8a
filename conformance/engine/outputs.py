"""Output files, which are proved writable before a run begins, so that no finished run is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.errors import HarnessError, UsageError

if TYPE_CHECKING:
    from pathlib import Path


def prove_writable(file: Path, asked: str) -> None:
    """Raise `UsageError` with the option `asked` if the file is not writable. Changes no file and leaves no new one."""
    existed = file.exists()
    try:
        with file.open("a", encoding="utf-8"):
            pass
        # A reader would mistake an empty report of a run that never happened for a result.
        if not existed:
            file.unlink()
    except OSError as error:
        raise UsageError(f"{asked}: {error.strerror or error}") from error


def write(file: Path, text: str) -> None:
    """Replace the content of the file. Raises `HarnessError`, because the file was proved writable before."""
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise HarnessError(f"{file}: {error.strerror or error}") from error
