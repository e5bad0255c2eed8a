"""Mistakes with processes that are not the first ones of their servers, or that the proxy is ending."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from conformance.mutants import instances, mutant, replace
from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.groups.supervisor import RunningGroup, Supervisor
from dynamic_mcp.process import child
from dynamic_mcp.process.guard import Guard
from dynamic_mcp.upstream.stdio import StdioUpstream

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynamic_mcp.errors import UpstreamGone


def leave(is_left: Callable[[StdioUpstream], bool]) -> None:
    """Let neither the proxy nor its guard end the children of these upstreams."""
    right, guards = StdioUpstream.close, instances(Guard)

    async def wrong(self: StdioUpstream) -> None:
        if self.process_group is None or not is_left(self):
            await right(self)
            return
        for guard in guards:
            guard.forget(self.process_group)

    replace(right, wrong)


@mutant("STD-006", also=dict.fromkeys(("RLD-003", "RLD-004"), "a reload does not end it either"))
def never_ends_a_child_that_started_after_a_crash() -> None:
    right, made = StdioUpstream.wait_lost, instances(StdioUpstream)
    before: list[StdioUpstream] = []

    async def remember(self: StdioUpstream) -> UpstreamGone:
        loss = await right(self)
        before[:] = made
        return loss

    replace(right, remember)
    leave(lambda upstream: bool(before) and upstream not in before)


@mutant(
    "STD-006",
    also={
        "GUARD-001": "the guard forgets them too",
        "OPS-010": "the proxy does not reap the child",
        **dict.fromkeys(("RLD-003", "RLD-004"), "a reload does not end them either"),
    },
)
def never_ends_the_grandchildren_of_a_child_that_crashed() -> None:
    leave(lambda upstream: upstream.is_gone)


@mutant("STD-006", also={"GUARD-001": "the guard forgets the child too"})
def never_ends_a_child_that_refused_the_handshake() -> None:
    right = StdioUpstream.open
    refused: list[StdioUpstream] = []

    async def remember(self: StdioUpstream, *arguments: Any, **options: Any) -> None:
        try:
            await right(self, *arguments, **options)
        except UpstreamFailed:
            refused.append(self)
            raise

    replace(right, remember)
    leave(lambda upstream: upstream in refused)


@mutant("STD-006")
def never_ends_a_child_that_started_at_a_reload() -> None:
    right, made = Supervisor.apply, instances(StdioUpstream)
    before: list[StdioUpstream] = []

    def remember(self: Supervisor, *arguments: Any) -> None:
        before[:] = made
        right(self, *arguments)

    replace(right, remember)
    leave(lambda upstream: bool(before) and upstream not in before)


@mutant("STD-006")
def ends_before_the_servers_that_a_reload_removed() -> None:
    right, guards = RunningGroup.run, instances(Guard)
    running: set[RunningGroup] = set()

    async def wrong(self: RunningGroup) -> None:
        running.add(self)
        try:
            await right(self)
        finally:
            running.discard(self)
            is_at_the_end = not self.scope.cancel_called
            if is_at_the_end and running and all(one.scope.cancel_called for one in running):
                for process in child.live:
                    guards[0].forget(process.pid)
                os._exit(0)

    replace(right, wrong)
