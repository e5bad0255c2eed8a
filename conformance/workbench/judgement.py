"""How a check states what must hold. A statement that does not hold raises `Violation` with the expected and the seen."""

from __future__ import annotations

import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from conformance.errors import ImplementationCrashed, Untestable, Violation
from conformance.workbench import polling
from conformance.workbench.shown import show
from conformance.workbench.timeline import shorten
from conformance.workbench.waits import waiting_for

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from conformance.workbench.proxy import Proxy

T = TypeVar("T")

_WATCH = 0.05


class Judgement:
    """Statements about anything that a check observes."""

    #: whether `run_cases` stops the other cases at the first violation, for a caller that wants to know only that there is one
    stops_at_first_violation = False

    async def eventually(
        self,
        condition: Callable[[], T],
        *,
        within: float,
        what: str,
        seen: Callable[[], Any] | None = None,
    ) -> T:
        """Poll until the condition is true and return its value. Raises `Violation` with `seen`, by default the last value."""
        return await polling.eventually(condition, within=within, what=what, seen=seen)

    async def no_process_left(self, proxy: Proxy, *, within: float) -> None:
        """Wait until the implementation and all processes that it started are dead. A zombie counts as dead.

        Raises `Violation` with the survivors.
        """
        deadline = time.monotonic() + within
        while living := proxy.processes.alive():
            if time.monotonic() >= deadline:
                survivors = "; ".join(shorten(str(process)) for process in living)
                raise Violation("no process is left", f"alive after {within:.1f} s: {survivors}", timed=True)
            await anyio.sleep(_WATCH)

    def expect(self, condition: object, expected: str, seen: object, *, timed: bool | None = None) -> None:
        """Raise `Violation` unless the condition is true; `timed` as for a `Violation`."""
        if not condition:
            raise Violation(expected, show(seen), timed=timed)

    def one(self, those: Sequence[T], expected: str) -> T:
        """The only element of `those`. Raises `Violation` unless there is exactly one."""
        self.expect(len(those) == 1, expected, those)
        return those[0]

    def some(self, those: Sequence[T], expected: str) -> Sequence[T]:
        """These elements, for a loop that would prove nothing without one. Raises `Violation` if there are none."""
        self.expect(those, f"at least one: {expected}", "none")
        return those

    def at(self, those: Sequence[T], index: int, expected: str) -> T:
        """The element at this index of `those`, counted from the end if negative. Raises `Violation` if there are fewer."""
        self.expect(-len(those) <= index < len(those), expected, those)
        return those[index]

    @contextmanager
    def must(self, what: str) -> Iterator[None]:
        """Inside the block, `Untestable` becomes `Violation`: the prerequisite is the requirement itself, which `what` states."""
        try:
            yield
        except Untestable as problem:
            raise Violation(what, problem.reason) from problem

    @contextmanager
    def precondition(self, what: str) -> Iterator[None]:
        """Inside the block, `Violation` becomes `Untestable`: it only shows that the prerequisite `what` does not hold."""
        try:
            yield
        except ImplementationCrashed:
            raise
        except Violation as problem:
            raise Untestable(f"{what}: expected {problem.expected}; seen: {problem.seen}") from problem

    @contextmanager
    def case(self, what: str, *, unless_named: bool = False) -> Iterator[None]:
        """Inside the block, a violation names its case, which `what` describes; `unless_named`: if no inner case does."""
        try:
            with waiting_for(f"the case {what!r}"):
                yield
        except Violation as problem:
            if unless_named and isinstance(problem.__cause__, Violation):
                raise
            raise type(problem)(f"{what}: {problem.expected}", problem.seen, timed=problem.timed) from problem

    async def run_cases(self, *steps: Callable[[], Awaitable[None]]) -> None:
        """Run all steps at once, each to its end. Raises the exception of a step, or a group of them.

        A violation names its step, unless a `case` inside the step does. The name comes from the function and its arguments.
        With `stops_at_first_violation` the other steps end with the first violation.
        """
        #: by the place of the step, so that the first one of several decides, and not the fastest
        found: dict[int, Exception] = {}

        async def run(place: int, step: Callable[[], Awaitable[None]]) -> None:
            try:
                with self.case(_name_of(step), unless_named=True):
                    await step()
            except Exception as problem:
                found[place] = problem
                broken = isinstance(problem, Violation) and not isinstance(problem, ImplementationCrashed)
                if broken and self.stops_at_first_violation:
                    group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            for place, step in enumerate(steps):
                group.start_soon(run, place, step)
        problems = [found[place] for place in sorted(found)]
        if len(problems) == 1:
            raise problems[0]
        if problems:
            raise ExceptionGroup(f"{len(problems)} of {len(steps)} cases", problems)

    async def holds_for(self, seconds: float, check: Callable[[], None]) -> None:
        """Call `check` again and again for this long; it raises when something is wrong."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            check()
            await anyio.sleep(_WATCH)
        check()


def _name_of(step: Callable[[], Awaitable[None]]) -> str:
    """What a step does and with what: the words of its function, then the texts and the names of upstreams among its arguments."""
    arguments: list[Any] = []
    function: Any = step
    while isinstance(function, partial):
        arguments = [*function.args, *function.keywords.values(), *arguments]
        function = function.func
    named = (getattr(argument, "name", argument) for argument in arguments)
    labels = [
        shorten(str(label), 40)
        for label in named
        if isinstance(label, str | int) and not isinstance(label, bool)
    ]
    return " ".join([function.__name__.strip("_").replace("_", " "), *labels])
