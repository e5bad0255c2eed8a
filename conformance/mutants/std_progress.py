"""Mistakes with progress and the timeout of a call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.mutants import mutant, replace
from dynamic_mcp.protocol import pending, progress
from dynamic_mcp.protocol.pending import Pending

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from msgspec import Raw


@mutant("STD-050")
def ends_a_call_although_it_reports_progress() -> None:
    replace(Pending.progressed, lambda self, now: None)


@mutant("STD-051")
def waits_as_long_as_there_is_progress() -> None:
    pending.MAX_TIMES = 1 << 40


@mutant("STD-052")
def any_progress_keeps_each_call_alive() -> None:
    right = progress.deliver

    def wrong(
        params: Raw,
        requests: Mapping[int, Pending],
        now: float,
        on_oddity: Callable[[str], None] = lambda what: None,
    ) -> bool:
        for request in requests.values():
            request.progressed(now)
        return right(params, requests, now, on_oddity)

    replace(right, wrong)
