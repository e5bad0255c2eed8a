"""Writes baselines from a run: `--write-baseline` makes a new file, `--update-baseline` updates one.

An update removes an entry whose check passes, changes the verdict of an entry, and adds entries for new failures. The other entries keep
their reasons and comments; comments right above an entry belong to it. No run can know the reason of a failure, so a new entry says
`TODO` instead. The runner refuses to read a file with that word until a person has written the reason. Writing changes no verdict and
no exit status of the run itself.

The update edits the file line by line. Before it writes, it reads the new text again. If a layout defeats the edit (an array in place
of `[[known]]`), the file stays as it is.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from conformance.engine.outputs import prove_writable, write
from conformance.errors import UsageError
from conformance.model.baseline import BASELINE_VERDICTS, TODO, Known
from conformance.model.profile_file import ProfileFile
from conformance.reports.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from conformance.model.baseline import Baseline
    from conformance.model.results import Result, RunReport

MAX_REASON = 160

_ENTRY = re.compile(r"\s*\[\[\s*known\s*\]\]\s*(#.*)?")
_TABLE = re.compile(r"\s*\[")
_COMMENT = re.compile(r"\s*#")
_VERDICT = re.compile(r"""^(\s*verdict\s*=\s*)(["'])[^"']*\2""", re.MULTILINE)


class BaselineFile:
    """The file to write after the run. With `new` it must not exist yet."""

    def __init__(self, file: Path, *, new: bool) -> None:
        self._file = file
        self._new = new
        if new:
            if file.exists():
                raise UsageError(
                    f"--write-baseline {file}: the file exists; --baseline {file} --update-baseline changes it"
                )
            prove_writable(file, f"--write-baseline {file}")
        else:
            prove_writable(file, f"--update-baseline {file}")

    def write(self, report: RunReport, baseline: Baseline) -> str:
        """Write the entries for `report`, which was judged by `baseline`, and return a summary of the changes.

        Raises `UsageError` if the layout of the file defeats the edit, and `HarnessError` if writing fails.
        """
        if not report.complete:
            return f"{self._file}: not written, because the run is incomplete"
        ran = {result.id for result in report.results}
        before = [entry for entry in baseline.entries if not self._new or entry.id in ran]
        after = revised(before, report.results)
        old = "" if self._new else self._file.read_text(encoding="utf-8")
        write(self._file, edited(old, after, str(self._file)))
        return f"{self._file}: {_changes([] if self._new else before, after)}"


def revised(known: Iterable[Known], results: Iterable[Result]) -> list[Known]:
    """The entries that fit these results, the old ones first."""
    entries = {entry.id: entry for entry in known}
    for result in results:
        entry = entries.get(result.id)
        if result.stale:
            entries.pop(result.id, None)
        elif result.verdict not in BASELINE_VERDICTS:
            continue
        elif entry is None:
            entries[result.id] = Known(result.id, result.verdict, _to_do(result))
        elif entry.verdict is not result.verdict:
            entries[result.id] = msgspec.structs.replace(entry, verdict=result.verdict)
    return list(entries.values())


def _to_do(result: Result) -> str:
    seen = one_line(result.seen or result.message, MAX_REASON)
    return f"{TODO}: say why; seen: {seen}" if seen else f"{TODO}: say why"


def _changes(before: Sequence[Known], after: Sequence[Known]) -> str:
    old, new = ({entry.id: entry for entry in entries} for entries in (before, after))
    counts = {
        "added": len(new.keys() - old.keys()),
        "removed": len(old.keys() - new.keys()),
        "changed": sum(old[id_] != new[id_] for id_ in old.keys() & new.keys()),
    }
    summary = ", ".join(f"{count} {what}" for what, count in counts.items())
    return summary + ("; write the reasons that say TODO" if counts["added"] else "")


def edited(text: str, known: Sequence[Known], name: str = "baseline") -> str:
    """The text of a baseline or profile file with these entries. Raises `UsageError` if its layout defeats the edit."""
    wanted = {entry.id: entry for entry in known}
    kept: list[_Part] = []
    for part in _parts(text):
        if part.id is None:
            kept.append(part)
        elif (entry := wanted.pop(part.id, None)) is not None:
            kept.append(_Part(part.id, _VERDICT.sub(rf"\g<1>\g<2>{entry.verdict}\g<2>", part.text)))
    for entry in wanted.values():
        kept.insert(_place_for(entry.id, kept), _Part(entry.id, _written(entry)))
    result = "".join(part.text for part in kept).removeprefix("" if text else "\n")
    if sorted(_known_in(result), key=_by_id) != sorted(known, key=_by_id):
        raise UsageError(f"{name}: cannot edit this layout: give every entry a [[known]] of its own")
    return result


@dataclass(frozen=True)
class _Part:
    """Some lines of the file: an entry with the comments above it, or other lines (`id` is None)."""

    id: str | None
    text: str


def _parts(text: str) -> list[_Part]:
    groups: list[list[str]] = [[]]
    for line in text.splitlines(keepends=True):
        if _TABLE.match(line):
            groups.append([*_taken_from_the_end(groups[-1]), line])
        else:
            groups[-1].append(line)
    return [_Part(_id_of(group), _ended("".join(group))) for group in groups if group]


def _taken_from_the_end(lines: list[str]) -> list[str]:
    """Remove from `lines` the comment right above a header and the blank lines above that, and return them."""
    at = len(lines)
    while at and _COMMENT.match(lines[at - 1]):
        at -= 1
    while at and not lines[at - 1].strip():
        at -= 1
    taken = lines[at:]
    del lines[at:]
    return taken


def _id_of(group: Sequence[str]) -> str | None:
    if not any(_ENTRY.fullmatch(line) for line in group):
        return None
    return next((entry.id for entry in _known_in("".join(group))), None)


def _known_in(text: str) -> tuple[Known, ...]:
    try:
        return msgspec.toml.decode(text, type=ProfileFile).known
    except msgspec.DecodeError:
        return ()


def _by_id(entry: Known) -> str:
    return entry.id


def _ended(text: str) -> str:
    return text if text.endswith("\n") else text + "\n"


def _place_for(id_: str, parts: Sequence[_Part]) -> int:
    """The position after the entries of the same family, else after all entries, else the end."""
    family = id_.partition("-")[0]
    for alike in (f"{family}-", ""):
        places = [at for at, part in enumerate(parts) if part.id is not None and part.id.startswith(alike)]
        if places:
            return places[-1] + 1
    return len(parts)


def _written(entry: Known) -> str:
    # JSON's escapes are valid in TOML, and `one_line` removes every character that TOML forbids.
    reason = json.dumps(one_line(entry.reason), ensure_ascii=False)
    intermittent = "intermittent = true\n" if entry.intermittent else ""
    return f'\n[[known]]\nid = "{entry.id}"\nverdict = "{entry.verdict}"\nreason = {reason}\n{intermittent}'
