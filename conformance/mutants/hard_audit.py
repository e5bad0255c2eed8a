"""Mistakes in keeping the audit log."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec

from conformance.mutants import mutant, replace
from dynamic_mcp.extras import audit
from dynamic_mcp.extras.audit import Life, Trail
from dynamic_mcp.oauth.authorization import Authorization

if TYPE_CHECKING:
    from dynamic_mcp.oauth.tokens import Tokens


@mutant("HARD-005")
def writes_when_the_proxy_ends() -> None:
    right = Trail._write
    kept: list[bytes] = []

    def wrong(self: Trail, line: bytes) -> None:
        kept.append(line)
        if b'"stop"' in line:
            right(self, b"".join(kept))

    replace(right, wrong)


@mutant("HARD-005")
def writes_the_arguments_unasked() -> None:
    right = Trail.arguments

    def wrong(self: Trail, args: bytes) -> dict[str, object]:
        self._arguments = "value"
        return right(self, args)

    replace(right, wrong)


@mutant("HARD-005")
def writes_tokens() -> None:
    right = Authorization._keep

    async def wrong(self: Authorization, tokens: Tokens) -> None:
        audit.trail.record("token", server=self._server, token=tokens.access_token)
        await right(self, tokens)

    replace(right, wrong)


@mutant("HARD-005")
def goes_on_in_the_renamed_file() -> None:
    right = Trail._open

    def wrong(self: Trail) -> int:
        return right(self) if self._descriptor is None else self._descriptor

    replace(right, wrong)


@mutant("HARD-005")
def begins_the_log_anew_at_each_start() -> None:
    replace(audit._FLAGS, audit._FLAGS | os.O_TRUNC)


@mutant("HARD-005")
def leaves_the_mode_of_the_log_to_the_umask() -> None:
    right = Trail._open

    def wrong(self: Trail) -> int:
        descriptor = right(self)
        os.fchmod(descriptor, 0o644)
        return descriptor

    replace(right, wrong)


@mutant("HARD-005")
def records_calls_that_succeed_only() -> None:
    right = Trail.record

    def wrong(self: Trail, event: str, *, outcome: str = "ok", **more: Any) -> None:
        if outcome == "ok":
            right(self, event, outcome=outcome, **more)

    replace(right, wrong)


@mutant("HARD-005")
def says_nothing_of_upstreams() -> None:
    for method in (Life.ready, Life.failed, Life.closed):
        replace(method, lambda self, *args, **more: None)


@mutant("HARD-005")
def has_no_duration() -> None:
    right = Trail._write

    def wrong(self: Trail, line: bytes) -> None:
        fields = msgspec.json.decode(line)
        del fields["duration_ms"]
        right(self, msgspec.json.encode(fields) + b"\n")

    replace(right, wrong)
