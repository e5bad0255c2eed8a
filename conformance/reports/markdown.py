"""Markdown for the summary of a CI job: the totals, a table of the results that are not green, and folded details.

GitHub refuses a summary of more than 1 MiB, so the text stays below `MAX_BYTES` and its last line counts the missing parts. Text of the
implementation is in code blocks whose fence it does not contain, or has every Markdown character escaped.
"""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

from conformance.model.verdicts import Verdict
from conformance.reports.terminal import reach_lines, summary_line
from conformance.reports.text import lines, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from conformance.model.results import Result, RunReport

#: below GitHub's limit of 1024 * 1024 bytes for each step, which leaves room for other output of the step
MAX_BYTES = 1_000_000
MAX_CELL = 200
MAX_BLOCK = 4_000

#: markup in the middle of a line; callers put words of their own before it
_MARKUP = re.compile(r"[\\`*_\[\]|~@$]")
_FENCE = re.compile(r"`{3,}")


def render(report: RunReport) -> str:
    """The summary, in GitHub Flavored Markdown."""
    return bounded(_parts(report))


def bounded(parts: Iterable[str], most: int = MAX_BYTES) -> str:
    """The parts up to `most` bytes of UTF-8, then the number of the missing ones."""
    kept: list[str] = []
    size = skipped = 0
    for part in parts:
        size += len(part.encode())
        if skipped or size > most - 100:
            skipped += 1
        else:
            kept.append(part)
    if skipped:
        kept.append(f"\n\n{skipped} more parts do not fit here; the JSON report has all of them.\n")
    return "".join(kept)


def inline(text: str, longest: int | None = MAX_CELL) -> str:
    """The text on one line, without markup, for a table cell, a heading or a paragraph, after other words."""
    return _MARKUP.sub(r"\\\g<0>", html.escape(one_line(text, longest), quote=False))


def block(text: str) -> str:
    """The text as a code block."""
    shown = lines(text)
    if len(shown) > MAX_BLOCK:
        shown = f"{shown[:MAX_BLOCK]}\n[{len(shown) - MAX_BLOCK} more characters]"
    fence = "`" * max([3, *(len(found) + 1 for found in _FENCE.findall(shown))])
    return f"{fence}text\n{shown}\n{fence}\n"


def row(cells: Iterable[str]) -> str:
    """A row of a table; the cells are Markdown already."""
    return f"| {' | '.join(cells)} |\n"


def _parts(report: RunReport) -> Iterator[str]:
    yield f"## Conformance of {inline(report.implementation)}\n\n"
    yield block(" ".join(report.command)) + "\n"
    yield f"Result: {inline(summary_line(report.summary).plain, None)}\n"
    if by_reach := reach_lines(report.summary):
        yield f"\nBy reach: {inline('; '.join(by_reach), None)}\n"
    if report.not_run:
        yield f"\nNot run ({report.why_incomplete}): {inline(' '.join(report.not_run), None)}\n"
    shown = [result for result in report.results if is_shown(result)]
    if not shown:
        return
    yield "\n" + row(("id", "level", "verdict", "requirement")) + row(["---"] * 4)
    for result in shown:
        yield row(
            (
                inline(result.id),
                result.level_text,
                verdict_of(result, strict=report.strict),
                inline(result.title),
            )
        )
    yield "\n"
    for result in shown:
        yield _details(result)


def is_shown(result: Result) -> bool:
    """Whether the result is neither a pass nor n/a."""
    return result.stale or result.verdict not in (Verdict.PASS, Verdict.NOT_APPLICABLE)


def verdict_of(result: Result, *, strict: bool = False) -> str:
    """The verdict in words, bold if it fails the run."""
    word = result.verdict_words
    return f"**{word}**" if result.is_failure(strict=strict) else word


def _details(result: Result) -> str:
    # The part before the first blank line is HTML, the rest is Markdown.
    summary = html.escape(one_line(f"{result.id} {result.title}", MAX_CELL))
    parts = [f"<details><summary>{summary}</summary>\n\nStatement: {inline(result.statement, None)}\n\n"]
    if result.known is not None:
        parts.append(f"Known: {inline(result.known, None)}\n\n")
    for label, text in [*result.explanation, *result.circumstances]:
        parts.append(f"{label.capitalize()}:\n\n{block(text)}\n")
    parts += [f"Source: {inline(source, None)}\n\n" for source in result.sources]
    parts.append("Run it again:\n\n")
    parts += [block(result.rerun), "\n</details>\n\n"]
    return "".join(parts)
