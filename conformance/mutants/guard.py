"""Mistakes in leaving nothing behind."""

from __future__ import annotations

from typing import Any

from conformance.mutants import instances, mutant, replace
from dynamic_mcp.groups.supervisor import Supervisor
from dynamic_mcp.process.guard import Guard
from dynamic_mcp.upstream.stdio import StdioUpstream


def remove_the_guard() -> None:
    """Let children start unguarded: the guard would hide that the proxy itself forgets them."""
    replace(Guard.start, lambda self, popen: popen(None))


@mutant("GUARD-001")
def relies_on_the_end_of_input_alone() -> None:
    """dmcp 1.5.0 behaves like this, and so do the other proxies that were compared."""
    remove_the_guard()


@mutant("GUARD-001")
def guards_only_the_first_process_of_each_server() -> None:
    """After a crash, the new process is unguarded."""
    start, forget = Guard.start, Guard.forget
    crashed: list[int] = []

    def forgotten(self: Guard, group: int) -> None:
        crashed.append(group)
        forget(self, group)

    replace(forget, forgotten)
    replace(start, lambda self, popen: popen(None) if crashed else start(self, popen))


@mutant("GUARD-001")
def guards_nothing_that_starts_after_a_reload() -> None:
    start, right = Guard.start, Supervisor.apply
    reloads: list[Supervisor] = []

    def remember(self: Supervisor, *arguments: Any) -> None:
        reloads.append(self)
        right(self, *arguments)

    replace(right, remember)
    replace(start, lambda self, popen: popen(None) if reloads else start(self, popen))


@mutant("GUARD-001")
def guards_a_child_after_its_handshake() -> None:
    start, right, guards = Guard.start, StdioUpstream.open, instances(Guard)

    def forgotten(self: Guard, popen: Any) -> Any:
        process = start(self, popen)
        self.forget(process.pid)
        return process

    async def remember(self: StdioUpstream, *arguments: Any, **options: Any) -> None:
        await right(self, *arguments, **options)
        assert self.process_group is not None
        for guard in guards:
            # Private, because the child itself announces its group, before its program runs.
            guard._groups.add(self.process_group)
            guard._write(b"+ %d\n=\n" % self.process_group)

    replace(start, forgotten)
    replace(right, remember)


@mutant("GUARD-001")
def forgets_a_group_when_it_begins_to_end_it() -> None:
    right, guards = StdioUpstream.close, instances(Guard)

    async def wrong(self: StdioUpstream) -> None:
        if self.process_group is not None:
            for guard in guards:
                guard.forget(self.process_group)
        await right(self)

    replace(right, wrong)


@mutant("GUARD-002", also={"GUARD-001": "nobody but the guard is left after SIGKILL"})
def forgets_a_child_that_has_not_answered_yet() -> None:
    """The proxy has started the child and has not registered it yet."""
    right = StdioUpstream.close

    async def wrong(self: StdioUpstream) -> None:
        if self.agreed.capabilities:
            await right(self)

    replace(right, wrong)
    remove_the_guard()
