"""Mistakes about files that belong to another user, or are something else than a regular file.

Each mistake shows without the rights of root, which the checks need to give a file to another user.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from conformance.mutants import mutant, replace, set_constant
from dynamic_mcp import files
from dynamic_mcp.config.load import load, parse
from dynamic_mcp.oauth.store import FileStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from dynamic_mcp.config.model import Config
    from dynamic_mcp.oauth.tokens import Tokens


@mutant("TOK-021")
def waits_for_a_pipe_in_place_of_a_token_file() -> None:
    right = FileStore.load

    def wrong(self: FileStore) -> Tokens | None:
        if self.path.exists():
            self.path.read_bytes()
        return right(self)

    replace(right, wrong)


@mutant("CFG-018")
def waits_for_a_pipe_in_place_of_the_configuration() -> None:
    def wrong(path: Path, environment: Mapping[str, str]) -> Config:
        return parse(path.read_bytes(), str(path), environment)

    replace(load, wrong)


@mutant("CFG-018")
def reads_a_configuration_of_any_size() -> None:
    set_constant(files, "MAX_CONFIG", 1 << 40)


@mutant("HARD-014")
def follows_a_link_to_the_audit_log() -> None:
    right = files.open_file
    _open_audit_log(lambda path, flags: right(path, flags, follow=True))


@mutant("HARD-014")
def writes_audit_lines_into_a_pipe() -> None:
    _open_audit_log(lambda path, flags: os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW, 0o600))


def _open_audit_log(open_it: Callable[[Path, int], int]) -> None:
    """Open the audit log, which is the only file that the proxy appends to, with another function."""
    right = files.open_file

    def wrong(path: Path, flags: int = os.O_RDONLY, **more: Any) -> int:
        return open_it(path, flags) if flags & os.O_APPEND else right(path, flags, **more)

    replace(right, wrong)
