"""The registry of the requirements, from `requirements/*.toml`, with strict validation.

After `Registry.load()` every id is unique and belongs to the family of its file, and every level and era is known. Every source has its
required quotation, and no field is misspelt. A MUST has a quotation that obliges, from another source than the documents of dynamic-mcp,
and a DOC has one of these documents. A defect raises `HarnessError` with file, id and field. Limit: the registry cannot tell whether a
quotation is accurate.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from conformance.errors import HarnessError
from conformance.model.verdicts import Level

#: the version of the requirements as a whole; `conformance.commands.requirements_page` says when it changes
VERSION = "1.3"

REQUIREMENTS = Path(__file__).resolve().parents[1] / "requirements"

MAX_TITLE = 70
MAX_QUOTE_WORDS = 25

#: documents whose wording decides, so that a source must quote them and not only name a section
QUOTED_DOCUMENTS = ("dynamic-mcp SECURITY.md",)

#: the beginnings of the documents that can only promise something, and of the sources that only give a reason
PROMISING, REASONING = "dynamic-mcp", "robustness"

#: the revisions of MCP
REVISIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28")
#: the newest one that starts with `initialize`, and the one without it
NEWEST_LEGACY, MODERN = REVISIONS[-2:]

#: the words of RFC 2119 that oblige
_OBLIGING = re.compile(r"\b(?:MUST|REQUIRED|SHALL)\b")
#: the documents that write these words in small letters
_IN_SMALL_LETTERS = ("WHATWG",)

#: the report of one person in a public repository, such as `owner/name issue 12`
_REPORT = re.compile(r" (?:issue|pull request|discussion) \d+$")

_ID = re.compile(r"(?P<family>[A-Z]+)-\d{3}")


class Era(StrEnum):
    """The protocol revisions for which a requirement holds."""

    ANY = "any"
    LEGACY = "legacy"
    MODERN = "modern"


class Reach(StrEnum):
    """The kind of proxy that a requirement is about."""

    #: every MCP proxy or gateway, also one with a single upstream and the upstream's own tool names
    PROXY = "proxy"
    #: every proxy with several upstreams at once: isolation, routing, collisions, the order of starts
    SEVERAL_UPSTREAMS = "several-upstreams"
    #: a dynamic-mcp proxy: its two tools, its configuration with settings and reloads, and what its documents promise
    DYNAMIC_MCP = "dynamic-mcp"


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a requirement comes from."""

    document: str
    place: str
    quote: str | None = None

    def __str__(self) -> str:
        return f"{self.document}, {self.place}"

    @property
    def whole(self) -> str:
        """The place with the quote."""
        return f'{self}: "{self.quote}"' if self.quote else str(self)


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a version of the requirements changed in an entry, and the reason in its sources."""

    version: str
    what: str
    why: str


class Requirement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One entry of the registry."""

    id: str
    level: Level
    era: Era
    reach: Reach
    #: the revision of MCP that introduced it; a proxy that offers its servers only older ones is not judged
    from_revision: str | None = None
    #: a sentence without its details, for tables
    title: str
    #: what a right proxy does, in full
    statement: str
    sources: tuple[Source, ...]
    #: what the check sets up and observes, from outside only
    observed: str
    #: the times of the check; without a time in a source, they are the patience of the runner
    timing: str | None = None
    #: which source counts, where sources contradict each other
    conflict: str | None = None
    #: no check exists yet
    planned: bool = False
    #: the reason why the requirement no longer counts; no other requirement may get its id
    retired: str | None = None
    #: the version that brought it
    since: str = "1.0"
    #: in the order of the versions
    changed: tuple[Change, ...] = ()

    @property
    def family(self) -> str:
        return self.id.partition("-")[0]

    @property
    def nature(self) -> str:
        """Its level, era and reach in words, and the revision that introduced it."""
        since = f", from MCP {self.from_revision}" if self.from_revision else ""
        return f"{self.level}, era {self.era}{since}, reach {self.reach}"

    @property
    def details(self) -> dict[str, str]:
        """The other fields, each on one line, by the words that readers know."""
        texts = {"observed": self.observed, "timing": self.timing, "conflict": self.conflict}
        return {label: " ".join(text.split()) for label, text in texts.items() if text is not None}


class _FamilyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    family: str
    title: str
    # Decoded one by one later, so that an error can name the id of the entry instead of its position.
    requirement: list[dict[str, Any]]


@dataclass(frozen=True)
class Registry:
    """All requirements by id, in the order of the ids, and the titles of their families."""

    requirements: Mapping[str, Requirement]
    families: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def load(folder: Path = REQUIREMENTS) -> "Registry":
        """Load (once per folder) every `*.toml` in `folder`. Raises `HarnessError`."""
        return _load(folder)

    def __getitem__(self, requirement_id: str) -> Requirement:
        return self.requirements[requirement_id]

    def __iter__(self) -> Iterator[Requirement]:
        return iter(self.requirements.values())

    def __len__(self) -> int:
        return len(self.requirements)

    def get(self, requirement_id: str) -> Requirement | None:
        return self.requirements.get(requirement_id)


@lru_cache
def _load(folder: Path) -> Registry:
    files = sorted(folder.glob("*.toml"))
    if not files:
        raise HarnessError(f"{folder}: no requirement files (*.toml) here")
    found: dict[str, tuple[Path, Requirement]] = {}
    families: dict[str, str] = {}
    for file in files:
        content = _decode_file(file)
        if content.family in families:
            raise HarnessError(f"{file.name}: family: {content.family} already has a file")
        families[content.family] = content.title
        for position, raw in enumerate(content.requirement, start=1):
            requirement = _decode_entry(file, position, raw)
            _validate(file, content.family, requirement)
            if requirement.id in found:
                raise HarnessError(
                    f"{file.name}: {requirement.id}: id: already used in {found[requirement.id][0].name}"
                )
            found[requirement.id] = (file, requirement)
    return Registry({id_: found[id_][1] for id_ in sorted(found)}, dict(sorted(families.items())))


def _decode_file(file: Path) -> _FamilyFile:
    try:
        return msgspec.toml.decode(file.read_bytes(), type=_FamilyFile)
    except (OSError, UnicodeDecodeError, msgspec.DecodeError) as error:
        raise HarnessError(f"{file.name}: {error}") from error


def _decode_entry(file: Path, position: int, raw: dict[str, Any]) -> Requirement:
    try:
        return msgspec.convert(raw, Requirement)
    except msgspec.ValidationError as error:
        name = raw.get("id", f"entry number {position}")
        raise HarnessError(f"{file.name}: {name}: {error}") from error


def _validate(file: Path, family: str, requirement: Requirement) -> None:
    for field_name, problem in _problems(family, requirement):
        raise HarnessError(f"{file.name}: {requirement.id}: {field_name}: {problem}")


def _problems(family: str, requirement: Requirement) -> Iterator[tuple[str, str]]:
    match = _ID.fullmatch(requirement.id)
    if match is None:
        yield "id", "is not of the form FAMILY-000"
    elif match["family"] != family:
        yield "id", f"does not belong to the family {family} of this file"
    if len(requirement.title) > MAX_TITLE:
        yield "title", f"is longer than {MAX_TITLE} characters"
    for name in ("title", "statement", "observed", "timing", "conflict", "retired"):
        text = getattr(requirement, name)
        if text is not None and not text.strip():
            yield name, "is blank"
    if not requirement.sources:
        yield "sources", "is empty"
    for position, source in enumerate(requirement.sources, start=1):
        for problem in _source_problems(source):
            yield f"sources[{position}]", problem
    documents = [source.document for source in requirement.sources]
    if requirement.level is Level.MUST and all(map(_is_no_protocol, documents)):
        yield (
            "level",
            "MUST needs a source besides the documents of dynamic-mcp and public reports; without one it is DOC or SHOULD",
        )
    elif requirement.level is Level.MUST and not any(map(_obliges, requirement.sources)):
        yield "level", "MUST needs a quotation with MUST, REQUIRED or SHALL; without one it is SHOULD"
    if requirement.from_revision not in (None, *REVISIONS):
        yield "from_revision", f"is not one of {', '.join(REVISIONS)}"
    if requirement.level is Level.DOC and not any(one.startswith(PROMISING) for one in documents):
        yield "level", "DOC needs a document of dynamic-mcp"
    for change in requirement.changed:
        if not all(text.strip() for text in (change.version, change.what, change.why)):
            yield "changed", "has a blank member"


def _obliges(source: Source) -> bool:
    quote = source.quote or ""
    if source.document.startswith(_IN_SMALL_LETTERS):
        quote = quote.upper()
    return not _is_no_protocol(source.document) and _OBLIGING.search(quote) is not None


def _is_no_protocol(document: str) -> bool:
    return document.startswith((PROMISING, REASONING)) or _REPORT.search(document) is not None


def _source_problems(source: Source) -> Iterator[str]:
    if not source.document.strip() or not source.place.strip():
        yield "document and place must not be blank"
    if source.quote is None:
        if source.document.startswith(QUOTED_DOCUMENTS):
            yield f"{source.document} must be quoted"
    elif not source.quote.strip():
        yield "quote is blank"
    elif len(source.quote.split()) > MAX_QUOTE_WORDS:
        yield f"quote is longer than {MAX_QUOTE_WORDS} words"
