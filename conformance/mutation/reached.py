"""Leaves out the trials that cannot tell anything: the mutant changes no function of the reference that the check runs.

Until a changed function runs, a mutant is the reference; so a check that passed without running one of them would pass the mutant too. A
check that did not pass while it was observed counts as one that runs everything. So does each check of a mutant with another profile.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import anyio
import msgspec

from conformance.engine.execution import Execution, RunOptions, WorkbenchFactory, workbench_factory
from conformance.engine.scheduler import schedule
from conformance.errors import HarnessError
from conformance.model.sut import DEFAULT_PROFILE, make_sut
from conformance.model.verdicts import Verdict
from conformance.mutants import ON_THE_WIRE
from conformance.mutation.plan import ProgramKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from conformance.checks import Check
    from conformance.model.sut import Sut
    from conformance.mutation.plan import Trial
    from conformance.workbench.workbench import Workbench

_T = TypeVar("_T")
_MODULE = "conformance.mutants.observation"


def telling(
    trials: Sequence[Trial], jobs: int, open_workbench: WorkbenchFactory | None = None
) -> list[Trial]:
    """The trials that can tell something; those that a program declares are always among them."""
    changes = changed_functions()
    on_the_wire = [
        name for name, what in changes.items() if what is not None and f"{ON_THE_WIRE}{name}" in what
    ]
    observed = anyio.run(functions_run, _observable(trials, changes), jobs, on_the_wire, open_workbench)
    return [trial for trial in trials if can_tell(trial, changes.get(trial.program), observed)]


def can_tell(trial: Trial, changed: frozenset[str] | None, observed: dict[str, frozenset[str]]) -> bool:
    """Whether the check could judge the program; `changed` is None if the program may change anything."""
    is_the_reference = (
        trial.kind is not ProgramKind.NULL_PROGRAM and trial.runs_as == DEFAULT_PROFILE and not trial.profile
    )
    if trial.declared is not None or trial.own or changed is None or not is_the_reference:
        return True
    return trial.check.id not in observed or not changed.isdisjoint(observed[trial.check.id])


def changed_functions() -> dict[str, frozenset[str] | None]:
    """The functions of the reference that each mutant and each design changes. Raises `HarnessError`."""
    return _told("changes", dict[str, frozenset[str] | None])


def _changed_messages(folder: Path, mutants: Sequence[str]) -> dict[str, frozenset[str]]:
    """The changes on the wire that would alter a message that was recorded, by the id of the check. Raises `HarnessError`."""
    found: dict[str, frozenset[str]] = {}
    for file, names in _told("messages", dict[str, frozenset[str]], str(folder), *mutants).items():
        check = file.partition(".")[0]
        found[check] = found.get(check, frozenset()) | names
    return found


def _told(what: str, kind: type[_T], *words: str) -> _T:
    done = subprocess.run(
        [sys.executable, "-m", _MODULE, what, *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise HarnessError(f"the {what} of the mutants could not be listed: {done.stderr.strip()[-500:]}")
    return msgspec.json.decode(done.stdout, type=kind)


async def functions_run(
    checks: Iterable[Check],
    jobs: int,
    on_the_wire: Sequence[str] = (),
    open_workbench: WorkbenchFactory | None = None,
) -> dict[str, frozenset[str]]:
    """Run the checks on the reference: what each check runs, by the id of the check, if the check passes.

    That is the names of functions. For the mutants `on_the_wire` it is also `message:NAME` if the mutant would alter a message.
    """
    with tempfile.TemporaryDirectory(prefix="conformance-observed-") as name:
        folder = Path(name)
        opener = workbench_factory(open_workbench)

        @asynccontextmanager
        async def observing(sut: Sut, check_id: str, *, keep: bool) -> AsyncIterator[Workbench]:
            # The interpreter and `-m MODULE` come first; the words of the reference follow.
            words = (sut.command[0], "-m", _MODULE, "run", str(folder / check_id), *sut.command[3:])
            async with opener(replace(sut, command=words), check_id, keep=keep) as workbench:
                yield workbench

        execution = Execution(make_sut(), RunOptions(open_workbench=observing))
        await schedule([(execution, check) for check in checks], jobs)
        messages = await anyio.to_thread.run_sync(_changed_messages, folder, on_the_wire)
        return {
            id_: frozenset((folder / id_).read_text(encoding="utf-8").splitlines())
            | messages.get(id_, frozenset())
            for id_, result in execution.results.items()
            if result.verdict is Verdict.PASS and (folder / id_).exists()
        }


def _observable(trials: Sequence[Trial], changes: dict[str, frozenset[str] | None]) -> list[Check]:
    """The checks of the trials that an observation could leave out, once each."""
    nothing_runs: dict[str, frozenset[str]] = {trial.check.id: frozenset() for trial in trials}
    return list(
        {
            trial.check.id: trial.check
            for trial in trials
            if not can_tell(trial, changes.get(trial.program), nothing_runs)
        }.values()
    )
