"""How programs save a file that other programs watch. Each function leaves exactly `data` at `path`."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from pathlib import Path


def in_place(path: Path, data: bytes) -> None:
    """Truncate and write, with the same inode: like `cp`, `echo >` and many scripts."""
    path.write_bytes(data)


def by_rename(path: Path, data: bytes) -> None:
    """Write a second file and rename it over the first, with a new inode each time: like VS Code and `sed -i`."""
    neighbour = path.with_name(f".{path.name}.{time.monotonic_ns()}")
    neighbour.write_bytes(data)
    os.replace(neighbour, path)


def with_backup(path: Path, data: bytes) -> None:
    """Move the file away, write a new one and remove the old: like Vim, which leaves no file for a moment."""
    backup = path.with_name(path.name + "~")
    os.rename(path, backup)
    path.write_bytes(data)
    backup.unlink()


async def in_pieces(path: Path, data: bytes, pieces: int, pause: float) -> None:
    """Truncate and write piece by piece, `pause` seconds before each: like a slow program or network."""
    size = -(-len(data) // pieces)
    with path.open("wb", buffering=0) as file:
        for start in range(0, len(data), size):
            await anyio.sleep(pause)
            file.write(data[start : start + size])
