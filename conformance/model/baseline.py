"""Known failures: the red verdicts that an implementation is expected to get, with the reasons.

Every entry names one requirement, its current verdict and the reason. A result with exactly that verdict is known and does not fail
the run; any other red verdict does. An entry whose check passes is stale and red, so a baseline cannot outlive the bug that it
describes. An `intermittent` entry accepts both its verdict and a pass. Entries for checks outside the selection have no effect.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from conformance.errors import UsageError
from conformance.model.registry import Registry
from conformance.model.verdicts import Verdict

#: the verdicts that an entry may expect; the others are no failures of the implementation
BASELINE_VERDICTS = frozenset(
    {Verdict.FAIL, Verdict.WARN, Verdict.UNTESTABLE, Verdict.TIMEOUT, Verdict.CRASH}
)

#: the beginning of the reason in a new entry of `conformance.commands.rebaseline`; a person must write the reason before the file is valid
TODO = "TODO"


class Known(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One expected failure."""

    id: str
    verdict: Verdict
    reason: str
    #: the check passes sometimes; the reason says on what that depends
    intermittent: bool = False


def check_known(entries: Iterable[Known], file: Path, registry: Registry) -> None:
    """Raise `UsageError` naming file and entry for an entry that cannot be meant."""
    seen: set[str] = set()
    for known in entries:
        if registry.get(known.id) is None:
            raise UsageError(f"{file}: known: there is no requirement {known.id}")
        if known.id in seen:
            raise UsageError(f"{file}: known: {known.id} is listed twice")
        if known.verdict not in BASELINE_VERDICTS:
            raise UsageError(f"{file}: known: {known.id}: {known.verdict} cannot be a known failure")
        if not known.reason.strip():
            raise UsageError(f"{file}: known: {known.id}: the reason is blank")
        if known.reason.lstrip().startswith(TODO):
            raise UsageError(f"{file}: known: {known.id}: write the reason in place of TODO: {known.reason}")
        seen.add(known.id)


class Baseline:
    """The expected failures of one implementation."""

    def __init__(self, known: Iterable[Known] = ()) -> None:
        self._known: Mapping[str, Known] = {entry.id: entry for entry in known}

    @property
    def entries(self) -> tuple[Known, ...]:
        return tuple(self._known.values())

    def reason_for(self, requirement_id: str, verdict: Verdict) -> str | None:
        """Why the baseline expects this verdict, or None if it does not."""
        entry = self._known.get(requirement_id)
        return entry.reason if entry is not None and entry.verdict is verdict else None

    def is_stale(self, requirement_id: str, verdict: Verdict) -> bool:
        """Whether the check passes although an entry expects it to fail every time."""
        entry = self._known.get(requirement_id)
        return entry is not None and not entry.intermittent and verdict is Verdict.PASS
