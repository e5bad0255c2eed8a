"""Mistakes in keeping the audit log."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from conformance.mutants import mutant, replace
from dynamic_mcp.extras import audit
from dynamic_mcp.extras.audit import AuditLog
from dynamic_mcp.groups.connection_record import ConnectionRecord
from dynamic_mcp.oauth.fresh_tokens import FreshTokens

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dynamic_mcp.config.model import Audit
    from dynamic_mcp.oauth.tokens import Tokens


@mutant("HARD-005", also={"HARD-013": "it reads the file while the proxy runs"})
def writes_when_the_proxy_ends() -> None:
    right = AuditLog.record
    kept: list[tuple[str, dict[str, Any]]] = []

    def wrong(self: AuditLog, event: str, **details: Any) -> None:
        kept.append((event, details))
        if event == "stop":
            for one, more in kept:
                right(self, one, **more)

    replace(right, wrong)


@mutant("HARD-005")
def writes_the_arguments_unasked() -> None:
    right = AuditLog.__init__

    def wrong(self: AuditLog, settings: Audit | None, *more: Any) -> None:
        if settings is not None:
            settings = msgspec.structs.replace(settings, arguments="value")
        right(self, settings, *more)

    replace(right, wrong)


@mutant("HARD-005")
def writes_tokens() -> None:
    begin, right = AuditLog.__init__, FreshTokens.keep
    logs: list[AuditLog] = []

    def remember(self: AuditLog, *args: Any) -> None:
        begin(self, *args)
        logs.append(self)

    async def wrong(self: FreshTokens, tokens: Tokens) -> None:
        logs[-1].record("token", token=tokens.access_token)
        await right(self, tokens)

    replace(begin, remember)
    replace(right, wrong)


@mutant("HARD-005")
def goes_on_in_the_renamed_file() -> None:
    # Private, because which file is open is known nowhere else.
    right = AuditLog._open

    def wrong(self: AuditLog, path: Path) -> int:
        return right(self, path) if self._descriptor is None else self._descriptor

    replace(right, wrong)


@mutant("HARD-005")
def begins_the_log_anew_at_each_start() -> None:
    right = AuditLog.__init__

    def wrong(self: AuditLog, settings: Audit | None, *more: Any) -> None:
        if settings is not None:
            settings.file.unlink(missing_ok=True)
        right(self, settings, *more)

    replace(right, wrong)


@mutant("HARD-005")
def leaves_the_mode_of_the_log_to_the_umask() -> None:
    begin, right = AuditLog.__init__, AuditLog.record
    files: list[Path] = []

    def remember(self: AuditLog, settings: Audit | None, *more: Any) -> None:
        begin(self, settings, *more)
        files.extend(() if settings is None else [settings.file])

    def wrong(self: AuditLog, event: str, **details: Any) -> None:
        right(self, event, **details)
        for file in files:
            file.chmod(0o644)

    replace(begin, remember)
    replace(right, wrong)


@mutant("HARD-005", also={"HARD-013": "it looks for the lines of refused calls"})
def records_calls_that_succeed_only() -> None:
    right = AuditLog.record

    def wrong(self: AuditLog, event: str, *, outcome: str = "ok", **more: Any) -> None:
        if outcome == "ok":
            right(self, event, outcome=outcome, **more)

    replace(right, wrong)


_FAILED = ("failed", "error", "timeout", "cancelled")


@mutant("HARD-005")
def leaves_out_calls_that_fail() -> None:
    _change_lines(lambda fields: None if fields["outcome"] in _FAILED else fields)


@mutant("HARD-005")
def says_that_calls_that_fail_are_fine() -> None:
    _change_lines(lambda fields: {**fields, "outcome": "ok"} if fields["outcome"] in _FAILED else fields)


@mutant("HARD-005")
def has_durations_of_zero() -> None:
    _change_lines(lambda fields: {**fields, "began": None})


@mutant("HARD-005")
def says_nothing_of_a_crash() -> None:
    _change_lines(lambda fields: None if fields["outcome"] == "lost" else fields)


def _change_lines(change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> None:
    """Let ``change`` alter what is recorded; with None there is no line."""
    right = AuditLog.record

    def wrong(self: AuditLog, event: str, *, outcome: str = "ok", **more: Any) -> None:
        if (fields := change({"outcome": outcome, **more})) is not None:
            right(self, event, **fields)

    replace(right, wrong)


@mutant("HARD-013")
def cuts_a_name_silently() -> None:
    right = audit.line_of

    def wrong(fields: dict[str, object]) -> bytes:
        return right(
            {
                name: value[: audit.MAX_FIELD] if isinstance(value, str) else value
                for name, value in fields.items()
            }
        )

    replace(right, wrong)


@mutant("HARD-005")
def says_nothing_of_upstreams() -> None:
    for method in (ConnectionRecord.ready, ConnectionRecord.failed, ConnectionRecord.closed):
        replace(method, lambda self, *args, **more: None)


@mutant("HARD-005", also={"HARD-013": "its lines need all members too"})
def has_no_duration() -> None:
    # Private, because a line is complete nowhere else before it is written.
    right = AuditLog._write

    def wrong(self: AuditLog, path: Path, line: bytes) -> None:
        # As text, because a new encoding would undo the escapes.
        right(self, path, re.sub(rb',"duration_ms":[0-9.]+', b"", line))

    replace(right, wrong)
