"""Mistakes in leaving nothing behind."""

from __future__ import annotations

from conformance.mutants import mutant, replace
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


@mutant("GUARD-002", also={"GUARD-001": "nobody but the guard is left after SIGKILL"})
def forgets_a_child_that_has_not_answered_yet() -> None:
    """The proxy has started the child and has not registered it yet."""
    right = StdioUpstream.close

    async def wrong(self: StdioUpstream) -> None:
        if self.agreed.capabilities:
            await right(self)

    replace(right, wrong)
    remove_the_guard()
