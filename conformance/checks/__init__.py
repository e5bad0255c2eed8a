"""The checks: one coroutine per requirement, named as the sentence it proves.

    @check("CFG-002", slow=True)
    async def the_argument_beats_the_environment(workbench: Workbench) -> None:
        '''What the registry's sentences do not say: an unusual set-up, a limit, a trap. Often there is nothing.'''

A check returns when the requirement holds and raises otherwise (`conformance.errors`). The import of a module fails
for an id that the registry does not have, that is retired, or that already has a check. The tests make sure that
every requirement that is not planned has a check.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from conformance.errors import HarnessError
from conformance.model.registry import Registry, Requirement

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from conformance.workbench.workbench import Workbench

CheckFunction: TypeAlias = "Callable[[Workbench], Awaitable[None]]"

_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Check:
    """A check and how the runner has to run it."""

    id: str
    run: CheckFunction
    #: seconds that the check itself may take, without set-up and teardown of its workbench
    timeout: float
    #: takes more than 0.7 s alone, mostly by waiting, so the runner starts it before the others and beside them
    slow: bool
    #: measures time or memory closely, so at most one other check of this kind runs beside it
    serial: bool
    #: what the check does beyond the registry's sentences: the first paragraph of the docstring on one line, or nothing
    sentence: str
    #: file and line of the function
    where: str
    requirement: Requirement


_checks: dict[str, Check] = {}


def check(
    requirement_id: str, *, timeout: float = 20.0, slow: bool = False, serial: bool = False
) -> Callable[[CheckFunction], CheckFunction]:
    """Register the decorated coroutine function as the check of one requirement; `timeout` in seconds."""

    def register(function: CheckFunction) -> CheckFunction:
        made = make_check(function, requirement_id, timeout=timeout, slow=slow, serial=serial)
        earlier = _checks.get(requirement_id)
        if earlier is not None:
            raise HarnessError(f"{made.where}: {requirement_id} already has a check at {earlier.where}")
        _checks[requirement_id] = made
        return function

    return register


def make_check(
    function: CheckFunction,
    requirement_id: str,
    *,
    timeout: float = 20.0,
    slow: bool = False,
    serial: bool = False,
    registry: Registry | None = None,
) -> Check:
    """Build a `Check` without registering it. Raises `HarnessError` for an id that no check may have."""
    code = inspect.unwrap(function).__code__
    file = Path(code.co_filename).resolve()
    where = f"{file.relative_to(_ROOT) if file.is_relative_to(_ROOT) else file}:{code.co_firstlineno}"
    requirement = (registry or Registry.load()).get(requirement_id)
    if requirement is None:
        raise HarnessError(f"{where}: no requirement has the id {requirement_id}")
    if requirement.retired is not None:
        raise HarnessError(f"{where}: {requirement_id} is retired ({requirement.retired})")
    if not inspect.iscoroutinefunction(function):
        raise HarnessError(f"{where}: the check of {requirement_id} is not an async function")
    paragraph = (inspect.getdoc(function) or "").partition("\n\n")[0]
    sentence = " ".join(paragraph.split())
    return Check(requirement_id, function, timeout, slow, serial, sentence, where, requirement)


def registered_checks() -> dict[str, Check]:
    """The checks of all modules that are imported so far, by id, in the order of the ids."""
    return dict(sorted(_checks.items()))
