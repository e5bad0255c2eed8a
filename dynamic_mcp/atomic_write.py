"""Files of the user that hold secrets: private from the moment they exist, and replaced in one step."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

_PRIVATE = 0o600


def replace(path: Path, content: bytes) -> None:
    """Write a file anew, with mode 0600: whoever reads it meanwhile, or after a crash, has the old one or the new one. Raises OSError."""
    descriptor, name = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=path.parent)
    try:
        if hasattr(os, "fchmod"):
            # mkstemp asks for 0600; an odd umask may have taken even that.
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
    """Make a rename durable, where directories can be synced."""
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
