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


@mutant("GUARD-002", also={"GUARD-001": "nobody but the guard is left after SIGKILL"})
def forgets_a_child_that_has_not_answered_yet() -> None:
    """The proxy has started the child and has not registered it yet."""
    right = StdioUpstream.close

    async def wrong(self: StdioUpstream) -> None:
        if self.agreed.capabilities:
            await right(self)

    replace(right, wrong)
    remove_the_guard()
