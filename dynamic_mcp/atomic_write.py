"""Writes files with secrets: private from the start, and replaced in one step."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_PRIVATE = 0o600
_NEW = (
    os.O_WRONLY
    | os.O_CREAT
    | os.O_EXCL
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_BINARY", 0)
)


def replace(path: Path, content: bytes, folder: int | None = None) -> None:
    """Replace a file, with mode 0600. A reader sees the old or the new content, even after a crash. Raises OSError.

    ``folder`` is the descriptor of the folder of a relative path.
    """
    new = path.with_name(f".{os.urandom(8).hex()}.tmp")
    descriptor = os.open(new, _NEW, _PRIVATE, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if hasattr(os, "fchmod"):
                # An unusual umask may remove even the permissions of the owner.
                os.fchmod(descriptor, _PRIVATE)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(new, dir_fd=folder)
        raise
    _sync(path.parent, folder)


def _sync(directory: Path, folder: int | None) -> None:
    """Make a rename durable, on systems that can sync directories."""
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY, dir_fd=folder)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
