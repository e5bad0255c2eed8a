"""How a check says what must be so: each raises `Violation` with what was expected and what was seen."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from conformance.errors import ImplementationCrashed, Untestable, Violation
from conformance.workbench import polling
from conformance.workbench.timeline import shorten

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from conformance.workbench.proxy import Proxy

T = TypeVar("T")

_WATCH = 0.05


class Judgement:
    """What the workbench can say; it needs to know nothing for it."""

    async def eventually(
        self,
        condition: Callable[[], T],
        *,
        within: float,
        what: str,
        seen: Callable[[], Any] | None = None,
    ) -> T:
        """Poll until the condition is true and return its value. Raises `Violation` with what was `seen`, the last value by
        default.
        """
        return await polling.eventually(condition, within=within, what=what, seen=seen)

    async def no_process_left(self, proxy: Proxy, *, within: float) -> None:
        """Wait until neither the implementation nor a process that it started is alive; a zombie is dead.

        Raises `Violation` with the survivors.
        """
        deadline = time.monotonic() + within
        while living := proxy.processes.alive():
            if time.monotonic() >= deadline:
                survivors = "; ".join(shorten(str(process)) for process in living)
                raise Violation("no process is left", f"alive after {within:.1f} s: {survivors}")
            await anyio.sleep(_WATCH)

    def expect(self, condition: object, expected: str, seen: object) -> None:
        """Raise `Violation` unless the condition is true."""
        if not condition:
            raise Violation(expected, polling.show(seen))

    def one(self, those: Sequence[T], expected: str) -> T:
        """The only one of those. Raises `Violation` when there is another number of them."""
        self.expect(len(those) == 1, expected, those)
        return those[0]

    @contextmanager
    def must(self, what: str) -> Iterator[None]:
        """Inside, a prerequisite that is not reached is the violation itself: `what` is the requirement."""
        try:
            yield
        except Untestable as problem:
            raise Violation(what, problem.reason) from problem

    @contextmanager
    def precondition(self, what: str) -> Iterator[None]:
        """Inside, a violation only means that the check cannot be made: `what` is the prerequisite."""
        try:
            yield
        except ImplementationCrashed:
            raise
        except Violation as problem:
            raise Untestable(f"{what}: expected {problem.expected}; seen: {problem.seen}") from problem

    @contextmanager
    def case(self, what: str) -> Iterator[None]:
        """Inside, a violation says which of several cases it is about."""
        try:
            yield
        except Violation as problem:
            raise type(problem)(f"{what}: {problem.expected}", problem.seen) from problem

    async def run_cases(self, *steps: Callable[[], Awaitable[None]]) -> None:
        """Take all steps at once and let each come to its end; raises what went wrong, as a group if several
        did.
        """
        problems: list[Exception] = []

        async def take(step: Callable[[], Awaitable[None]]) -> None:
            try:
                await step()
            except Exception as problem:
                problems.append(problem)

        async with anyio.create_task_group() as group:
            for step in steps:
                group.start_soon(take, step)
        if len(problems) == 1:
            raise problems[0]
        if problems:
            raise ExceptionGroup(f"{len(problems)} of {len(steps)} cases", problems)

    async def holds_for(self, seconds: float, check: Callable[[], None]) -> None:
        """Call `check`, which raises when something is wrong, again and again for this long."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            check()
            await anyio.sleep(_WATCH)
        check()
