"""The ways in which programs save a file that others watch. Each leaves exactly `data` at `path`."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from pathlib import Path


def in_place(path: Path, data: bytes) -> None:
    """Truncate and write: the same inode. `cp`, `echo >`, many scripts."""
    path.write_bytes(data)


def by_rename(path: Path, data: bytes) -> None:
    """Write a neighbour and rename it over the file: another inode each time. VS Code, `sed -i`, most careful programs."""
    neighbour = path.with_name(f".{path.name}.{time.monotonic_ns()}")
    neighbour.write_bytes(data)
    os.replace(neighbour, path)


def with_backup(path: Path, data: bytes) -> None:
    """Move the file away, write a new one, remove the old: for a moment there is none. Vim."""
    backup = path.with_name(path.name + "~")
    os.rename(path, backup)
    path.write_bytes(data)
    backup.unlink()


async def in_pieces(path: Path, data: bytes, pieces: int, pause: float) -> None:
    """Truncate and write piece by piece, `pause` seconds before each: a slow program or network."""
    size = -(-len(data) // pieces)
    with path.open("wb", buffering=0) as file:
        for start in range(0, len(data), size):
            await anyio.sleep(pause)
            file.write(data[start : start + size])
