"""Mistakes in keeping the audit log."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec

from conformance.mutants import mutant, replace
from dynamic_mcp.extras.audit import AuditLog
from dynamic_mcp.groups.connection_record import ConnectionRecord
from dynamic_mcp.oauth.fresh_tokens import FreshTokens

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dynamic_mcp.config.model import Audit
    from dynamic_mcp.oauth.tokens import Tokens


@mutant("HARD-005")
def writes_when_the_proxy_ends() -> None:
    right = AuditLog.record
    kept: list[tuple[str, dict[str, Any]]] = []

    def wrong(self: AuditLog, event: str, **details: Any) -> None:
        kept.append((event, details))
        if event == "stop":
            for one, its_details in kept:
                right(self, one, **its_details)

    replace(right, wrong)


@mutant("HARD-005")
def writes_the_arguments_unasked() -> None:
    _change_settings(lambda settings: msgspec.structs.replace(settings, arguments="value"))


@mutant("HARD-005")
def writes_tokens() -> None:
    logs: list[AuditLog] = []
    create, right = AuditLog.__init__, FreshTokens.keep

    def remember(self: AuditLog, *arguments: Any) -> None:
        logs.append(self)
        create(self, *arguments)

    async def wrong(self: FreshTokens, tokens: Tokens) -> None:
        logs[0].record("token", server=tokens.server, token=tokens.access_token)
        await right(self, tokens)

    replace(create, remember)
    replace(right, wrong)


@mutant("HARD-005")
def goes_on_in_the_renamed_file() -> None:
    # Private: which file a line goes to shows in no public name.
    right = AuditLog._open

    def wrong(self: AuditLog, path: Path) -> int:
        return right(self, path) if self._descriptor is None else self._descriptor

    replace(right, wrong)


@mutant("HARD-005")
def begins_the_log_anew_at_each_start() -> None:
    def wrong(settings: Audit) -> Audit:
        settings.file.unlink(missing_ok=True)
        return settings

    _change_settings(wrong)


@mutant("HARD-005")
def leaves_the_mode_of_the_log_to_the_umask() -> None:
    files: list[Path] = []
    right = AuditLog.record

    def remember(settings: Audit) -> Audit:
        files.append(settings.file)
        return settings

    def wrong(self: AuditLog, event: str, **details: Any) -> None:
        right(self, event, **details)
        if files:
            os.chmod(files[-1], 0o644)

    _change_settings(remember)
    replace(right, wrong)


@mutant("HARD-005")
def records_calls_that_succeed_only() -> None:
    right = AuditLog.record

    def wrong(self: AuditLog, event: str, *, outcome: str = "ok", **details: Any) -> None:
        if outcome == "ok":
            right(self, event, outcome=outcome, **details)

    replace(right, wrong)


@mutant("HARD-005")
def says_nothing_of_upstreams() -> None:
    for method in (ConnectionRecord.ready, ConnectionRecord.failed, ConnectionRecord.closed):
        replace(method, lambda self, *args, **more: None)


@mutant("HARD-005")
def has_no_duration() -> None:
    # Private: the fields of a line come together in no public name.
    right = AuditLog._write

    def wrong(self: AuditLog, path: Path, line: bytes) -> None:
        fields = msgspec.json.decode(line)
        del fields["duration_ms"]
        right(self, path, msgspec.json.encode(fields) + b"\n")

    replace(right, wrong)


def _change_settings(change: Callable[[Audit], Audit]) -> None:
    right = AuditLog.__init__

    def wrong(self: AuditLog, settings: Audit | None, *more: Any) -> None:
        right(self, None if settings is None else change(settings), *more)

    replace(right, wrong)
