"""A file that is not a regular one is a fault of the implementation, and does not block the runner."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from conformance.errors import Violation
from conformance.workbench.regular_files import content_of, text_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OTHERS: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a folder": lambda path: path.mkdir(),
    "a loop of links": lambda path: path.symlink_to(path),
    "a link to a device": lambda path: path.symlink_to("/dev/null"),
}


@pytest.mark.timeout(5)
@pytest.mark.parametrize("made", OTHERS.values(), ids=OTHERS)
def test_something_else_than_a_regular_file_is_a_violation(
    made: Callable[[Path], object], tmp_path: Path
) -> None:
    path = tmp_path / "file"
    made(path)
    with pytest.raises(Violation, match="is a regular file"):
        content_of(path)


def test_a_regular_file_is_read_and_a_missing_one_is_told_apart(tmp_path: Path) -> None:
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_bytes(b"a\xff")
    link.symlink_to(path)
    assert content_of(link) == b"a\xff"
    assert text_of(path) == "a\ufffd"
    with pytest.raises(FileNotFoundError):
        content_of(tmp_path / "missing")
