"""Known failures: which red verdicts are expected of an implementation, and why.

Every entry names one requirement, the verdict it gets today and the reason. A result with exactly that
verdict is reported as known and does not fail the run; any other red verdict does. An entry whose check
passes now is stale and red, so a baseline cannot outlive the bug it describes, unless the entry is
`intermittent`: then both the verdict and a pass are accepted. Entries for checks that were not selected say
nothing.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from conformance.errors import UsageError
from conformance.model.registry import Registry
from conformance.model.verdicts import Verdict

_Decoded = TypeVar("_Decoded")

#: The verdicts that can be expected of an implementation; the others are not its failures.
BASELINE_VERDICTS = frozenset(
    {Verdict.FAIL, Verdict.WARN, Verdict.UNTESTABLE, Verdict.TIMEOUT, Verdict.CRASH}
)


#: how the reason of an entry begins that `conformance.commands.rebaseline` made; it has to be written before the file can be used
TODO = "TODO"


class Known(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One expected failure."""

    id: str
    verdict: Verdict
    reason: str
    #: the check passes at times; the reason says on what that depends
    intermittent: bool = False


class ProfileFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The one TOML form of profiles and baselines; a baseline needs nothing but `known`."""

    name: str = ""
    homepage: str = ""
    install: str = ""
    command: tuple[str, ...] = ()
    absent: dict[str, str] = msgspec.field(default_factory=dict)
    known: tuple[Known, ...] = ()
    tools: dict[str, str] = msgspec.field(default_factory=dict)
    settings: dict[str, str] = msgspec.field(default_factory=dict)
    registers: bool = False
    starts_within: Annotated[float, msgspec.Meta(gt=0)] = 5.0
    entries: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)


def read_profile_file(file: Path, registry: Registry | None = None) -> ProfileFile:
    """Read and check a profile or baseline file. Raises `UsageError` naming file and entry."""
    content = decode_toml(file, ProfileFile)
    registry = registry or Registry.load()
    seen: set[str] = set()
    for known in content.known:
        if registry.get(known.id) is None:
            raise UsageError(f"{file}: known: there is no requirement {known.id}")
        if known.id in seen:
            raise UsageError(f"{file}: known: {known.id} is listed twice")
        if known.verdict not in BASELINE_VERDICTS:
            raise UsageError(f"{file}: known: {known.id}: {known.verdict} cannot be a known failure")
        if not known.reason.strip():
            raise UsageError(f"{file}: known: {known.id}: the reason is blank")
        if known.reason.lstrip().startswith(TODO):
            raise UsageError(f"{file}: known: {known.id}: the reason is still to be written: {known.reason}")
        seen.add(known.id)
    for name, reason in content.absent.items():
        if registry.get(name) is None and name not in registry.families:
            raise UsageError(f"{file}: absent: there is no requirement and no family {name}")
        if not reason.strip():
            raise UsageError(f"{file}: absent: {name}: the reason is blank")
    return content


def decode_toml(file: Path, kind: type[_Decoded]) -> _Decoded:
    """Read a TOML file into a strict struct. Raises `UsageError`."""
    try:
        return msgspec.toml.decode(file.read_bytes(), type=kind)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror or error}") from error
    except (UnicodeDecodeError, msgspec.DecodeError) as error:
        raise UsageError(f"{file}: {error}") from error


class Baseline:
    """The expected failures of one implementation."""

    def __init__(self, known: Iterable[Known] = ()) -> None:
        self._known: Mapping[str, Known] = {entry.id: entry for entry in known}

    @staticmethod
    def read(file: Path, registry: Registry | None = None) -> "Baseline":
        """The `[[known]]` entries of a baseline or profile file. Raises `UsageError`."""
        return Baseline(read_profile_file(file, registry).known)

    @property
    def entries(self) -> tuple[Known, ...]:
        return tuple(self._known.values())

    def reason_for(self, requirement_id: str, verdict: Verdict) -> str | None:
        """Why this verdict was expected, or None when it was not."""
        entry = self._known.get(requirement_id)
        return entry.reason if entry is not None and entry.verdict is verdict else None

    def is_stale(self, requirement_id: str, verdict: Verdict) -> bool:
        """Whether an entry expects a failure of this check, and no pass, although it passes."""
        entry = self._known.get(requirement_id)
        return entry is not None and not entry.intermittent and verdict is Verdict.PASS
