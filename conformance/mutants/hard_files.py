"""Mistakes about files with secrets that others can get at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.mutants import mutant, replace
from dynamic_mcp.log import log
from dynamic_mcp.oauth import store
from dynamic_mcp.oauth.store import Store

if TYPE_CHECKING:
    from pathlib import Path


@mutant("HARD-001", also={"TOK-003": "a folder that was open stays open"})
def leaves_lax_modes_as_they_are() -> None:
    replace(store._close_to_others, lambda path, mode: None)


@mutant("HARD-001")
def repairs_modes_without_a_word() -> None:
    def wrong(path: Path, mode: int) -> None:
        if path.stat().st_mode & 0o077:
            path.chmod(mode)

    replace(store._close_to_others, wrong)


@mutant("HARD-001")
def closes_home_as_well() -> None:
    right = Store._close_directories

    def wrong(self: Store) -> None:
        self._directory.parent.parent.chmod(0o700)
        right(self)

    replace(right, wrong)


@mutant("HARD-001")
def trusts_what_anybody_could_write() -> None:
    replace(store._doubt, lambda found, directory: "")


@mutant("HARD-001")
def trusts_it_after_the_repair() -> None:
    def wrong(self: Store) -> bytes | None:
        lax = self.path.stat().st_mode & 0o002
        store._close_to_others(self.path, 0o600)
        if lax:
            log.warning("%s could be written by anybody", self.path)
            return None
        return self.path.read_bytes()

    replace(Store._read, wrong)
