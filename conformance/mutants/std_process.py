"""Mistakes in starting and ending the processes of stdio upstreams."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import anyio

from conformance.mutants import mutant, replace
from dynamic_mcp.process import child
from dynamic_mcp.process.child import Child

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Launch = dict[str, Any]


@mutant(
    "STD-001",
    also={
        "STD-004": "the shell leads the group",
        "STD-016": "the shell holds the pipe that the child has closed",
        "HARD-010": "the shell splits the words of the prefix too",
    },
)
def starts_children_through_a_shell() -> None:
    """By `sh -c`."""
    change_children(lambda launch: launch.update(args=["sh", "-c", " ".join(launch["args"])]))


@mutant("STD-002")
def sets_the_variables_of_a_child_in_its_own_environment() -> None:
    """From there they leak into the other children."""
    change_children(lambda launch: os.environ.update(launch["env"]))


@mutant(
    "STD-003",
    also={
        "STD-001": "without PATH no bare name is found",
        "STD-002": "an own variable goes with the inherited one of its name",
        "HARD-007": "no child has PATH",
    },
)
def clears_the_environment_of_children() -> None:
    """PATH and HOME are missing."""

    def wrong(launch: Launch) -> None:
        launch["env"] = {name: value for name, value in launch["env"].items() if name not in os.environ}

    change_children(wrong)


@mutant("STD-004", also=dict.fromkeys(("STD-005", "STD-007", "OPS-003"), "there is no group to signal"))
def leaves_children_in_its_own_group() -> None:
    change_children(lambda launch: launch.pop("start_new_session"))


@mutant("STD-005", also={"OPS-003": "the end of the proxy leaves the grandchild too"})
def signals_only_the_child_itself() -> None:
    """The grandchild continues with parent 1."""
    replace(Child.signal_group, lambda self, number: os.kill(self.pid, number))


@mutant("STD-006", also={"STD-008": "it asks by a signal, at once"})
def asks_but_never_kills() -> None:
    async def wrong(self: Child) -> None:
        with anyio.CancelScope(shield=True):
            self.signal_group(signal.SIGTERM)
            await self.wait_left()

    replace(Child.terminate, wrong)


@mutant("STD-006")
def kills_only_the_leader() -> None:
    """dmcp 1.5.0 behaves like this: its close() sends SIGKILL to the leader alone."""
    replace(Child.kill, lambda self: os.kill(self.pid, signal.SIGKILL))


@mutant("STD-007")
def kills_before_a_handler_can_end() -> None:
    """dmcp 1.5.0 behaves like this: its children are gone 8 to 30 ms after SIGTERM."""

    # Not at once, where it would be chance whether other processes of the group note the signal (STD-005).
    child.TERM_GRACE = 0.15


@mutant("STD-008")
def signals_without_waiting() -> None:
    right = Child.terminate

    async def wrong(self: Child) -> None:
        self.signal_group(signal.SIGTERM)
        await right(self)

    replace(right, wrong)


@mutant("STD-036")
def waits_only_a_second_before_it_signals() -> None:
    child.STDIN_GRACE = 1.0


@mutant("STD-009")
def lets_children_write_to_its_stderr() -> None:
    change_children(lambda launch: launch.update(stderr=None))


@mutant("STD-010")
def never_reads_the_stderr_of_children() -> None:
    """The child blocks once 64 KiB are in the pipe."""
    _, full = os.pipe()
    change_children(lambda launch: launch.update(stderr=full))


@mutant("STD-019")
def lets_children_inherit_each_others_pipes() -> None:
    """The end of file of a child never comes, because another child holds its pipe."""
    right = Child.__init__

    def wrong(self: Child, *arguments: Any, **named: Any) -> None:
        right(self, *arguments, **named)
        assert self.stdin is not None
        os.set_inheritable(self.stdin.fileno(), True)

    replace(right, wrong)
    change_children(lambda launch: launch.update(close_fds=False))


def change_children(change: Callable[[Launch], object]) -> None:
    """Let ``change`` alter in place how the operating system starts each child: the arguments of ``subprocess.Popen`` by name."""
    right = subprocess.Popen.__init__

    def wrong(self: Any, args: Sequence[str], **options: Any) -> None:
        # Only the children lead a session of their own, and have three pipes.
        if options.get("start_new_session") and options.get("stderr") is subprocess.PIPE:
            options = {"args": args, **options}
            change(options)
            right(self, **options)
        else:
            right(self, args, **options)

    patch.object(subprocess.Popen, "__init__", wrong).start()
