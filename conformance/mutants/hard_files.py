"""Mistakes about files with secrets that others can get at."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from conformance.mutants import mutant, replace, set_constant
from dynamic_mcp import files
from dynamic_mcp.extras.hardening import credential_scan
from dynamic_mcp.extras.plugin import Extras
from dynamic_mcp.log import log
from dynamic_mcp.oauth.store import FileStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from dynamic_mcp.oauth.tokens import Tokens


@mutant("HARD-001", also={"TOK-003": "a folder that was open stays open"})
def leaves_lax_modes_as_they_are() -> None:
    replace(files.restrict, lambda descriptor, mode: 0)


@mutant("HARD-001")
def repairs_modes_without_a_word() -> None:
    _say_nothing_of_repairs()


@mutant("HARD-001")
def closes_home_as_well() -> None:
    def wrong(path: Path) -> None:
        home = path.parents[2]
        home.chmod(0o700)

    _before_loading(wrong)


@mutant("HARD-001")
def trusts_what_anybody_could_write() -> None:
    """For example a token file with mode 0666."""

    def wrong(path: Path) -> None:
        if path.exists():
            path.chmod(path.stat().st_mode & 0o7775)

    _before_loading(wrong)


@mutant("HARD-001")
def trusts_it_after_the_repair() -> None:
    right = FileStore.load

    def wrong(self: FileStore) -> Tokens | None:
        if self.path.exists() and self.path.stat().st_mode & 0o002:
            log.warning("%s could be written by anybody", self.path)
            self.path.chmod(0o600)
            return None
        return right(self)

    replace(right, wrong)


def _say_nothing_of_repairs() -> None:
    log.addFilter(lambda record: "was open to others" not in record.getMessage())


def _before_loading(do: Callable[[Path], object]) -> None:
    right = FileStore.load

    def wrong(self: FileStore) -> Tokens | None:
        do(self.path)
        return right(self)

    replace(right, wrong)


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
def knows_names_with_token_only() -> None:
    set_constant(credential_scan, "_CREDENTIAL_NAME", re.compile("token", re.IGNORECASE))


@mutant("HARD-011")
def overlooks_headers() -> None:
    right = credential_scan.credentials
    replace(right, lambda env, headers, url, place: right(env, {}, url, place))
