"""TAP 14, the Test Anything Protocol: one test point for each check, with a YAML block for each failure.

`not ok` is a requirement that does not hold. With the directive TODO it does not fail the run. This is a known failure, or, in a run that
is not strict, one that is not required. `n/a` is SKIP. An incomplete run ends with `Bail out!`, because the plan also counts the checks
that did not run.
Specification: https://testanything.org/tap-version-14-specification.html
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from conformance.model.verdicts import Verdict
from conformance.reports.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conformance.model.results import Result, RunReport

#: characters that end a description or begin a directive
_SPECIAL = re.compile(r"[\\#]")
_YAML_SPECIAL = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def render(report: RunReport) -> str:
    """A complete TAP document."""
    lines = ["TAP version 14", f"1..{len(report.results) + len(report.not_run)}"]
    for number, result in enumerate(report.results, start=1):
        lines += _point(number, result, strict=report.strict)
    if not report.complete:
        lines.append(
            f"Bail out! not run ({report.why_incomplete}): {_escaped(' '.join(report.not_run)) or 'nothing'}"
        )
    return "".join(f"{line}\n" for line in lines)


def _point(number: int, result: Result, *, strict: bool) -> Iterator[str]:
    holds = result.verdict in (Verdict.PASS, Verdict.NOT_APPLICABLE) and not result.stale
    directive = _directive(result, strict=strict)
    yield (
        f"{'ok' if holds else 'not ok'} {number} - {_escaped(f'{result.id} {result.title}')}"
        f"{f' # {directive}' if directive else ''}"
    )
    if holds:
        return
    yield "  ---"
    for name, text in _diagnostics(result):
        yield f"  {name}: {_quoted(text)}"
    yield f"  duration_ms: {result.duration_s * 1000:.0f}"
    yield "  ..."


def _directive(result: Result, *, strict: bool) -> str:
    if result.verdict is Verdict.NOT_APPLICABLE:
        return f"SKIP {_escaped(result.message)}"
    if result.known is not None:
        return f"TODO known {result.verdict}: {_escaped(result.known)}"
    if result.unrepeated:
        return f"TODO {result.verdict_words}: the run was interrupted"
    if result.verdict is not Verdict.PASS and not result.is_failure(strict=strict):
        return f"TODO {result.verdict}: {result.level_text} is not required"
    return ""


def _diagnostics(result: Result) -> Iterator[tuple[str, str]]:
    yield "verdict", str(result.verdict)
    yield "level", result.level_text
    if result.reach is not None:
        yield "reach", str(result.reach)
    yield "statement", result.statement
    yield from result.explanation
    yield from result.circumstances
    yield "source", "; ".join(result.sources)
    yield "rerun", result.rerun


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\g<0>", one_line(text))


def _quoted(text: str) -> str:
    """A double-quoted YAML scalar on one line that decodes to exactly this text, if UTF-8 can hold it."""
    return f'"{"".join(map(_yaml_character, text))}"'


def _yaml_character(character: str) -> str:
    if character in _YAML_SPECIAL:
        return _YAML_SPECIAL[character]
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
