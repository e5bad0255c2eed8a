"""Mistakes about files with secrets that others can get at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import msgspec

from conformance.mutants import mutant, replace
from dynamic_mcp.config import credential_scan
from dynamic_mcp.config.load import load
from dynamic_mcp.log import log
from dynamic_mcp.oauth.store import FileStore

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    from dynamic_mcp.config.model import Config
    from dynamic_mcp.oauth.tokens import Tokens


@mutant("HARD-001", also={"TOK-003": "a folder that was open stays open"})
def leaves_lax_modes_as_they_are() -> None:
    patch.object(Path, "chmod", lambda self, mode: None).start()


@mutant("HARD-001")
def repairs_modes_without_a_word() -> None:
    log.addFilter(lambda record: "was open to others" not in record.msg)


@mutant("HARD-001")
def closes_home_as_well() -> None:
    right = FileStore.load

    def wrong(self: FileStore) -> Tokens | None:
        self.path.parent.parent.parent.chmod(0o700)
        return right(self)

    replace(right, wrong)


@mutant("HARD-001")
def trusts_what_anybody_could_write() -> None:
    """The proxy trusts a file with mode 0666."""
    right = FileStore.load

    def wrong(self: FileStore) -> Tokens | None:
        if self.path.exists():
            self.path.chmod(self.path.stat().st_mode & ~0o002)
        return right(self)

    replace(right, wrong)


@mutant("HARD-001")
def trusts_it_after_the_repair() -> None:
    right = FileStore.load

    def wrong(self: FileStore) -> Tokens | None:
        if not self.path.exists() or not self.path.stat().st_mode & 0o002:
            return right(self)
        self.path.chmod(0o600)
        log.warning("%s could be written by anybody", self.path)
        return None

    replace(right, wrong)


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
    loaded: list[Config] = []

    def wrong(path: Path, environment: Mapping[str, str]) -> Config:
        loaded.append(load(path, environment))
        return loaded[-1] if len(loaded) == 1 else msgspec.structs.replace(loaded[-1], exposed="")

    replace(load, wrong)


@mutant("HARD-011")
def overlooks_headers() -> None:
    right = credential_scan.credentials
    replace(right, lambda env, headers, url, place: right(env, {}, url, place))
