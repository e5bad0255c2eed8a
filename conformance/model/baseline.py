"""Known failures: the red verdicts that an implementation is expected to get, with the reasons.

Every entry names one requirement, its current verdict and the reason. A result with exactly that verdict is known and does not fail
the run; any other red verdict does. An entry whose check passes is stale and red, so a baseline cannot outlive the bug that it
describes. An `intermittent` entry accepts both its verdict and a pass. Entries for checks outside the selection have no effect.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from conformance.errors import UsageError
from conformance.model import profile_values as values
from conformance.model.client_table import ClientTable
from conformance.model.profile_tables import ConfigTable, Face, Names, SingleTable, TokensTable, Upstreams
from conformance.model.registry import Registry
from conformance.model.verdicts import Verdict

_Decoded = TypeVar("_Decoded")

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


class ProfileFile(Names, frozen=True, forbid_unknown_fields=True):
    """The TOML form of profiles and baselines; a baseline needs only `known`."""

    name: str = ""
    homepage: str = ""
    install: str = ""
    command: tuple[str, ...] = ()
    absent: dict[str, str] = msgspec.field(default_factory=dict)
    known: tuple[Known, ...] = ()
    tools: dict[str, str] = msgspec.field(default_factory=dict)
    settings: dict[str, str] = msgspec.field(default_factory=dict)
    registers: bool = False
    relay: bool = False
    starts_within: float = 5.0
    entries: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)
    promises: tuple[str, ...] = ()
    log_switch: dict[str, str] = msgspec.field(default_factory=dict)
    revisions: tuple[str, ...] = ()
    offers: str = ""
    face: Face = "dynamic"
    upstreams: Upstreams = "several"
    single: SingleTable | None = None
    config: ConfigTable | None = None
    tokens: TokensTable = TokensTable()
    client: ClientTable = ClientTable()


def read_profile_file(file: Path, registry: Registry | None = None) -> ProfileFile:
    """Read and check a profile or baseline file. Raises `UsageError` naming file and entry."""
    content = decode_toml(file, ProfileFile)
    check_profile(content, file, registry)
    return content


def check_profile(content: ProfileFile, file: Path, registry: Registry | None = None) -> None:
    """Raise `UsageError` naming file and entry for an entry that cannot be meant."""
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
            raise UsageError(f"{file}: known: {known.id}: write the reason in place of TODO: {known.reason}")
        seen.add(known.id)
    for name, reason in content.absent.items():
        if registry.get(name) is None and name not in registry.families:
            raise UsageError(f"{file}: absent: there is no requirement and no family {name}")
        if not reason.strip():
            raise UsageError(f"{file}: absent: {name}: the reason is blank")
    try:
        _check_values(content)
    except UsageError as refused:
        raise UsageError(f"{file}: {refused}") from refused


def _check_values(content: ProfileFile) -> None:
    """Raise `UsageError` for a value that no run can use."""
    values.check_number("starts_within", content.starts_within)
    values.check_number("tokens.margin", content.tokens.margin)
    values.check_number("client.lingers", content.client.lingers)
    values.check_json("entries", content.entries)
    values.check_places("settings", content.settings)
    values.check_headers("client.headers", content.client.headers)
    values.check_variables("client.env", content.client.env)
    values.check_variables("log_switch", content.log_switch)


def decode_toml(file: Path, kind: type[_Decoded]) -> _Decoded:
    """Decode a TOML file strictly. Raises `UsageError`."""
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
        """Why the baseline expects this verdict, or None if it does not."""
        entry = self._known.get(requirement_id)
        return entry.reason if entry is not None and entry.verdict is verdict else None

    def is_stale(self, requirement_id: str, verdict: Verdict) -> bool:
        """Whether the check passes although an entry expects it to fail every time."""
        entry = self._known.get(requirement_id)
        return entry is not None and not entry.intermittent and verdict is Verdict.PASS
