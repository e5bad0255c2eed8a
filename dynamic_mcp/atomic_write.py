"""Writes files with secrets: private from the start, and replaced in one step."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

_PRIVATE = 0o600


def replace(path: Path, content: bytes) -> None:
    """Replace a file, with mode 0600. A reader sees the old or the new content, even after a crash. Raises OSError."""
    descriptor, name = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=path.parent)
    try:
        if hasattr(os, "fchmod"):
            # mkstemp requests 0600, but an unusual umask may remove even that.
            os.fchmod(descriptor, _PRIVATE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
    _sync(path.parent)


def _sync(directory: Path) -> None:
    """Make a rename durable, on systems that can sync directories."""
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
