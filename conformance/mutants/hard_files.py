"""Mistakes about files with secrets that others can get at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from conformance.mutants import mutant, replace
from dynamic_mcp.extras.hardening import credential_scan
from dynamic_mcp.extras.plugin import Extras
from dynamic_mcp.log import log
from dynamic_mcp.oauth import store
from dynamic_mcp.oauth.store import FileStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path


@mutant("HARD-001", also={"TOK-003": "a folder that was open stays open"})
def leaves_lax_modes_as_they_are() -> None:
    # Private: the repair of a mode is inside of each access to the store.
    replace(store._close_to_others, lambda path, mode: None)


@mutant("HARD-001")
def repairs_modes_without_a_word() -> None:
    def wrong(path: Path, mode: int) -> None:
        if path.stat().st_mode & 0o077:
            path.chmod(mode)

    # Private: the repair of a mode is inside of each access to the store.
    replace(store._close_to_others, wrong)


@mutant("HARD-001")
def closes_home_as_well() -> None:
    # Private: which folders are closed is inside of each access to the store.
    right = FileStore._close_directories

    def wrong(self: FileStore) -> None:
        self._directory.parent.parent.chmod(0o700)
        right(self)

    replace(right, wrong)


@mutant("HARD-001")
def trusts_what_anybody_could_write() -> None:
    # Private: the doubt about a file is inside of the reading.
    replace(store._doubt, lambda found, directory: "")


@mutant("HARD-001")
def trusts_it_after_the_repair() -> None:
    def wrong(self: FileStore) -> bytes | None:
        lax = self.path.stat().st_mode & 0o002
        self.path.chmod(0o600)
        if lax:
            log.warning("%s could be written by anybody", self.path)
            return None
        return self.path.read_bytes()

    # Private: the order of doubt and repair is the mistake.
    replace(FileStore._read, wrong)


@mutant("HARD-011")
def says_nothing_about_exposed_secrets() -> None:
    replace(credential_scan.warnings, lambda path: ())


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
    def wrong(path: Path) -> Sequence[str]:
        found = [
            location
            for name, entry in msgspec.json.decode(path.read_bytes())["mcpServers"].items()
            for location in credential_scan.credentials(
                entry.get("env", {}), entry.get("headers", {}), entry.get("url"), f"mcpServers.{name}"
            )
        ]
        return (f"{path}: holds {', '.join(found)}",) if found else ()

    replace(credential_scan.warnings, wrong)


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
    right = Extras.warnings
    started: list[Path] = []

    def wrong(self: Extras, path: Path) -> Sequence[str]:
        started.append(path)
        return right(self, path) if len(started) == 1 else ()

    replace(right, wrong)


@mutant("HARD-011")
def overlooks_headers() -> None:
    right = credential_scan.credentials
    replace(right, lambda env, headers, url, place: right(env, {}, url, place))
