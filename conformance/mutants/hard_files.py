"""Mistakes about files with secrets that others can get at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.mutants import mutant, replace
from dynamic_mcp.extras.hardening import credential_scan
from dynamic_mcp.groups.reload import Reload
from dynamic_mcp.log import log
from dynamic_mcp.oauth import store
from dynamic_mcp.oauth.store import FileStore

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence
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
    right = FileStore._close_directories

    def wrong(self: FileStore) -> None:
        self._directory.parent.parent.chmod(0o700)
        right(self)

    replace(right, wrong)


@mutant("HARD-001")
def trusts_what_anybody_could_write() -> None:
    replace(store._doubt, lambda found, directory: "")


@mutant("HARD-001")
def trusts_it_after_the_repair() -> None:
    def wrong(self: FileStore) -> bytes | None:
        lax = self.path.stat().st_mode & 0o002
        store._close_to_others(self.path, 0o600)
        if lax:
            log.warning("%s could be written by anybody", self.path)
            return None
        return self.path.read_bytes()

    replace(FileStore._read, wrong)


@mutant("HARD-011")
def says_nothing_about_exposed_secrets() -> None:
    replace(credential_scan.warning, lambda origin, status, places: "")


@mutant("HARD-011", also={"SEC-001": "a canary is the value of a header"})
def shows_the_exposed_value() -> None:
    right = credential_scan.credentials

    def wrong(
        env: Mapping[str, str], headers: Mapping[str, str], url: str | None, place: str
    ) -> Iterator[str]:
        values = {**env, **headers}
        for found in right(env, headers, None, place):
            yield f"{found} = {values[found.rpartition('.')[2]]}"

    replace(right, wrong)


@mutant("HARD-011")
def warns_whatever_the_mode() -> None:
    def wrong(origin: str, status: os.stat_result, places: Sequence[str]) -> str:
        return f"{origin}: holds {', '.join(places)}" if places else ""

    replace(credential_scan.warning, wrong)


@mutant("HARD-011")
def takes_a_reference_for_a_credential() -> None:
    right = credential_scan.credentials

    def wrong(
        env: Mapping[str, str], headers: Mapping[str, str], url: str | None, place: str
    ) -> Iterator[str]:
        return right(dict.fromkeys(env, "literal"), dict.fromkeys(headers, "literal"), url, place)

    replace(right, wrong)


@mutant("HARD-011")
def takes_every_variable_for_a_credential() -> None:
    replace(
        credential_scan.credentials,
        lambda env, headers, url, place: iter(f"{place}.{name}" for name in (*env, *headers)),
    )


@mutant("HARD-011")
def warns_at_the_start_only() -> None:
    right = Reload._take

    def wrong(self: Reload, *, forced: bool) -> str:
        log.disabled = True
        try:
            return right(self, forced=forced)
        finally:
            log.disabled = False

    replace(right, wrong)


@mutant("HARD-011")
def overlooks_headers() -> None:
    right = credential_scan.credentials
    replace(right, lambda env, headers, url, place: right(env, {}, url, place))
