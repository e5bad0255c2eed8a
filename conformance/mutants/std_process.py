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
    from collections.abc import Callable, Mapping, Sequence

    Start = tuple[Sequence[str], Mapping[str, str]]


@mutant(
    "STD-001",
    also={
        "STD-004": "the shell leads the group",
        "STD-016": "the shell holds the pipe that the child has closed",
        "HARD-010": "the words of the prefix are cut anew, too",
    },
)
def starts_children_through_a_shell() -> None:
    _change_starts(lambda argv, environment: (["sh", "-c", " ".join(argv)], environment))


@mutant("STD-002")
def sets_the_variables_of_a_child_in_its_own_environment() -> None:
    def wrong(argv: Sequence[str], environment: Mapping[str, str]) -> Start:
        os.environ.update(environment)
        return argv, environment

    _change_starts(wrong)


@mutant(
    "STD-003",
    also={
        "STD-001": "without PATH no bare name is found",
        "STD-002": "an own variable goes with the inherited one of its name",
        "HARD-007": "no child has PATH",
    },
)
def clears_the_environment_of_children() -> None:
    def wrong(argv: Sequence[str], environment: Mapping[str, str]) -> Start:
        return argv, {name: value for name, value in environment.items() if name not in os.environ}

    _change_starts(wrong)


@mutant("STD-004", also=dict.fromkeys(("STD-005", "STD-007"), "there is no group to signal"))
def leaves_children_in_its_own_group() -> None:
    _change_popen(lambda options: options.pop("process_group"))


@mutant("STD-005")
def signals_only_the_child_itself() -> None:
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
    replace(Child.kill, lambda self: os.kill(self.pid, signal.SIGKILL))


@mutant("STD-007")
def kills_before_a_handler_can_end() -> None:
    # Not at once, where it would be chance whether other processes of the group note the signal (STD-005).
    child.TERM_GRACE = 0.15


@mutant("STD-008")
def signals_without_waiting() -> None:
    right = Child.terminate

    async def wrong(self: Child) -> None:
        self.signal_group(signal.SIGTERM)
        await right(self)

    replace(right, wrong)


@mutant("STD-009")
def lets_children_write_to_its_stderr() -> None:
    _change_popen(lambda options: options.update(stderr=None))


@mutant("STD-010")
def never_reads_the_stderr_of_children() -> None:
    _, full = os.pipe()
    _change_popen(lambda options: options.update(stderr=full))


@mutant("STD-019")
def lets_children_inherit_each_others_pipes() -> None:
    right = Child.__init__

    def wrong(self: Child, *arguments: Any, **named: Any) -> None:
        right(self, *arguments, **named)
        assert self.stdin is not None
        os.set_inheritable(self.stdin.fileno(), True)

    replace(right, wrong)
    _change_popen(lambda options: options.update(close_fds=False))


def _change_starts(change: Callable[[Sequence[str], Mapping[str, str]], Start]) -> None:
    """Let ``change`` alter the arguments and the environment of each child."""
    right = Child.__init__

    def wrong(
        self: Child, argv: Sequence[str], environment: Mapping[str, str], *rest: Any, **named: Any
    ) -> None:
        right(self, *change(argv, environment), *rest, **named)

    replace(right, wrong)


def _change_popen(change: Callable[[dict[str, Any]], object]) -> None:
    """Let ``change`` alter how the operating system is asked for each child, which is known by its own group."""
    right = subprocess.Popen.__init__

    def wrong(self: Any, *arguments: Any, **options: Any) -> None:
        if "process_group" in options:
            change(options)
        right(self, *arguments, **options)

    patch.object(subprocess.Popen, "__init__", wrong).start()
